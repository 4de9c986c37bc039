-- Take the lease of a running job that nobody leads, for a coordinator that is to be started. Tries that moved K no further are
-- counted, and each waits longer than the one before. A try ends with the lease, or with what ``tries`` is set to.
-- KEYS lease, meta, cp   ARGV owner, ms, most tries, least and most ms between two tries
if redis.call('EXISTS', KEYS[1]) == 1 then return 'LED' end
local meta = redis.call('HMGET', KEYS[2], 'state', 'tries', 'tried_at', 'tried_key')
if meta[1] ~= 'running' then return 'ENDED' end
local key = redis.call('HGET', KEYS[3], 'key') or ''
local tries, tried_at = tonumber(meta[2] or 0), tonumber(meta[3] or 0)
if meta[4] ~= key then tries = 0 end
if tries >= tonumber(ARGV[3]) then return 'WORN' end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if tries > 0 and now < tried_at + math.min(tonumber(ARGV[5]), ARGV[4] * 2 ^ (tries - 1)) then return 'LATER' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', KEYS[2], 'owner', ARGV[1], 'tries', tries + 1, 'tried_at', string.format('%.0f', now), 'tried_key', key)
return 'OK'
