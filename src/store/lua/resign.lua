#!lua flags=allow-oom
-- Gives a lease back. Its token stays, so that the next one is greater.
-- KEYS  1 lease
-- ARGV  1 identity
if redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then
  redis.call('HDEL', KEYS[1], 'holder')
end
