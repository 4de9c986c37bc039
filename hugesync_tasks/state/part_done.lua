-- A part's receipt, the settling of its task and its event, in one step. HSET and HLEN: a duplicate counts nothing.
-- Never read a receipt with cjson: a CRC64 does not fit into a Lua number.
-- KEYS f, p, t, r, tasks, events, traffic
-- ARGV gen, upload or '', task, task as JSON, part number, receipt, then traffic
local file = redis.call('HMGET', KEYS[1], 'gen', 'upload', 'total')
if file[1] ~= ARGV[1] or (ARGV[2] ~= '' and file[2] ~= ARGV[2]) then return 'FENCED' end

local old = redis.call('HGET', KEYS[2], ARGV[5])
local changed = old ~= ARGV[6]
if old and changed then
  -- Sent twice: an ETag may differ for equal bytes (encrypted stores), so where both checksums are known they decide.
  local _, size1, etag1, crc1 = string.match(old, '^%[(%d+),(%d+),(.*),(%w+)%]$')
  local _, size2, etag2, crc2 = string.match(ARGV[6], '^%[(%d+),(%d+),(.*),(%w+)%]$')
  local same = etag1 == etag2
  if crc1 ~= 'null' and crc2 ~= 'null' then same = crc1 == crc2 end
  if size1 ~= size2 or not same then return 'MISMATCH' end
end
redis.call('HSET', KEYS[2], ARGV[5], ARGV[6])
local answer = 'MORE'
if redis.call('HLEN', KEYS[2]) >= tonumber(file[3]) then answer = 'ALL' end

if redis.call('HDEL', KEYS[5], ARGV[3]) == 1 then changed = true end
redis.call('UNLINK', KEYS[3], KEYS[4])
if changed then
  redis.call('RPUSH', KEYS[6], '[' .. ARGV[4] .. ',{"part":' .. ARGV[6] .. ',"answer":"' .. answer .. '"}]')
  for i = 7, #ARGV, 2 do redis.call('HINCRBY', KEYS[7], ARGV[i], ARGV[i + 1]) end
end
return answer
