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
-- Takes a member out and puts it where it belongs; back again if that is refused. Whether it was there, whether it moved.
local function move(member, put, key, ...)
  local score = redis.call('ZSCORE', KEYS[1], member)
  if not score then return false, false end
  redis.call('ZREM', KEYS[1], member)
  local answer = redis.pcall(put, key, ...)
  if type(answer) == 'table' and answer.err then
    redis.call('ZADD', KEYS[1], score, member)
    return true, false
  end
  return true, true
end
for at = 3, #ARGV, 4 do
  local member, what, where, bytes = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local there, done = true, false
  if what == 'later' and later then
    there, done = move(member, 'ZADD', KEYS[3], where, bytes)
  elseif what == 'bury' and bury then
    there, done = move(member, 'ZADD', KEYS[4], where, bytes)
    buried = buried or done
  elseif what == 'push' then
    local jobs = queues[where]
    if jobs then
      there = redis.call('ZREM', KEYS[1], member) == 1
      done = there
      if done then jobs[#jobs + 1] = bytes end
    elseif jobs == nil then
      -- The first of a queue tells whether it takes jobs; the others go in together.
      if takes('queue:' .. where, 'list') then
        there, done = move(member, 'LPUSH', 'queue:' .. where, bytes)
      end
      if there then queues[where] = done and {} end
    end
  end
  if done then
    moved = moved + 1
  elseif there then
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
