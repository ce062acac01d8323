-- Adds jobs to the schedule, each at a score of its own. The first addition shows whether Redis accepts them.
-- KEYS  1 schedule
-- ARGV  two for each job: score, bytes
local schedule = KEYS[1]
-- The range of the scores, and whether they differ.
local lowest, highest, seen, differ = ARGV[1], ARGV[1], {}, true
for at = 1, #ARGV, 2 do
  local score = ARGV[at]
  if tonumber(score) < tonumber(lowest) then lowest = score end
  if tonumber(score) > tonumber(highest) then highest = score end
  differ = differ and not seen[score]
  seen[score] = true
end
local taken = differ and redis.pcall('ZCOUNT', schedule, lowest, highest)
if differ and (type(taken) == 'table' or taken == 0) then
  -- No member is there, or the members may not be read.
  for at = 1, #ARGV, 2000 do
    redis.call('ZADD', schedule, unpack(ARGV, at, math.min(at + 1999, #ARGV)))
  end
else
  for at = 1, #ARGV, 2 do
    redis.call('ZADD', schedule, free_score(schedule, ARGV[at]), ARGV[at + 1])
  end
end
