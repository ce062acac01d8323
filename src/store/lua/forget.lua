#!lua flags=allow-oom
-- Takes private lists that are empty off the index of a dead process.
-- KEYS  1 index, 2 registry, 3.. private lists
-- ARGV  1 identity of the process
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then
  return
end
for at = 3, #KEYS do
  if redis.call('EXISTS', KEYS[at]) == 0 then
    redis.call('SREM', KEYS[1], KEYS[at])
  end
end
