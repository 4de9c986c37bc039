-- Drop what the dead coordinator had out; f: and p: stay, so its uploads go on. Answers the new epoch, -1 without the lease.
-- KEYS lease, tasks, events, meta   ARGV owner, prefix of the job's keys
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
for _, id in ipairs(redis.call('HKEYS', KEYS[2])) do
  redis.call('UNLINK', ARGV[2] .. 't:' .. id, ARGV[2] .. 'r:' .. id)
end
redis.call('UNLINK', KEYS[2], KEYS[3])
return redis.call('HINCRBY', KEYS[4], 'epoch', 1)
