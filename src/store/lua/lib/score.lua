-- Returns `score`, or a score some microseconds above it that no member has: the Web UI deletes by score. The range doubles with each try,
-- up to a second. Returns `score` where the members may not be read.
local function free_score(key, score)
  local free = score
  for try = 1, 20 do
    local taken = redis.pcall('ZCOUNT', key, free, free)
    if type(taken) == 'table' or taken == 0 then break end
    free = string.format('%.6f', score + math.random(2 ^ try) / 1e6)
  end
  return free
end

