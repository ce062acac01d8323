#!lua flags=allow-oom
-- Puts jobs of a dead process's private list back to their queue, the oldest to run first, and counts the process among those that died with
-- each payload that may have begun. A payload that two processes died with becomes a suspect. One that enough died with, the last while
-- nothing but it had begun there, goes to a list of convicts instead.
-- KEYS  1 private list, 2 queue, 3 set of queue names, 4 convicts, 5 index of the process's private lists, 6 registry, 7 suspects,
--       8 suspects that had begun in the process, 9.. for each job to move the set of processes that died with it
-- ARGV  1 name of the queue, 2 deaths that convict, 3 seconds deaths are counted over, 4 identity of the process, 5 how many jobs of the list
--       may have begun, the oldest; empty if the process left no word of that; 6.. SHA-1 of each job to move, the newest first. Where the list
--       holds another job, since somebody else moved the one that was seen, the move ends
-- Returns { jobs put back, jobs convicted, jobs left }; nothing if the process is registered again: then they are its own
if redis.call('SISMEMBER', KEYS[6], ARGV[4]) == 1 then
  return { 0, 0, 0 }
end
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'list' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is no list')
end
local now = tonumber(redis.call('TIME')[1])
local convicting, begun_at_most = tonumber(ARGV[2]), tonumber(ARGV[5])

-- Whether the job may have begun in the process. A suspect is named before it begins; of the others the oldest of the list count.
local function may_have_begun(sha, left)
  if not begun_at_most then return true end
  local expiry = tonumber(redis.call('ZSCORE', KEYS[7], sha) or 0)
  if expiry > now then return redis.call('SISMEMBER', KEYS[8], sha) == 1 end
  return left <= begun_at_most
end

-- Counts the process, once however often it is asked, and returns how many died with the payload.
local function died_with(sha, deaths)
  redis.call('SADD', deaths, ARGV[4])
  redis.call('EXPIRE', deaths, ARGV[3])
  local count = redis.call('SCARD', deaths)
  if count > 1 then
    redis.call('ZADD', KEYS[7], now + ARGV[3], sha)
    redis.call('EXPIRE', KEYS[7], ARGV[3])
  end
  return count
end

local back, convicted = 0, 0
local left = redis.call('LLEN', KEYS[1])
for at = 9, #KEYS do
  local job = redis.call('LINDEX', KEYS[1], 0)
  local sha = ARGV[at - 3]
  if not job or redis.sha1hex(job) ~= sha then break end
  local alone = 'alone:' .. sha
  local deaths = may_have_begun(sha, left) and died_with(sha, KEYS[at]) or 0
  if deaths >= convicting and redis.call('SISMEMBER', KEYS[8], alone) == 1 then
    redis.call('SADD', KEYS[5], KEYS[4])
    redis.call('LMOVE', KEYS[1], KEYS[4], 'LEFT', 'RIGHT')
    -- One job ran alone: another of the same bytes did not.
    redis.call('SREM', KEYS[8], alone, sha)
    redis.call('ZREM', KEYS[7], sha)
    convicted = convicted + 1
  else
    redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')
    back = back + 1
  end
  left = left - 1
end
if back > 0 then
  redis.pcall('SADD', KEYS[3], ARGV[1])
end
return { back, convicted, left }
