#!lua flags=allow-oom
-- Takes a process off the registry, if none of its private lists holds a job.
-- KEYS  1 index of its private lists, 2 registry, 3 alive processes, 4 its settlements
-- ARGV  1 identity
-- Returns how many jobs its private lists hold
local held = 0
for _, private in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  held = held + redis.call('LLEN', private)
end
if held == 0 then
  redis.call('SREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('DEL', KEYS[1], KEYS[4])
end
return held
