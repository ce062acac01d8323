#!lua flags=allow-oom
-- Takes a process off the list of processes if it has no hash (any more).
-- KEYS  1 list of processes
-- ARGV  1 identity, which is the key of the hash: it may be read alone, and is therefore not among the keys
-- Returns 1 if it was taken off
if redis.call('TYPE', ARGV[1]).ok ~= 'none' then
  return 0
end
return redis.call('SREM', KEYS[1], ARGV[1])
