-- The file's record, receipts and notes go; where a generation is given only if they are of that one and no upload of it is begun.
-- KEYS f, p, files, n   ARGV file, gen
if ARGV[2] ~= '' then
  local had = redis.call('HMGET', KEYS[1], 'gen', 'upload')
  if had[1] ~= ARGV[2] or (had[2] and had[2] ~= '') then return 0 end
end
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[4])
redis.call('SREM', KEYS[3], ARGV[1])
return 1
