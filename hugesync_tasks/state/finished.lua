-- The receipts of batches that have more of them than the caller knows.
-- KEYS prefix of r:   ARGV per task: id, how many are known   Answers per task: its receipts, or an empty list
local out = {}
for i = 1, #ARGV, 2 do
  local key = KEYS[1] .. ARGV[i]
  local had = redis.call('HLEN', key)
  out[#out + 1] = had > tonumber(ARGV[i + 1]) and redis.call('HGETALL', key) or {}
end
return out
