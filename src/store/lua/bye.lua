#!lua flags=allow-oom
-- Takes a process off the registry, if none of its private lists holds a job.
-- KEYS  1 index of its private lists, 2 registry, 3 alive processes, 4 its settlements, 5.. its private lists
-- ARGV  1 identity
-- Returns how many jobs its private lists hold; -1 if the index has other lists than those by now
if redis.call('SCARD', KEYS[1]) ~= #KEYS - 4 then return -1 end
local held = 0
for at = 5, #KEYS do
  if redis.call('SISMEMBER', KEYS[1], KEYS[at]) == 0 then return -1 end
  held = held + redis.call('LLEN', KEYS[at])
end
if held == 0 then
  redis.call('SREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('DEL', KEYS[1], KEYS[4])
end
return held
