-- Moves due members of a sorted set that are larger than a payload may be to the dead set, as they are.
-- KEYS  1 sorted set, 2 dead
-- ARGV  1 rank to begin at, 2 members to look at, 3 size of the largest payload, 4 age in seconds and 5 rank to trim `dead` by
-- Returns how many were moved
local rank, limit, buried = tonumber(ARGV[1]), tonumber(ARGV[3]), 0
local stop = math.min(rank + ARGV[2], redis.call('ZCOUNT', KEYS[1], '-inf', time()))
while rank < stop do
  local member = redis.call('ZRANGE', KEYS[1], rank, rank)[1]
  if #member > limit and bury(KEYS[2], member) then
    redis.call('ZREM', KEYS[1], member)
    buried, stop = buried + 1, stop - 1
  else
    rank = rank + 1
  end
end
if buried > 0 then trim(KEYS[2], ARGV[4], ARGV[5]) end
return buried
