-- Prolong an attempt's lease and record what it finished. A lower fence than the record's is a zombie's: nothing changes.
-- An attempt whose lease had run out, and nobody else's began, takes its task back. So does one whose record was
-- lost and made anew (attempts start again below its fence). What of the traffic is payload is the task's progress, too.
-- KEYS t, r, meta, traffic   ARGV fence, lease ms, number of receipts, index and outcome of each, then traffic
local had = redis.call('HMGET', KEYS[1], 'attempts', 'gave')
if not had[1] or tonumber(ARGV[1]) < tonumber(had[1]) or had[2] == ARGV[1] then return 'LOST' end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], 'state', 'running', 'attempts', ARGV[1], 'until', string.format('%.0f', now + ARGV[2]))
redis.call('HSETNX', KEYS[1], 'since', string.format('%.0f', now))
local traffic = 4 + 2 * ARGV[3]
for i = 4, traffic - 1, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
local carried = {['bytes.sent'] = true, ['bytes.received'] = true, ['bytes.copied_server_side'] = true}
for i = traffic, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[4], ARGV[i], ARGV[i + 1])
  if carried[ARGV[i]] then redis.call('HINCRBY', KEYS[1], 'moved', ARGV[i + 1]) end
end
if redis.call('HGET', KEYS[3], 'cancel') == '1' then return 'CANCELLED' end
return 'OK'
