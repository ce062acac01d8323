-- Moves jobs of one process out of private lists to where they go next: a sorted set, a queue, or nowhere. Running it again changes nothing: each
-- move is recorded until the process has its answer.
-- KEYS  1 destination, or the settlements if there is none, 2 settlements of the process, 3 set of queue names, 4.. private list of each job; the settlements stand for no list
-- ARGV  1 how: 'retry', 'dead', 'first' (the end of the queue that is fetched next), 'last' or 'done' (nowhere), 2 name of the queue, 3 seconds after
--       which dead jobs are trimmed, 4 rank up to which they are trimmed, 5 epoch the jobs were claimed in, 6 how many answered settlements
--       follow, 7.. their numbers, then the number of each job's settlement, then three for each job: bytes as fetched, bytes to store or
--       nothing for the same, seconds until it is due
-- Returns for each job
--    1  moved
--    2  stored, though Redis had lost the private list: it came back with older data
--    0  not stored: it was not in the list, and another process may have recovered it
--   -1  not stored: it was not in the list, and the process is not registered
-- `lib/riders` and `lib/no_riders` have `jobs`, `take` and `staying`.
local call, pcall, format = redis.call, redis.pcall, string.format
local KEYS, ARGV = KEYS, ARGV
local to, settlements, how = KEYS[1], KEYS[2], ARGV[1]
local sorted = how == 'retry' or how == 'dead'
local queued = how == 'first' or how == 'last'
local numbers = 7 + ARGV[6]
local first = numbers + jobs
if numbers > 7 then
  call('HDEL', settlements, unpack(ARGV, 7, numbers - 1))
end
local known = call('HMGET', settlements, 'epoch', unpack(ARGV, numbers, first - 1))
local epoch = known[1]
local ours = epoch == ARGV[5]
local time = call('TIME')
local refused
-- The answer where Redis refused something: it names a destination of another type.
local function refusal()
  if not string.find(refused.err, 'WRONGTYPE', 1, true) then return refused end
  return redis.error_reply('WRONGTYPE ' .. to .. ' is no ' .. (sorted and 'sorted set' or 'list'))
end

-- Entries of one sorted set never share a score: Sidekiq's API finds, and removes, entries by it. A score is a number of microseconds.
local now, free, given = time[1] * 1000000 + time[2], {}, {}
local function text(score)
  local micros = score % 1000000
  return format('%d.%06d', (score - micros) / 1000000, micros)
end
-- Returns a free score `delay` seconds from now, or some microseconds later. One look serves all jobs with this delay: where it finds as
-- many free scores in a row as there are jobs, one is left for each.
local function score_in(delay)
  local score, written = free[delay], nil
  if not score then
    score = now + math.floor(delay * 1000000)
    for try = 0, 20 do
      written = text(score)
      local there = pcall('ZCOUNT', to, written, text(score + jobs - 1))
      if type(there) == 'table' then refused = there end
      if refused or there == 0 then break end
      score, written = score + math.random(2 ^ try), nil
    end
  end
  while given[score] do score, written = score + 1, nil end
  given[score] = true
  free[delay] = score + 1
  return written or text(score)
end

local scores, entries, record, count = {}, {}, {}, 0
for job = 1, jobs do
  if known[job + 1] ~= '1' then
    record[count + 1], record[count + 2] = ARGV[numbers + job - 1], '1'
    if sorted then
      local at = first + job * 3 - 3
      local bytes = ARGV[at + 1]
      scores[job] = score_in(ARGV[at + 2])
      entries[count + 1], entries[count + 2] = scores[job], bytes ~= '' and bytes or ARGV[at]
    end
    count = count + 2
  end
end
if refused then return refusal() end

-- A move is recorded as '1' before it is made: made without a record, it would be made again. From here on nothing may raise an error until
-- '0' is in the place of '1' for each job that stays: who may write the one may write the other.
if ours and count > 0 then
  call('HSET', settlements, unpack(record))
end
-- In before out: a refusal has changed nothing. All entries of a sorted set go in together.
local entered, all_are_new = false, true
if sorted and count > 0 then
  local added = pcall('ZADD', to, 'NX', unpack(entries))
  entered = type(added) == 'number'
  if not entered then refused = added end
  all_are_new = added == count / 2
end
-- Returns whether the sorted set has an entry of this job, and not just one that was there before with the same bytes.
local function is_new(job, bytes)
  return entered and (all_are_new or tonumber(pcall('ZSCORE', to, bytes) or 0) == tonumber(scores[job]))
end
-- Returns whether the job is in its queue.
local function push(bytes)
  local pushed = pcall(how == 'first' and 'RPUSH' or 'LPUSH', to, bytes)
  if type(pushed) == 'table' then refused = pushed end
  return not refused
end

local moved, stay, stored = {}, {}, false
for job = 1, jobs do
  if known[job + 1] == '1' then
    moved[job] = 1
  else
    local at = first + job * 3 - 3
    local raw, bytes, list = ARGV[at], ARGV[at + 1], KEYS[job + 3]
    if bytes == '' then bytes = raw end
    local there = not refused and (entered or not queued or push(bytes))
    local taken = there and take(job, list, raw, ours, known[job + 1])
    if type(taken) == 'table' then
      -- Somebody put something else in the place of the list: it is lost, too.
      if string.find(taken.err, 'WRONGTYPE', 1, true) then taken = 0 else refused = taken end
    end
    if taken == 1 or (taken == 0 and ours) then
      moved[job] = taken == 1 and 1 or 2
      stored = true
      -- Another job with the same bytes is there: they share an entry, at the later time.
      if not all_are_new and not is_new(job, bytes) then pcall('ZADD', to, scores[job], bytes) end
    else
      if sorted then
        if is_new(job, bytes) then pcall('ZREM', to, bytes) end
      elseif queued and there then
        pcall(how == 'first' and 'RPOP' or 'LPOP', to)
      end
      moved[job] = type(taken) == 'string' and taken or (epoch and 0 or -1)
      stay[#stay + 1] = ARGV[numbers + job - 1]
      stay[#stay + 1] = staying(job, known[job + 1])
    end
  end
end
if ours and #stay > 0 then
  call('HSET', settlements, unpack(stay))
end
if queued and stored then
  pcall('SADD', KEYS[3], ARGV[2])
end
if how == 'dead' and stored then
  call('ZREMRANGEBYSCORE', to, '-inf', text(now - ARGV[3] * 1000000))
  call('ZREMRANGEBYRANK', to, 0, ARGV[4])
end
return refused and refusal() or moved
