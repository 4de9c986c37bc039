-- Drop what the dead coordinator had out; f: and p: stay, so its uploads go on. Answers the new epoch, -1 without the lease.
-- It follows from the clock (ms), not from a count: a count begins again at 1 when the ledger loses its data, or with --fresh, and a
-- worker of a dead run could then settle its b1.1 as that of the new one, which holds other files.
-- KEYS lease, tasks, events, meta   ARGV owner, prefix of the job's keys
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
for _, id in ipairs(redis.call('HKEYS', KEYS[2])) do
  redis.call('UNLINK', ARGV[2] .. 't:' .. id, ARGV[2] .. 'r:' .. id)
end
redis.call('UNLINK', KEYS[2], KEYS[3])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local epoch = math.max(now, tonumber(redis.call('HGET', KEYS[4], 'epoch') or 0) + 1)
redis.call('HSET', KEYS[4], 'epoch', string.format('%.0f', epoch))
return epoch
