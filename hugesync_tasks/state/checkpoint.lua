-- One step for K and the counters as of K; refused (0) to whoever does not hold the coordinator's lease.
-- KEYS lease, cp   ARGV owner, key, counters, failures
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], 'key', ARGV[2], 'counters', ARGV[3], 'failures', ARGV[4])
return 1
