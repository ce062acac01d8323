#!lua flags=allow-oom
-- Moves due members out of a sorted set. A member that is gone was moved by another poller, Ruby's or ours.
-- KEYS  1 sorted set, 2 set of queue names, 3 schedule, 4 dead
-- ARGV  1 score to trim `dead` up to, 2 rank to trim it up to,
--       then four for each member: bytes, what to do, where, new bytes
--         push  queue name       to a queue
--         later score            back to the schedule
--         bury  score            to the dead set
-- Returns { members moved, members left because the key they belong in holds something else }
local moved, stuck, buried = 0, 0, false
-- Whether a key takes members of a sorted set. What is taken out before that is known is lost if it does not: nothing is rolled back.
local function is_set(key)
  local kind = redis.call('TYPE', key).ok
  return kind == 'zset' or kind == 'none'
end
local takes = { later = is_set(KEYS[3]), bury = is_set(KEYS[4]) }
-- By queue: its jobs; false if it is no list.
local queues = {}
local function queue_of(name)
  local jobs = queues[name]
  if jobs == nil then
    local kind = redis.call('TYPE', 'queue:' .. name).ok
    jobs = (kind == 'list' or kind == 'none') and {}
    queues[name] = jobs
  end
  return jobs
end
for at = 3, #ARGV, 4 do
  local member, what, where, bytes = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local jobs = takes[what]
  if what == 'push' then jobs = queue_of(where) end
  if not jobs then
    stuck = stuck + 1
  elseif redis.call('ZREM', KEYS[1], member) == 1 then
    if what == 'push' then
      jobs[#jobs + 1] = bytes
    elseif what == 'later' then
      redis.call('ZADD', KEYS[3], where, bytes)
    else
      redis.call('ZADD', KEYS[4], where, bytes)
      buried = true
    end
    moved = moved + 1
  end
end
for name, jobs in pairs(queues) do
  if jobs and #jobs > 0 then
    redis.call('LPUSH', 'queue:' .. name, unpack(jobs))
    redis.pcall('SADD', KEYS[2], name)
  end
end
if buried then
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', ARGV[1])
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, ARGV[2])
end
return { moved, stuck }
