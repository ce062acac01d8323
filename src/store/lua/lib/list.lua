#!lua flags=allow-oom
-- The beginning of scripts that change jobs in the middle of a list. LREM, LINSERT and LPOS walk from an end of the list to the job, which
-- holds up Redis for 45 ns an entry; these look where the job was seen.

-- How far a script walks from an end at most.
local REACH = 100000
-- Bytes and entries that a script looks at besides the places it was told.
local room, looks = 4 * 1024 * 1024, 4000
-- By how many places the jobs found so far had moved.
local drift = 0

-- Returns the index of a job between two indices that count from the end; nil if it is not there.
local function search(list, from, to, job)
  from = math.max(from, -redis.call('LLEN', list))
  local read = from <= to and redis.call('LRANGE', list, from, to) or {}
  for at = 1, #read do
    room, looks = room - #read[at], looks - 1
    if read[at] == job then return from + at - 1 end
  end
end

-- Returns the index, from the end, of a job that was seen with `place` jobs behind it; nil if it is not there. Since then jobs may have left
-- at the end, a thousand at most, or have come back there.
local function locate(list, place, job)
  local seen = -1 - place
  local index = search(list, math.min(seen + drift, -1), math.min(seen + drift, -1), job) or search(list, seen, seen, job)
  local ahead, behind, window = seen + 1, seen - 1, 1
  while not index and room > 0 and looks > 0 and (ahead <= -1 or behind >= seen - 100) do
    if ahead <= -1 then
      local last = math.min(ahead + window - 1, -1)
      index = search(list, ahead, last, job)
      ahead = last < seen + 1000 and last + 1 or 0
    end
    if not index and behind >= seen - 100 then
      index = search(list, behind - window + 1, behind, job)
      behind = behind - window
    end
    window = math.min(window * 2, 16)
  end
  if index then drift = index - seen end
  return index
end

local now = redis.call('TIME')
local MARK = string.format('ferrokiq: removed at %d.%06d', now[1], now[2])
-- Jobs to remove near the start of the list, and near its end: index and bytes.
local near_start, near_end = {}, {}
-- Begins to remove the job at an index that `locate` returned.
local function remove(list, index, job)
  local size = redis.call('LLEN', list)
  if math.min(-index, size + index) < REACH then
    redis.call('LSET', list, index, MARK)
    local side = -index < size + index and near_end or near_start
    side[#side + 1] = { index, job }
  else
    -- Too far from both ends: the newest job takes the place.
    redis.call('LSET', list, index, redis.call('LINDEX', list, 0))
    redis.call('LTRIM', list, 1, -1)
  end
end

-- Ends what `remove` began. Returns an error if Redis refuses that; the jobs are where they were then.
local function finish(list)
  local refused = nil
  for side, marked in pairs({ [1] = near_start, [-1] = near_end }) do
    local answer = #marked > 0 and redis.pcall('LREM', list, side * #marked, MARK)
    if type(answer) == 'table' then
      refused = answer
      for _, job in ipairs(marked) do redis.call('LSET', list, job[1], job[2]) end
    end
  end
  return refused
end

