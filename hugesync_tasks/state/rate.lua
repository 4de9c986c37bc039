-- One exchange of a process about the rate of one place: aimd.py's ``exchange``, for a whole fleet. While no store
-- complained only the measurement is kept, for two windows.
-- KEYS rate, sharers   ARGV sharer, used, seconds, need (0/1), age ('' = no complaint), believed rate ('' = none), knee,
-- left, then aimd.CONSTANTS. Answers rate ('' = no limit), knee, left, sharers, tokens, wait.
local WINDOW, COOL, QUIET, CUT, GROWTH, LEAST_GROWTH, FLOOR, LEASE, AHEAD, SILENT = tonumber(ARGV[9]), tonumber(ARGV[10]),
  tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15]), tonumber(ARGV[16]),
  tonumber(ARGV[17]), tonumber(ARGV[18])
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
local used, seconds, need, age = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1', tonumber(ARGV[5])

redis.call('ZADD', KEYS[2], string.format('%.6f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.6f', now - SILENT))
redis.call('PEXPIRE', KEYS[2], math.ceil(SILENT * 1000))
local sharers = redis.call('ZCARD', KEYS[2])

local NAMES = {'begun', 'before', 'count', 'rate', 'knee', 'cut', 'calm', 'taken', 'until'}
local kept, s = redis.call('HMGET', KEYS[1], unpack(NAMES)), {}
for i, name in ipairs(NAMES) do s[name] = tonumber(kept[i] or 0) end

local since = now - s.begun
if since >= 2 * WINDOW or since < 0 then
  s.begun, s.before, s.count = now, 0, used
elseif since >= WINDOW then
  s.begun, s.before, s.count = s.begun + WINDOW, s.count, used
else
  s.count = s.count + used
end

if s.rate > 0 and now >= s['until'] then s.rate = 0 end
if s.rate == 0 and ARGV[6] ~= '' and tonumber(ARGV[8]) > 0 then  -- this server has lost what the fleet knows
  s.rate, s.knee = math.max(FLOOR, tonumber(ARGV[6])), math.max(FLOOR, tonumber(ARGV[7]))
  s.cut, s.calm, s.taken, s['until'] = now, now, now, now + math.min(tonumber(ARGV[8]), QUIET)
end
if age then
  if s.rate == 0 then
    local measured = math.max(s.before, s.count) / WINDOW
    s.knee = math.max(FLOOR, measured, used / math.max(seconds, WINDOW / 10))
    s.rate, s.cut, s.taken = math.max(FLOOR, CUT * s.knee), now, now
  elseif now - age > s.cut and now - s.cut >= COOL then
    s.knee, s.rate, s.cut = s.rate, math.max(FLOOR, CUT * s.rate), now
  end
  s.calm, s['until'] = now, now + QUIET
elseif s.rate > 0 and (used > 0 or need) and now - s.calm >= WINDOW then
  s.rate, s.calm = s.rate + math.max(LEAST_GROWTH, GROWTH * s.knee), now
end

local tokens, wait = 0, 0
if s.rate > 0 and need then
  local start = math.max(s.taken, now)
  wait = start - now
  if wait <= AHEAD then
    tokens = math.max(1, math.floor(s.rate * LEASE / sharers))
    s.taken = start + tokens / s.rate
  else
    wait = math.min(AHEAD, wait - AHEAD / 2)
  end
end

local fields = {}
for _, name in ipairs(NAMES) do
  fields[#fields + 1] = name
  fields[#fields + 1] = string.format('%.6f', s[name])
end
redis.call('HSET', KEYS[1], unpack(fields))
local lasts = s.rate > 0 and math.max(s['until'] - now, 2 * WINDOW) or 2 * WINDOW
redis.call('PEXPIRE', KEYS[1], math.ceil(lasts * 1000))
local function told(x) return string.format('%.6f', x) end
return {s.rate > 0 and told(s.rate) or '', told(s.knee), told(s['until'] - now), sharers, tokens, told(wait)}
