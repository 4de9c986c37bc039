-- Receipts of adopted parts; 0 when the record is of another generation or upload.
-- KEYS f, p   ARGV gen, upload or '', then number and receipt of each
local had = redis.call('HMGET', KEYS[1], 'gen', 'upload')
if had[1] ~= ARGV[1] or (ARGV[2] ~= '' and had[2] ~= ARGV[2]) then return 0 end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
return 1
