-- Tell a job's stake in the workers and hear the others'. Each writes its own row only; who is silent leaves by itself.
-- KEYS shares, heads   ARGV job, row ('' = it leaves), head ('' = none), ms a row lives
-- Answers job, age in ms, row of each.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local lives = tonumber(ARGV[4])
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now) .. ' ' .. ARGV[2])
end
if ARGV[2] == '' or ARGV[3] == '' then
  redis.call('HDEL', KEYS[2], ARGV[1])
else
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
end
local out, rows = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #rows, 2 do
  local told, row = string.match(rows[i + 1], '^(%d+) (.*)$')
  local age = now - tonumber(told or 0)
  if not told or age >= lives or age < -lives then
    redis.call('HDEL', KEYS[1], rows[i])
    redis.call('HDEL', KEYS[2], rows[i])
  else
    out[#out + 1] = rows[i]
    out[#out + 1] = age
    out[#out + 1] = row
  end
end
redis.call('PEXPIRE', KEYS[1], lives)
redis.call('PEXPIRE', KEYS[2], lives)
return out
