-- Deletes the oldest jobs of a queue; its name, too, once it is empty.
-- KEYS  1 queue, 2 set of queue names
-- ARGV  1 name of the queue, 2 jobs at most, 3 the newest job that may go, or nothing for any
-- Returns { jobs deleted, jobs left that may go }
local newer = 0
if ARGV[3] ~= '' then
  newer = redis.call('LPOS', KEYS[1], ARGV[3], 'MAXLEN', 10000)
  -- It was fetched, and so were all that were older. Where 10,000 are newer, nobody knows.
  if not newer then return { 0, 0 } end
end
local size = redis.call('LLEN', KEYS[1])
local count = math.min(size - newer, tonumber(ARGV[2]))
if count == size then redis.call('SREM', KEYS[2], ARGV[1]) end
if count > 0 then redis.call('LTRIM', KEYS[1], 0, -1 - count) end
return { count, size - newer - count }
