#!lua flags=allow-oom
-- Renews the sign of life of a process, with a full memory too: nobody may be taken for dead, or fence himself, for want of it.
-- KEYS  1 alive processes, 2 registry
-- ARGV  1 identity, 2 milliseconds a sign of life lasts
-- Returns { 1 if the process is registered, the score of its previous sign or nothing, milliseconds by the clock of Redis }.
--         Without registration it renews nothing
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local previous = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1])) or false
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 0 then
  return { 0, previous, now }
end
redis.call('ZADD', KEYS[1], string.format('%d', now + ARGV[2]), ARGV[1])
return { 1, previous, now }
