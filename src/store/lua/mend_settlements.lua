#!lua flags=allow-oom
-- Removes what somebody put in the place of the settlements of a process, and writes its epoch anew.
-- KEYS  1 settlements of the process, 2 registry
-- ARGV  1 identity, 2 epoch of its last registration
-- Returns 1 if something else was there
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' or kind == 'hash' then return 0 end
redis.call('UNLINK', KEYS[1])
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2])
end
return 1
