#!lua flags=allow-oom
-- Moves jobs of one process out of private lists to where they go next: a sorted set or a queue. Running it again changes nothing: each
-- move is recorded until the process has its answer.
-- KEYS  1 destination, 2 settlements of the process, 3 set of queue names, 4.. private list of each job; the settlements stand for no list
-- ARGV  1 how: 'retry', 'dead', 'first' (the end of the queue that is fetched next) or 'last', 2 name of the queue, 3 seconds after
--       which dead jobs are trimmed, 4 rank up to which they are trimmed, 5 how many answered settlements follow, 6.. their numbers, then
--       five for each job: number of its settlement, epoch it was claimed in, bytes as fetched, bytes to store, seconds until it is due
-- Returns for each job
--    1  moved
--    2  stored, though Redis had lost the private list: it came back with older data
--    0  not stored: it was not in the list, and another process may have recovered it
--   -1  not stored: it was not in the list, and the process is not registered
local to, settlements, how = KEYS[1], KEYS[2], ARGV[1]
local sorted = how == 'retry' or how == 'dead'
local kind = redis.call('TYPE', to).ok
if kind ~= 'none' and kind ~= (sorted and 'zset' or 'list') then
  return redis.error_reply('WRONGTYPE ' .. to .. ' is no ' .. (sorted and 'sorted set' or 'list'))
end
local first = 6 + tonumber(ARGV[5])
if first > 6 then
  redis.call('HDEL', settlements, unpack(ARGV, 6, first - 1))
end
local jobs, asked = #KEYS - 3, { 'epoch' }
for job = 1, jobs do
  asked[job + 1] = ARGV[first + (job - 1) * 5]
end
local known = redis.call('HMGET', settlements, unpack(asked))
local epoch = known[1]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
-- Entries of one sorted set never share a score: Sidekiq's API finds, and removes, entries by it.
local function free(score)
  for _ = 1, 1000 do
    local text = string.format('%.6f', score)
    if redis.call('ZCOUNT', to, text, text) == 0 then return text end
    score = score + 0.000001
  end
  return string.format('%.6f', score)
end
local moved, record, stored, refused = {}, {}, false, nil
for job = 1, jobs do
  local at, list = first + (job - 1) * 5, KEYS[job + 3]
  if known[job + 1] then
    moved[job] = 1
  else
    -- In before out: a refusal has changed nothing.
    local bytes, score, added = ARGV[at + 3], nil, 1
    if sorted then
      score = free(now + ARGV[at + 4])
      added = redis.call('ZADD', to, 'NX', score, bytes)
    else
      redis.call(how == 'first' and 'RPUSH' or 'LPUSH', to, bytes)
    end
    local taken = list == settlements and 1 or redis.pcall('LREM', list, -1, ARGV[at + 2])
    local ours = epoch == ARGV[at + 1]
    -- Somebody put something else in the place of the list: it is lost, too.
    if type(taken) == 'table' and string.find(taken.err, 'WRONGTYPE', 1, true) then taken = 0 end
    if taken == 1 or (taken == 0 and ours) then
      moved[job] = taken == 1 and 1 or 2
      stored = true
      -- Another job with the same bytes is there: they share an entry, at the later time.
      if added == 0 then redis.call('ZADD', to, score, bytes) end
      if ours then
        record[#record + 1] = ARGV[at]
        record[#record + 1] = 1
      end
    else
      if not sorted then
        redis.call(how == 'first' and 'RPOP' or 'LPOP', to)
      elseif added == 1 then
        redis.call('ZREM', to, bytes)
      end
      if taken ~= 0 then
        refused = taken
        break
      end
      moved[job] = epoch and 0 or -1
    end
  end
end
if #record > 0 then
  redis.call('HSET', settlements, unpack(record))
end
if not sorted and stored then
  redis.pcall('SADD', KEYS[3], ARGV[2])
end
if how == 'dead' and stored then
  redis.call('ZREMRANGEBYSCORE', to, '-inf', string.format('%.6f', now - ARGV[3]))
  redis.call('ZREMRANGEBYRANK', to, 0, ARGV[4])
end
return refused or moved
