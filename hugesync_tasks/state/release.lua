-- Give a lease back; another's is left alone.
-- KEYS lease   ARGV caller
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
