-- The first caller's upload stands for all of its generation; another generation's record and receipts are replaced.
-- Notes of the same generation stay: they were made before its upload.
-- A task's, of a job without tasks (it ended, or was lost), is not recorded: nobody would ever take it away.
-- KEYS f, p, files, n, and a task's: tasks   ARGV file, gen, then the fields   Answers the record that stands
if KEYS[5] and redis.call('EXISTS', KEYS[5]) == 0 then return redis.call('HGETALL', KEYS[1]) end
local had = redis.call('HMGET', KEYS[1], 'gen', 'upload')
if had[1] ~= ARGV[2] or not had[2] or had[2] == '' then
  redis.call('UNLINK', KEYS[1], KEYS[2])
  if had[1] ~= ARGV[2] then redis.call('UNLINK', KEYS[4]) end
  for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
  redis.call('SADD', KEYS[3], ARGV[1])
end
return redis.call('HGETALL', KEYS[1])
