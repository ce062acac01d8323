#!lua flags=allow-oom
-- Moves due members out of a sorted set. A member that is gone was moved by another poller, Ruby's or ours.
-- KEYS  1 sorted set, 2 set of queue names, 3 schedule, 4 dead
-- ARGV  1 score to trim `dead` up to, 2 rank to trim it up to,
--       then four for each member: bytes, what to do, where, new bytes
--         push  queue name       to a queue
--         later score            back to the schedule
--         bury  score            to the dead set
-- Returns { members moved, members left because their queue is no list }
local moved, stuck, buried = 0, 0, false
for at = 3, #ARGV, 4 do
  local member, what, where, bytes = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local queue = 'queue:' .. where
  local kind = what == 'push' and redis.call('TYPE', queue).ok or 'none'
  if kind ~= 'list' and kind ~= 'none' then
    stuck = stuck + 1
  elseif redis.call('ZREM', KEYS[1], member) == 1 then
    if what == 'push' then
      redis.call('SADD', KEYS[2], where)
      redis.call('LPUSH', queue, bytes)
    elseif what == 'later' then
      redis.call('ZADD', KEYS[3], where, bytes)
    else
      redis.call('ZADD', KEYS[4], where, bytes)
      buried = true
    end
    moved = moved + 1
  end
end
if buried then
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', ARGV[1])
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, ARGV[2])
end
return { moved, stuck }
