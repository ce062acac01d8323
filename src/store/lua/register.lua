#!lua flags=allow-oom
-- Enters a process into the registry, whether it was there, was fenced, or was forgotten. Nobody puts its jobs back from now on.
-- KEYS  1 registry, 2 fenced processes, 3 alive key, 4 suspect key
-- ARGV  1 identity, 2 milliseconds the alive key lives
-- Returns 1 if it was fenced: others may have put its jobs back
redis.call('SET', KEYS[3], 1, 'PX', ARGV[2])
redis.call('DEL', KEYS[4])
redis.call('SADD', KEYS[1], ARGV[1])
return redis.call('ZREM', KEYS[2], ARGV[1])
