#!lua flags=allow-oom
-- Moves one job out of a private list into `retry` or `dead`, if this process still owns it.
-- KEYS  1 private list, 2 sorted set, 3 registry
-- ARGV  1 identity of the process, 2 bytes as fetched, 3 bytes to store, 4 score, and for `dead`: 5 score to trim up to, 6 rank to trim
--       up to
-- Returns 1; 0 if the job was not there (any more), -1 if it was not and the process is not registered: Redis may have forgotten both
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'zset' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is no sorted set')
end
if redis.call('LREM', KEYS[1], -1, ARGV[2]) == 0 then
  return redis.call('SISMEMBER', KEYS[3], ARGV[1]) - 1
end
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
if ARGV[5] then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[5])
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, ARGV[6])
end
return 1
