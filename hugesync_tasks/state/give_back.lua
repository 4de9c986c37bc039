-- An attempt gives its task back before the end: its lease is over now, and it does not count as one of the attempts.
-- It owns the task no more, though nobody else began: renewals of its own that were under way change nothing (renew.lua).
-- KEYS t, traffic   ARGV fence, then traffic
local had = redis.call('HMGET', KEYS[1], 'attempts', 'gave')
if not had[1] or tonumber(ARGV[1]) < tonumber(had[1]) then return 0 end
if had[2] == ARGV[1] then return 1 end -- the reply was lost on the way
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], 'state', 'running', 'attempts', ARGV[1], 'gave', ARGV[1],
  'until', string.format('%.0f', now - 1))
redis.call('HSETNX', KEYS[1], 'since', string.format('%.0f', now)) -- of a record that was made anew
redis.call('HINCRBY', KEYS[1], 'given', 1)
for i = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1]) end
return 1
