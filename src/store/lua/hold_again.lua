#!lua flags=allow-oom
-- Writes a private list anew that Redis lost: an empty disk, an old snapshot, FLUSHALL. Leaves out the jobs whose settlement Redis knows: they
-- left the list, and only the answer is missing.
-- KEYS  1 private list, 2 index of the process's private lists, 3 settlements of the process
-- ARGV  two for each job, the oldest first: number of its settlement, bytes
-- Returns how many jobs were written; 0 if the list is there
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('SADD', KEYS[2], KEYS[1])
  return 0
end
local written = 0
for at = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[3], ARGV[at]) ~= '1' then
    redis.call('SADD', KEYS[2], KEYS[1])
    redis.call('LPUSH', KEYS[1], ARGV[at + 1])
    written = written + 1
  end
end
return written
