#!lua flags=allow-oom
-- Puts jobs of a private list back to the end of their queue that is fetched next, where still owned.
-- KEYS  1 private list, 2 queue, 3 set of queue names
-- ARGV  1 name of the queue, 2.. bytes as fetched, the one to run first last
-- Returns how many went back
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'list' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is no list')
end
local moved = 0
for at = 2, #ARGV do
  -- In before out: what is refused has changed nothing.
  redis.call('RPUSH', KEYS[2], ARGV[at])
  local taken = redis.pcall('LREM', KEYS[1], -1, ARGV[at])
  if taken == 1 then
    moved = moved + 1
  else
    redis.call('RPOP', KEYS[2])
    if taken ~= 0 then return taken end
  end
end
if moved > 0 then
  redis.pcall('SADD', KEYS[3], ARGV[1])
end
return moved
