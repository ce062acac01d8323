-- Moves members out of a sorted set. A member that is gone was moved by another poller, Ruby's or ours.
-- KEYS  1 sorted set, 2 set of queue names, 3 schedule, 4 dead, 5.. queues
-- ARGV  1 age in seconds and 2 rank to trim `dead` by, or nothing for neither,
--       then four for each member: bytes, what to do, where, new bytes
--         push  place in KEYS    to a queue
--         later score            back to the schedule
--         delay score            to a later time in the same set
--         drop                   to nowhere
--         bury                   to the dead set, as the new bytes if there are any
-- Returns { members moved, members left because the key they belong in holds something else or may not be written }
local set, call, pcall = KEYS[1], redis.call, redis.pcall
-- A user who may not take members out must not put any in.
call('ZREM', set, 'ferrokiq: no member')
local moved, stuck, buried = 0, 0, false
local function failed(answer) return type(answer) == 'table' and answer.err end
-- By place of the queue: its jobs but the first; false if it takes none.
local queues = {}
-- Puts a member into a queue. Returns whether it moved; nil if it was not there. The first job, which goes in before it is taken out, shows
-- whether the queue takes jobs; the others go in together.
local function enqueue(member, place, bytes)
  local jobs = queues[place]
  if jobs then
    if call('ZREM', set, member) == 0 then return nil end
    jobs[#jobs + 1] = bytes
    return true
  end
  if jobs == false then return false end
  if not call('ZSCORE', set, member) then return nil end
  if failed(pcall('LPUSH', KEYS[place + 0], bytes)) then
    queues[place] = false
    return false
  end
  queues[place] = {}
  call('ZREM', set, member)
  return true
end
-- Puts a member into a sorted set, before it is taken out of the other one.
local function move(member, to, bytes, put)
  if not call('ZSCORE', set, member) then return nil end
  if not put() then return false end
  -- A dead job that is killed, say, only gets another score.
  if set ~= to or member ~= bytes then call('ZREM', set, member) end
  return true
end
for at = 3, #ARGV, 4 do
  local member, what, where, bytes = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local done
  if what == 'push' then
    done = enqueue(member, where, bytes)
  elseif what == 'later' or what == 'delay' then
    local to = what == 'later' and KEYS[3] or set
    done = move(member, to, bytes, function() return add(to, where, bytes) end)
  elseif what == 'drop' then
    done = call('ZREM', set, member) == 1 or nil
  else
    local dead = bytes ~= '' and bytes or member
    done = move(member, KEYS[4], dead, function() return bury(KEYS[4], dead) end)
    buried = buried or done
  end
  if done then
    moved = moved + 1
  elseif done == false then
    stuck = stuck + 1
  end
end
for place, jobs in pairs(queues) do
  if jobs then
    local queue = KEYS[place + 0]
    if #jobs > 0 then call('LPUSH', queue, unpack(jobs)) end
    -- Its name stands behind `queue:`.
    pcall('SADD', KEYS[2], string.sub(queue, 7))
  end
end
if buried and ARGV[1] ~= '' then trim(KEYS[4], ARGV[1], ARGV[2]) end
return { moved, stuck }
