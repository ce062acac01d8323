#!lua flags=allow-oom
-- Enters a process into the registry, whether it was there, was fenced, or was forgotten. Nobody puts its jobs back from now on.
-- KEYS  1 registry, 2 fenced processes, 3 alive processes, 4 settlements of the process
-- ARGV  1 identity, 2 milliseconds a sign of life lasts, 3 epoch of its last registration, 4 '1' if it was silent for so long that Redis
--       need not remember having fenced it
-- Returns { 1 if it was fenced: others may have put its jobs back, epoch of this registration, milliseconds by Redis's clock until which it
--         counts as alive }
local time = redis.call('TIME')
local alive = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]
redis.call('ZADD', KEYS[3], string.format('%d', alive), ARGV[1])
redis.call('SADD', KEYS[1], ARGV[1])
local fenced = redis.call('ZREM', KEYS[2], ARGV[1])
local epoch = ARGV[3] + 0
if fenced == 1 or ARGV[4] == '1' then
  fenced = 1
  epoch = epoch + 1
end
local kind = redis.call('TYPE', KEYS[4]).ok
if kind ~= 'none' and kind ~= 'hash' then
  redis.call('UNLINK', KEYS[4])
end
-- A field of more than 64 bytes has Redis hash the fields, by default: it finds a settlement in one step and does not compare them all.
local about = 'Registration of a process, and settlements of jobs whose answers it has not received yet.'
redis.call('HSET', KEYS[4], 'epoch', string.format('%d', epoch), 'about', about)
return { fenced, epoch, alive }
