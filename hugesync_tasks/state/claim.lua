-- Take a task. Every successful claim, POISON's too, is a new attempt: the fence against all earlier ones.
-- KEYS t, r, meta   ARGV claim (owner and a word of this call), lease ms, most attempts, prefix of f:
local had = redis.call('HMGET', KEYS[1], 'state', 'until', 'attempts', 'owner', 'given')
if not had[3] or had[1] == 'recalled' then return {'GONE'} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local attempts = tonumber(had[3])
if had[1] == 'running' and tonumber(had[2]) > now then
  if had[4] ~= ARGV[1] then return {'BUSY'} end
  attempts = attempts - 1 -- the reply to this very call was lost on the way: the same attempt is answered again
end
if redis.call('HGET', KEYS[3], 'cancel') == '1' then return {'CANCELLED'} end
local given = tonumber(had[5] or 0) -- attempts that gave the task back unfinished, for no fault of its own
local answer = attempts - given >= tonumber(ARGV[3]) and 'POISON' or 'OK'
redis.call('HSET', KEYS[1], 'state', 'running', 'owner', ARGV[1], 'attempts', attempts + 1,
  'until', string.format('%.0f', now + ARGV[2]), 'since', string.format('%.0f', now), 'moved', 0)
local task = redis.call('HMGET', KEYS[1], 'kind', 'queue', 'seq', 'payload', 'file')
local file = {}
if task[5] ~= '' then file = redis.call('HGETALL', ARGV[4] .. task[5]) end
return {answer, attempts + 1, task, redis.call('HGETALL', KEYS[2]), file, given}
