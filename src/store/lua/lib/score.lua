-- Returns `score`, or a score some steps above it that no member has: the Web UI deletes by score. A step is a microsecond, or what a double
-- can hold where that is more: beyond the year 2255. The range doubles with each try, up to a million steps. Returns `score` where the members
-- may not be read.
local function free_score(key, score)
  local free, step = score, math.max(1e-6, math.abs(score) * 2 ^ -52)
  for try = 1, 20 do
    local taken = redis.pcall('ZCOUNT', key, free, free)
    if type(taken) == 'table' or taken == 0 then break end
    free = string.format('%.6f', score + math.random(2 ^ try) * step)
  end
  return free
end

