#!lua flags=allow-oom
-- Moves jobs of one process out of private lists to where they go next: a sorted set or a queue. Running it again changes nothing: each
-- move is recorded until the process has its answer.
-- KEYS  1 destination, 2 settlements of the process, 3 set of queue names, 4.. private list of each job; the settlements stand for no list
-- ARGV  1 how: 'retry', 'dead', 'first' (the end of the queue that is fetched next) or 'last', 2 name of the queue, 3 seconds after
--       which dead jobs are trimmed, 4 rank up to which they are trimmed, 5 epoch the jobs were claimed in, 6 how many answered settlements
--       follow, 7.. their numbers, then the number of each job's settlement, then three for each job: bytes as fetched, bytes to store or
--       nothing for the same, seconds until it is due
-- Returns for each job
--    1  moved
--    2  stored, though Redis had lost the private list: it came back with older data
--    0  not stored: it was not in the list, and another process may have recovered it
--   -1  not stored: it was not in the list, and the process is not registered
local call, pcall = redis.call, redis.pcall
local to, settlements, how = KEYS[1], KEYS[2], ARGV[1]
local sorted = how == 'retry' or how == 'dead'
local kind = call('TYPE', to).ok
if kind ~= 'none' and kind ~= (sorted and 'zset' or 'list') then
  return redis.error_reply('WRONGTYPE ' .. to .. ' is no ' .. (sorted and 'sorted set' or 'list'))
end
local jobs, numbers = #KEYS - 3, 7 + ARGV[6]
if numbers > 7 then
  call('HDEL', settlements, unpack(ARGV, 7, numbers - 1))
end
local known = call('HMGET', settlements, 'epoch', unpack(ARGV, numbers, numbers + jobs - 1))
local epoch = known[1]
local ours = epoch == ARGV[5]
-- Shows that a move can be recorded, before one is made: repeated without a record, it would be made again.
if ours then
  call('HSET', settlements, 'epoch', epoch)
end
local time = call('TIME')

-- Entries of one sorted set never share a score: Sidekiq's API finds, and removes, entries by it. A score is a number of microseconds.
local now, free, given = time[1] * 1000000 + time[2], {}, {}
local function text(score)
  return string.format('%.6f', score / 1000000)
end
-- Returns a free score `delay` seconds from now, or some microseconds later. One look serves all jobs with this delay: where it finds as
-- many free scores in a row as there are jobs, one is left for each.
local function score_in(delay)
  local score = free[delay]
  if not score then
    score = now + math.floor(delay * 1000000)
    for try = 0, 20 do
      if call('ZCOUNT', to, text(score), text(score + jobs - 1)) == 0 then break end
      score = score + math.random(2 ^ try)
    end
  end
  while given[score] do score = score + 1 end
  given[score] = true
  free[delay] = score + 1
  return text(score)
end

-- In before out: a refusal has changed nothing. All entries of a sorted set go in together.
local scores, entries, count, all_are_new = {}, {}, 0, true
if sorted then
  for job = 1, jobs do
    if not known[job + 1] then
      local at = numbers + jobs + (job - 1) * 3
      local bytes = ARGV[at + 1]
      scores[job] = score_in(ARGV[at + 2])
      entries[count + 1] = scores[job]
      entries[count + 2] = bytes ~= '' and bytes or ARGV[at]
      count = count + 2
    end
  end
  all_are_new = count == 0 or call('ZADD', to, 'NX', unpack(entries)) == count / 2
end
-- Returns whether the entry in the sorted set is the one of this job, and not one that was there before with the same bytes.
local function is_new(job, bytes)
  return all_are_new or tonumber(call('ZSCORE', to, bytes) or 0) == tonumber(scores[job])
end

local moved, record, stored, refused = {}, {}, false, nil
for job = 1, jobs do
  local at = numbers + jobs + (job - 1) * 3
  local raw, bytes, list = ARGV[at], ARGV[at + 1], KEYS[job + 3]
  if bytes == '' then bytes = raw end
  if known[job + 1] then
    moved[job] = 1
  elseif refused then
    if sorted and is_new(job, bytes) then call('ZREM', to, bytes) end
  else
    if not sorted then call(how == 'first' and 'RPUSH' or 'LPUSH', to, bytes) end
    local taken = list == settlements and 1 or pcall('LREM', list, -1, raw)
    -- Somebody put something else in the place of the list: it is lost, too.
    if type(taken) == 'table' and string.find(taken.err, 'WRONGTYPE', 1, true) then taken = 0 end
    if taken == 1 or (taken == 0 and ours) then
      moved[job] = taken == 1 and 1 or 2
      stored = true
      -- Another job with the same bytes is there: they share an entry, at the later time.
      if sorted and not is_new(job, bytes) then call('ZADD', to, scores[job], bytes) end
      if ours then
        record[#record + 1] = ARGV[numbers + job - 1]
        record[#record + 1] = '1'
      end
    else
      if not sorted then
        call(how == 'first' and 'RPOP' or 'LPOP', to)
      elseif is_new(job, bytes) then
        call('ZREM', to, bytes)
      end
      if taken == 0 then moved[job] = epoch and 0 or -1 else refused = taken end
    end
  end
end
if #record > 0 then
  call('HSET', settlements, unpack(record))
end
if not sorted and stored then
  pcall('SADD', KEYS[3], ARGV[2])
end
if how == 'dead' and stored then
  call('ZREMRANGEBYSCORE', to, '-inf', text(now - ARGV[3] * 1000000))
  call('ZREMRANGEBYRANK', to, 0, ARGV[4])
end
return refused or moved
