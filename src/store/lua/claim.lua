#!lua flags=allow-oom
-- Moves up to n jobs into private lists of this process, oldest first, from the queues in the given order. The jobs themselves do not
-- pass through here: Redis copies a range of a list far faster than Lua holds it. They are read from the private lists.
-- KEYS  1 registry of processes, 2 index of this process's private lists, 3.. queues
-- ARGV  1 identity, 2 n, 3 what the names of this claim's private lists begin with, 4 '1' if this claim was made before and its
--       answer was lost: what it moved is told again, and nothing more is moved; 5 bytes of jobs that end the claim, 6.. names of the
--       queues
-- Returns -1 if this process is not registered (any more), else { wrong-typed queue keys,
--         name of a queue, how many of its jobs, ... }
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  return -1
end
local n, bytes, wrong, out = tonumber(ARGV[2]), tonumber(ARGV[5]), {}, {}
local function moved(name, count)
  out[#out + 1] = name
  out[#out + 1] = count
end
-- The largest of a few of the jobs a claim would move: all of a few, else some that lie evenly between the oldest and the newest.
local function largest(queue, count)
  local most, step = 0, math.max(1, count / 8)
  for at = 1, count, step do
    most = math.max(most, #(redis.call('LINDEX', queue, -math.floor(at)) or ''))
  end
  return most
end
-- Moves one job after the other until they have enough bytes.
local function move_some(queue, private, count)
  local moved = 0
  while moved < count and bytes > 0 do
    bytes = bytes - #redis.call('LMOVE', queue, private, 'RIGHT', 'LEFT')
    moved = moved + 1
  end
  return moved
end
local function move(queue, private, size)
  redis.call('SADD', KEYS[2], private)
  local estimate = largest(queue, math.min(size, n)) * math.min(size, n)
  if estimate > bytes then return move_some(queue, private, math.min(size, n)) end
  bytes = bytes - estimate
  if size <= n then
    local renamed = redis.pcall('RENAME', queue, private)
    if not renamed.err then return size end
  end
  -- Changes nothing: if it may not be trimmed, nothing may be copied.
  redis.call('LTRIM', queue, 0, -1)
  local count = math.min(size, n)
  local sorted = redis.pcall('SORT', queue, 'BY', 'nosort', 'LIMIT', size - count, count, 'STORE', private)
  if type(sorted) ~= 'number' then
    -- Neither is allowed to every user.
    redis.call('RPUSH', private, unpack(redis.call('LRANGE', queue, size - count, -1)))
  end
  if count == size then
    redis.call('LTRIM', queue, 1, 0)
  else
    redis.call('LTRIM', queue, 0, size - count - 1)
  end
  return count
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
      moved(name, count)
      n = n - count
      if n == 0 or bytes <= 0 then break end
    end
  end
end
table.insert(out, 1, wrong)
return out
