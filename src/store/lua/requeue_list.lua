#!lua flags=allow-oom
-- Moves jobs of a private list back to the end of their queue that is fetched next, the newest first, so that the oldest runs first.
-- KEYS  1 private list, 2 queue, 3 set of queue names
-- ARGV  1 name of the queue, 2 jobs at most, 3 bytes that end the move: the job that reaches them is the last
-- Returns how many went back
local moved, bytes = 0, 0
while moved < tonumber(ARGV[2]) and bytes < tonumber(ARGV[3]) do
  -- Refuses, and has changed nothing, if the queue is no list.
  local job = redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')
  if not job then break end
  bytes = bytes + #job
  moved = moved + 1
end
if moved > 0 then
  redis.pcall('SADD', KEYS[3], ARGV[1])
end
return moved
