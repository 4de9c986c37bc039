-- Take or renew a lease; answers the holder (the caller = success).
-- KEYS lease   ARGV caller, ms
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return holder end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
