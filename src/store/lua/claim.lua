#!lua flags=allow-oom
-- Moves up to n jobs into private lists of this process, oldest first, from the queues in the given order. They have no more than the given
-- bytes together, or they are one job. Small jobs do not pass through here: Redis copies a range of a list far faster than Lua holds it. They
-- are read from the private lists.
-- KEYS  1 registry of processes, 2 index of this process's private lists, 3.. queues
-- ARGV  1 identity, 2 n, 3 what the names of this claim's private lists begin with, 4 '1' if this claim was made before and its
--       answer was lost: what it moved is told again, and nothing more is moved; 5 bytes; 6.. names of the queues
-- Returns -1 if this process is not registered (any more), else { wrong-typed queue keys,
--         name of a queue, how many of its jobs, ... }
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  return -1
end
local n, bytes, wrong, out = tonumber(ARGV[2]), tonumber(ARGV[5]), {}, {}
local is_first = true
local function moved(name, count)
  out[#out + 1] = name
  out[#out + 1] = count
end

-- What a list takes in memory, without a look at its jobs; nil where this is not allowed to the user.
local function memory_of(list)
  local size = redis.pcall('MEMORY', 'USAGE', list, 'SAMPLES', 0)
  return type(size) == 'number' and size or nil
end

-- One job after the other, while they fit.
local function move_each(queue, private, count)
  for at = 1, count do
    local size = #redis.call('LINDEX', queue, -1)
    if size > bytes and not is_first then
      bytes = 0
      return at - 1
    end
    redis.call('LMOVE', queue, private, 'RIGHT', 'LEFT')
    bytes, is_first = bytes - size, false
    if bytes <= 0 then return at end
  end
  return count
end

-- All of them at once; nil if they do not fit.
local function move_all(queue, private, size, count)
  -- A look at one job saves a copy of many large ones in vain.
  local expected = count == size and memory_of(queue) or #redis.call('LINDEX', queue, -count) * count
  if expected > bytes then return nil end
  if count < size or redis.pcall('RENAME', queue, private).err then
    local sorted = redis.pcall('SORT', queue, 'BY', 'nosort', 'LIMIT', size - count, count, 'STORE', private)
    if type(sorted) ~= 'number' then
      -- Neither is allowed to every user.
      redis.call('RPUSH', private, unpack(redis.call('LRANGE', queue, size - count, -1)))
    end
    expected = memory_of(private) or expected
    local from, to = 0, size - count - 1
    if count == size then from, to = 1, 0 end
    if expected > bytes then
      -- Large ones were among them. Nothing was taken out of the queue.
      redis.call('UNLINK', private)
      return nil
    elseif redis.pcall('LTRIM', queue, from, to).err then
      redis.call('UNLINK', private)
      redis.call('LTRIM', queue, from, to)
    end
  end
  bytes, is_first = bytes - expected, false
  return count
end

local function move(queue, private, size)
  redis.call('SADD', KEYS[2], private)
  local count = math.min(size, n)
  local moved = move_all(queue, private, size, count) or move_each(queue, private, count)
  if moved == 0 then redis.call('SREM', KEYS[2], private) end
  return moved
end

if ARGV[4] == '1' then
  for at = 3, #KEYS do
    local name = ARGV[at + 3]
    local size = redis.call('LLEN', ARGV[3] .. name)
    if size > 0 then moved(name, size) end
  end
else
  for at = 3, #KEYS do
    local size = redis.pcall('LLEN', KEYS[at])
    if type(size) ~= 'number' then
      wrong[#wrong + 1] = KEYS[at]
    elseif size > 0 then
      local name = ARGV[at + 3]
      local private = ARGV[3] .. name
      local count = move(KEYS[at], private, size)
      if count > 0 then moved(name, count) end
      n = n - count
      if n == 0 or bytes <= 0 then break end
    end
  end
end
table.insert(out, 1, wrong)
return out
