#!lua flags=allow-oom
-- Puts other bytes in the place of a job in a sorted set, at the same score.
-- KEYS  1 sorted set
-- ARGV  1 bytes of the job, 2 bytes to put there
-- Returns 1; 0 if the job was not there (any more), or the other bytes were there already
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or redis.call('ZSCORE', KEYS[1], ARGV[2]) then
  return 0
end
redis.call('ZADD', KEYS[1], score, ARGV[2])
return redis.call('ZREM', KEYS[1], ARGV[1])
