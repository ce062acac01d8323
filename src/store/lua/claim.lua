#!lua flags=allow-oom
-- Moves up to n jobs into private lists of this process, oldest first, from the queues in the given order. They have no more than the given
-- bytes together, or they are one job. The jobs themselves do not pass through here: Redis copies a range of a list, and measures it, far
-- faster than Lua holds it. They are read from the private lists.
-- KEYS  1 registry of processes, 2 index of this process's private lists, then the queues, then a private list for each queue
-- ARGV  1 identity, 2 n, 3 '1' if this claim was made before and its answer was lost: what it moved is returned again, and nothing more is
--       moved; 4 bytes
-- Returns -1 if this process is not registered (any more), else { keys on which Redis refused LLEN, each with its error; 1 if the bytes ended the claim or 0;
--         which queue, counted from 1, how many of its jobs, ... }
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  return -1
end
local n, bytes, refused, out = tonumber(ARGV[2]), tonumber(ARGV[4]), {}, {}
local queues = (#KEYS - 2) / 2
local is_first, full = true, 0
local function moved(queue, count)
  out[#out + 1] = queue
  out[#out + 1] = count
end

-- What a list takes in memory, by so many of its nodes from the newest on, by all of them if that is 0; nil where this is not allowed to
-- the user.
local function memory_of(list, nodes)
  local memory = redis.pcall('MEMORY', 'USAGE', list, 'SAMPLES', nodes)
  return type(memory) == 'number' and memory or nil
end

-- Writes the `count` oldest jobs of a queue into a private list, whatever is there.
local function copy(queue, private, size, count)
  local sorted = redis.pcall('SORT', queue, 'BY', 'nosort', 'LIMIT', size - count, count, 'STORE', private)
  if type(sorted) ~= 'number' then
    -- Not allowed to every user.
    redis.call('UNLINK', private)
    redis.call('RPUSH', private, unpack(redis.call('LRANGE', queue, size - count, size - 1)))
  end
end

-- Moves as many as fit.
local function move(queue, private, size)
  local count = math.min(size, n)
  local memory = memory_of(queue, count == size and 0 or 5)
  local each = memory and memory / size or 0
  if count * each <= bytes then
    -- Those that are next may be larger than the newest ones.
    local next = #redis.call('LINDEX', queue, -count)
    if next > bytes / 16 then each = next end
  end
  if each > bytes and not is_first then return 0 end
  redis.call('SADD', KEYS[2], private)
  if count == size and memory and memory <= bytes and not redis.pcall('RENAME', queue, private).err then
    bytes, is_first = bytes - memory, false
    return count
  end
  if count * each > bytes then count = math.max(1, math.floor(bytes / each)) end
  while true do
    copy(queue, private, size, count)
    memory = memory_of(private, 0) or count * each
    if memory <= bytes or count == 1 then break end
    -- There are large ones among them.
    count = math.max(1, math.min(math.floor(count * bytes / memory), math.floor(count / 2)))
  end
  local from, to = 0, size - count - 1
  if count == size then from, to = 1, 0 end
  local fits = memory <= bytes or is_first
  if not fits or redis.pcall('LTRIM', queue, from, to).err then
    -- Nothing was taken out of the queue.
    redis.call('UNLINK', private)
    redis.call('SREM', KEYS[2], private)
    if fits then redis.call('LTRIM', queue, from, to) end
    return 0
  end
  bytes, is_first = bytes - memory, false
  return count
end

if ARGV[3] == '1' then
  for at = 1, queues do
    local size = redis.call('LLEN', KEYS[at + queues + 2])
    if size > 0 then moved(at, size) end
  end
else
  for at = 1, queues do
    local queue = KEYS[at + 2]
    local size = redis.pcall('LLEN', queue)
    if type(size) ~= 'number' then
      refused[#refused + 1] = queue
      refused[#refused + 1] = size.err
    elseif size > 0 then
      local count = move(queue, KEYS[at + queues + 2], size)
      if count > 0 then moved(at, count) end
      n = n - count
      if n == 0 then break end
      if count < size then
        full = 1
        break
      end
    end
  end
end
table.insert(out, 1, refused)
table.insert(out, 2, full)
return out
