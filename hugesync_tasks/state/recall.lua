-- Take back tasks that nobody has begun: a claim finds them gone until they are put again. Attempts and receipts are kept.
-- KEYS prefix of t:   ARGV task ids   Answers those that are taken back now, by this call or by an earlier one
local out = {}
for _, id in ipairs(ARGV) do
  local state = redis.call('HGET', KEYS[1] .. id, 'state')
  if state == 'queued' then redis.call('HSET', KEYS[1] .. id, 'state', 'recalled') end
  if state == 'queued' or state == 'recalled' then out[#out + 1] = id end
end
return out
