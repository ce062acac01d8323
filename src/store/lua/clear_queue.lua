-- Deletes jobs of a queue that were counted, the oldest first; the name of the queue, too, once it is empty. Keeps jobs that were pushed after
-- the count, and jobs that were put back meanwhile to the end that is fetched next.
-- KEYS  1 queue, 2 set of queue names
-- ARGV  1 name of the queue, 2 jobs to delete at most, 3 the newest job that was counted, or nothing for any, 4 the oldest one, or nothing,
--       5 how many of the counted jobs are not deleted yet
-- Returns { jobs deleted, counted jobs left }; the former is 0 if too many were put back
local size, newer = redis.call('LLEN', KEYS[1]), 0
if ARGV[3] ~= '' then
  newer = redis.call('LPOS', KEYS[1], ARGV[3], 'MAXLEN', 10000)
  -- It was fetched, and so were all that were older. Where 10,000 are newer, nobody knows.
  if not newer then return { 0, 0 } end
end
-- Jobs behind the oldest one that was counted. If that was fetched, those that cannot all have been counted.
local oldest = ARGV[4] ~= '' and redis.call('LPOS', KEYS[1], ARGV[4], 'RANK', -1, 'MAXLEN', 10000)
local behind = 0
if oldest then
  behind = size - 1 - oldest
elseif ARGV[4] ~= '' then
  behind = math.max(0, size - newer - tonumber(ARGV[5]))
end
local left = math.max(0, size - newer - behind)
local count = math.min(left, tonumber(ARGV[2]))
if behind == 0 or count == 0 then
  if count == size then redis.call('SREM', KEYS[2], ARGV[1]) end
  if count > 0 then redis.call('LTRIM', KEYS[1], 0, -1 - count) end
  return { count, left - count }
end
-- LREM walks over those behind.
if behind > REACH / 2 then return { 0, left } end
local deleted = 0
while deleted < count and looks > 0 and room > 0 do
  local index = -1 - behind - deleted
  local job = redis.call('LINDEX', KEYS[1], index)
  room, looks = room - #job, looks - 1
  remove(KEYS[1], index, job)
  deleted = deleted + 1
end
return finish(KEYS[1]) or { deleted, left - deleted }
