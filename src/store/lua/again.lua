#!lua flags=allow-oom
-- Moves one job out of a private list to the end of a queue, as new bytes, if this process still owns it.
-- KEYS  1 private list, 2 queue, 3 set of queue names, 4 registry
-- ARGV  1 identity of the process, 2 name of the queue, 3 bytes as fetched, 4 bytes to push
-- Returns 1; 0 if the job was not there (any more), -1 if it was not and the process is not registered: Redis may have forgotten both
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'list' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is no list')
end
-- In before out: what is refused has changed nothing.
redis.call('LPUSH', KEYS[2], ARGV[4])
local taken = redis.pcall('LREM', KEYS[1], -1, ARGV[3])
if taken ~= 1 then
  redis.call('LPOP', KEYS[2])
  if taken ~= 0 then return taken end
  return redis.call('SISMEMBER', KEYS[4], ARGV[1]) - 1
end
redis.pcall('SADD', KEYS[3], ARGV[2])
return 1
