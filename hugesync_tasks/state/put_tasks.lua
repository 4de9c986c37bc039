-- Make each record queued, unless somebody holds it under a lease that still runs. Attempts and receipts are kept.
-- KEYS tasks   ARGV prefix of the job's keys, then per task: id, kind, queue, seq, payload, file
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for i = 2, #ARGV, 6 do
  local key = ARGV[1] .. 't:' .. ARGV[i]
  local had = redis.call('HMGET', key, 'state', 'until')
  if had[1] ~= 'running' or tonumber(had[2]) <= now then
    redis.call('HSET', key, 'kind', ARGV[i + 1], 'queue', ARGV[i + 2], 'seq', ARGV[i + 3], 'payload', ARGV[i + 4],
      'file', ARGV[i + 5], 'state', 'queued', 'until', 0)
    redis.call('HSETNX', key, 'attempts', 0)
    redis.call('HSET', KEYS[1], ARGV[i], 1)
  end
end
