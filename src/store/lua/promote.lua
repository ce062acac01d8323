#!lua flags=allow-oom
-- Moves due members out of a sorted set. A member that is gone was moved by another poller, Ruby's or ours.
-- KEYS  1 sorted set, 2 set of queue names, 3 schedule, 4 dead
-- ARGV  1 score to trim `dead` up to, 2 rank to trim it up to,
--       then four for each member: bytes, what to do, where, new bytes
--         push  queue name       to a queue
--         later score            back to the schedule
--         bury  score            to the dead set
-- Returns { members moved, members left because the key they belong in holds something else or may not be written }
local moved, stuck, buried = 0, 0, false
-- Whether a key may be looked at, and takes what it is to get. Nothing is rolled back: what is taken out before that is known is lost.
local function takes(key, kind)
  local is = redis.pcall('TYPE', key).ok
  return is == kind or is == 'none'
end
local later, bury = takes(KEYS[3], 'zset'), takes(KEYS[4], 'zset')
-- By queue: its jobs but the first; false if it takes none.
local queues = {}
-- Takes a member out and puts it where it belongs, or back again if that is refused. Whether it moved; nil if it was not there.
local function move(member, put, key, ...)
  local score = redis.call('ZSCORE', KEYS[1], member)
  if not score then return nil end
  redis.call('ZREM', KEYS[1], member)
  local answer = redis.pcall(put, key, ...)
  local refused = type(answer) == 'table' and answer.err
  if refused then redis.call('ZADD', KEYS[1], score, member) end
  return not refused
end
-- The same to a queue. The first tells whether the queue takes jobs; the others go in together.
local function enqueue(member, name, bytes)
  local key, jobs = 'queue:' .. name, queues[name]
  if jobs then
    if redis.call('ZREM', KEYS[1], member) == 0 then return nil end
    jobs[#jobs + 1] = bytes
    return true
  end
  if jobs == nil then
    local done = false
    if takes(key, 'list') then done = move(member, 'LPUSH', key, bytes) end
    queues[name] = done and {}
    return done
  end
  return false
end
for at = 3, #ARGV, 4 do
  local member, what, where, bytes = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local done = false
  if what == 'push' then
    done = enqueue(member, where, bytes)
  elseif what == 'later' and later then
    done = move(member, 'ZADD', KEYS[3], where, bytes)
  elseif what == 'bury' and bury then
    done = move(member, 'ZADD', KEYS[4], where, bytes)
    buried = buried or done
  end
  if done then
    moved = moved + 1
  elseif done == false then
    stuck = stuck + 1
  end
end
for name, jobs in pairs(queues) do
  if jobs then
    if #jobs > 0 then redis.call('LPUSH', 'queue:' .. name, unpack(jobs)) end
    redis.pcall('SADD', KEYS[2], name)
  end
end
if buried then
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', ARGV[1])
  redis.call('ZREMRANGEBYRANK', KEYS[4], 0, ARGV[2])
end
return { moved, stuck }
