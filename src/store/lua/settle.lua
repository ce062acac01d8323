#!lua flags=allow-oom
-- Moves one job out of a private list into `retry` or `dead`, if this process still owns it.
-- KEYS  1 private list, 2 sorted set
-- ARGV  1 bytes as fetched, 2 bytes to store, 3 score, and for `dead`: 4 score to trim up to, 5 rank to trim up to
-- Returns 1, or 0 if the job was not there (any more)
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'zset' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is no sorted set')
end
if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 0 then
  return 0
end
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
if ARGV[4] then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[4])
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, ARGV[5])
end
return 1
