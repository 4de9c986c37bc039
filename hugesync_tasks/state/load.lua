-- How much of a job is not settled, and how the job stands. What it costs is bounded by the window.
-- KEYS tasks, meta, lease   ARGV prefix of t:   Answers state, pause, led, unsettled, queued, running, expired, recalled
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ids = redis.call('HKEYS', KEYS[1])
local n = {queued = 0, running = 0, expired = 0, recalled = 0}
for _, id in ipairs(ids) do
  local had = redis.call('HMGET', ARGV[1] .. id, 'state', 'until')
  local state = had[1] or ''
  if state == 'running' and tonumber(had[2]) <= now then state = 'expired' end
  if n[state] then n[state] = n[state] + 1 end
end
local meta = redis.call('HMGET', KEYS[2], 'state', 'pause')
return {meta[1] or '', meta[2] == '1' and 1 or 0, redis.call('EXISTS', KEYS[3]), #ids, n.queued, n.running, n.expired, n.recalled}
