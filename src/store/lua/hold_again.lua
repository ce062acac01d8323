#!lua flags=allow-oom
-- Writes a private list anew that Redis lost: an empty disk, an old snapshot, FLUSHALL.
-- KEYS  1 private list, 2 index of the process's private lists
-- ARGV  its jobs, the oldest first
-- Returns 1, or 0 if the list is there
redis.call('SADD', KEYS[2], KEYS[1])
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
for at = 1, #ARGV do
  redis.call('LPUSH', KEYS[1], ARGV[at])
end
return 1
