#!lua flags=allow-oom
-- Renews the sign of life of a process, with a full memory too: nobody may be taken for dead, or fence himself, for want of it.
-- KEYS  1 alive key, 2 suspect key, 3 registry
-- ARGV  1 identity, 2 milliseconds the alive key lives
-- Returns { 1 if the process is registered, what its sign before left or nothing, milliseconds by Redis's clock }
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local previous = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], string.format('%d', now + ARGV[2]), 'PX', ARGV[2])
-- A mark of an earlier absence must not shorten the grace of a later one.
redis.call('DEL', KEYS[2])
return { redis.call('SISMEMBER', KEYS[3], ARGV[1]), previous, now }
