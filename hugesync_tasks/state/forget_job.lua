-- Delete a job's keys; its spec and meta stay as history unless those are given as well.
-- KEYS tasks, files, then every other key to delete   ARGV prefix of the job's keys
for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do
  redis.call('UNLINK', ARGV[1] .. 't:' .. id, ARGV[1] .. 'r:' .. id)
end
for _, file in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  redis.call('UNLINK', ARGV[1] .. 'f:' .. file, ARGV[1] .. 'p:' .. file, ARGV[1] .. 'n:' .. file)
end
for _, key in ipairs(KEYS) do redis.call('UNLINK', key) end
