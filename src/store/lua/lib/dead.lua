-- The beginning of scripts that add to `schedule` or `dead`.

local clock = nil
-- Returns the time of Redis in epoch seconds, the same one throughout a script.
local function time()
  if not clock then
    local now = redis.call('TIME')
    clock = string.format('%d.%06d', now[1], now[2])
  end
  return clock
end

-- Adds a job at a free score from `score` on. Returns that score; nil if Redis refuses: the key holds something else, say.
local function add(key, score, job)
  if type(redis.pcall('ZCOUNT', key, 0, 0)) == 'table' then return nil end
  local free = free_score(key, score)
  return type(redis.pcall('ZADD', key, free, job)) ~= 'table' and free or nil
end

local last_death = nil
-- Adds a job to the dead set, now. Returns whether Redis accepted it.
local function bury(dead, job)
  last_death = add(dead, last_death and string.format('%.6f', last_death + 1e-6) or time(), job)
  return last_death ~= nil
end

-- Removes members of the dead set that are older than `age` seconds, and those of a rank up to `rank`; 1000 at most: the next burial goes on.
local function trim(dead, age, rank)
  local expired = redis.call('ZCOUNT', dead, '-inf', string.format('%.6f', time() - age))
  rank = tonumber(rank)
  if rank < 0 then rank = redis.call('ZCOUNT', dead, '-inf', '+inf') + rank end
  local excess = math.min(math.max(expired, rank + 1), 1000)
  if excess > 0 then redis.call('ZREMRANGEBYRANK', dead, 0, excess - 1) end
end

