-- Remove a task and tell the coordinator its outcome, once: 0 when it is gone already, or for a zombie.
-- KEYS t, r, tasks, events, traffic [, f, p, files, n]   ARGV task, fence or '', event, file to close or '', then traffic
local attempts = redis.call('HGET', KEYS[1], 'attempts')
if not attempts or (ARGV[2] ~= '' and tonumber(ARGV[2]) < tonumber(attempts)) then return 0 end
redis.call('UNLINK', KEYS[1], KEYS[2])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('RPUSH', KEYS[4], ARGV[3])
if KEYS[6] then
  redis.call('UNLINK', KEYS[6], KEYS[7], KEYS[9])
  redis.call('SREM', KEYS[8], ARGV[4])
end
for i = 5, #ARGV, 2 do redis.call('HINCRBY', KEYS[5], ARGV[i], ARGV[i + 1]) end
return 1
