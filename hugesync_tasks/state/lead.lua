-- The coordinator's lease: taken, or kept by who has it. It is not kept by one whose lease ran out and after whom another led.
-- KEYS lease, meta   ARGV owner, ms, 'take' or 'keep'
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[3] == 'keep' and not holder then
  local last = redis.call('HGET', KEYS[2], 'owner')
  if last and last ~= ARGV[1] then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', KEYS[2], 'owner', ARGV[1])
return 1
