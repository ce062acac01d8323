#!lua flags=allow-oom
-- Moves jobs into private lists of this process, oldest first, from queues that sidekiq-limit_fetch limits, in the given order. No more than the
-- limits of each queue allow; none from a paused queue. For each job it adds an entry of this process to the two lists in which the gem counts
-- the jobs of a queue.
-- KEYS  1 registry of processes, 2 index of this process's private lists, 3 processes of the gem, 4 heartbeat of this process for the gem, then
--       for each queue: queue, private list, pause, limit of all processes, limit of one process, the gem's list of jobs that processes fetch
--       or run, its list of jobs that run
-- ARGV  1 identity, 2 n, 3 bytes that the jobs have together at most, or they are one job; 4 seconds that the heartbeat lasts
-- Returns what claim.lua returns
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  return -1
end
local n, bytes, refused, out = tonumber(ARGV[2]), tonumber(ARGV[3]), {}, {}
local is_first, full = true, 0

-- What a key holds; nil if that is no text.
local function text(key)
  local value = redis.pcall('GET', key)
  return type(value) == 'string' and value or nil
end

-- Whether a key is a list, or missing. Notes it if not.
local function is_list(key)
  local size = redis.pcall('LLEN', key)
  if type(size) ~= 'number' then
    refused[#refused + 1] = key
    refused[#refused + 1] = size.err
  end
  return type(size) == 'number'
end

-- How many jobs the limits of the queue at `at` leave room for; `n` if none does so earlier.
local function room(at)
  local limit, of_process = tonumber(text(KEYS[at + 3])), tonumber(text(KEYS[at + 4]))
  local all, own = redis.call('LRANGE', KEYS[at + 5], 0, -1), 0
  for _, process in ipairs(all) do
    if process == ARGV[1] then own = own + 1 end
  end
  return math.min(n, math.ceil(limit or math.huge) - #all, math.ceil(of_process or math.huge) - own)
end

-- Moves the oldest job of a queue; returns an error of Redis if it refuses.
local function move(at)
  redis.call('SET', KEYS[4], '1', 'EX', ARGV[4])
  redis.pcall('SADD', KEYS[3], ARGV[1])
  redis.call('SADD', KEYS[2], KEYS[at + 1])
  redis.call('RPUSH', KEYS[at + 5], ARGV[1])
  redis.call('RPUSH', KEYS[at + 6], ARGV[1])
  local job = redis.pcall('LMOVE', KEYS[at], KEYS[at + 1], 'RIGHT', 'LEFT')
  if type(job) == 'string' then return nil end
  redis.call('RPOP', KEYS[at + 5])
  redis.call('RPOP', KEYS[at + 6])
  return job
end

for at = 5, #KEYS, 7 do
  local lists = is_list(KEYS[at]) and is_list(KEYS[at + 5]) and is_list(KEYS[at + 6])
  local size = lists and not text(KEYS[at + 2]) and redis.call('LLEN', KEYS[at]) or 0
  local most, count = size > 0 and math.min(size, room(at)) or 0, 0
  while count < most and full == 0 do
    local next = #redis.call('LINDEX', KEYS[at], -1)
    if next > bytes and not is_first then
      full = 1
    else
      local refused = move(at)
      if refused then return refused end
      count, bytes, is_first = count + 1, bytes - next, false
    end
  end
  if count > 0 then
    out[#out + 1] = (at - 5) / 7 + 1
    out[#out + 1] = count
  end
  n = n - count
end
table.insert(out, 1, refused)
table.insert(out, 2, full)
return out
