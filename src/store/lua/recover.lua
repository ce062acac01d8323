#!lua flags=allow-oom
-- Puts jobs of a dead process's private list back to their queue, the oldest to run first. A payload that lay with two dying processes is
-- named as a suspect, so that it next runs alone; one that lay with too many goes to a list of convicts instead.
-- KEYS  1 private list, 2 queue, 3 set of queue names, 4 convicts, 5 index of the process's private lists, 6 registry, 7 suspects
-- ARGV  1 name of the queue, 2 jobs at most, 3 recoveries that convict, 4 seconds recoveries are counted over, 5 identity of the process
-- Returns { jobs put back, jobs convicted }; nothing if the process is registered again: then they are its own
if redis.call('SISMEMBER', KEYS[6], ARGV[5]) == 1 then
  return { 0, 0 }
end
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'list' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is no list')
end
local back, convicted = 0, 0
for _ = 1, ARGV[2] do
  local job = redis.call('LINDEX', KEYS[1], 0)
  if not job then break end
  local sha = redis.sha1hex(job)
  local counter = 'ferrokiq:poison:' .. sha
  local times = redis.call('INCR', counter)
  redis.call('EXPIRE', counter, ARGV[4])
  if times >= tonumber(ARGV[3]) then
    redis.call('SADD', KEYS[5], KEYS[4])
    redis.call('LMOVE', KEYS[1], KEYS[4], 'LEFT', 'RIGHT')
    redis.call('SREM', KEYS[7], sha)
    convicted = convicted + 1
  else
    if times > 1 then
      redis.call('SADD', KEYS[7], sha)
      redis.call('EXPIRE', KEYS[7], ARGV[4])
    end
    redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')
    back = back + 1
  end
end
if back > 0 then
  redis.pcall('SADD', KEYS[3], ARGV[1])
end
return { back, convicted }
