-- What the tasks of one file leave for each other; 0 when the record is of another generation.
-- KEYS f, n   ARGV gen, then name and value of each
if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return 0 end
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
return 1
