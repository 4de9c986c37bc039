-- Draw from a bucket of a job: bucket.py's ``draw``, for a whole fleet. Where there is no limit nothing is kept.
-- KEYS meta, bucket, sharers   ARGV the limit's field of meta, sharer, need, busy (0/1), then bucket.CONSTANTS.
-- Answers rate ('' = not known, '0' = no limit), sharers, n, wait.
local BURST, LEASE, SILENT, LONGEST = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local said = redis.call('HGET', KEYS[1], ARGV[1])
local rate, need = tonumber(said or '0'), tonumber(ARGV[3])
if not said or rate == 0 then return {said or '', 1, 0, '0'} end
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000

redis.call('ZADD', KEYS[3], string.format('%.6f', now), ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', string.format('%.6f', now - SILENT))
redis.call('PEXPIRE', KEYS[3], math.ceil(SILENT * 1000))
local sharers = redis.call('ZCARD', KEYS[3])

local kept = redis.call('HMGET', KEYS[2], 'until', 'rate')
local taken, before = tonumber(kept[1] or '0'), tonumber(kept[2] or '0')
if taken > now and before > 0 and before ~= rate then taken = now + (taken - now) * before / rate end
if taken > now + LONGEST then taken = now end
local start, n = math.max(taken, now - BURST), need
if ARGV[4] == '1' then n = math.max(n, math.floor(rate * LEASE / sharers)) end
taken = start + n / rate
redis.call('HSET', KEYS[2], 'until', string.format('%.6f', taken), 'rate', said)
redis.call('PEXPIRE', KEYS[2], math.ceil((math.max(0, taken - now) + SILENT) * 1000))
return {said, sharers, n, string.format('%.6f', start - now)}
