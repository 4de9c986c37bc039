-- KEYS prefix of t:   ARGV task ids   Answers per task: state, seq, lease left ms, ms since the claim, attempts, moved
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local out = {}
for i, id in ipairs(ARGV) do
  local r = redis.call('HMGET', KEYS[1] .. id, 'state', 'seq', 'until', 'since', 'attempts', 'moved')
  if r[1] == 'running' then
    out[i] = {r[1], r[2], tonumber(r[3]) - now, now - tonumber(r[4]), r[5], r[6] or 0}
  elseif r[1] then
    out[i] = {r[1], r[2], 0, 0, r[5], 0}
  else
    out[i] = {'', 0, 0, 0, 0, 0}
  end
end
return out
