#!lua flags=allow-oom
-- Moves one job out of a private list to the end of a queue, as new bytes, if this process still owns it.
-- KEYS  1 private list, 2 queue, 3 set of queue names
-- ARGV  1 name of the queue, 2 bytes as fetched, 3 bytes to push
-- Returns 1, or 0 if the job was not there (any more)
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'list' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is no list')
end
if redis.call('LREM', KEYS[1], -1, ARGV[2]) == 0 then
  return 0
end
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('LPUSH', KEYS[2], ARGV[3])
return 1
