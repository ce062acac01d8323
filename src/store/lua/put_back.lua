#!lua flags=allow-oom
-- Moves jobs from queues back into the sorted set they came from, as they were there.
-- KEYS  1 sorted set, then a queue for each job
-- ARGV  three for each job: bytes in the queue, score, bytes in the sorted set
-- Returns for each job 1 if it is back, 2 if it is in the sorted set already, 0 if it is in neither: somebody took it
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'zset' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' is no sorted set')
end
local out = {}
for job = 2, #KEYS do
  local at = job * 3 - 5
  local pushed, score, bytes = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local is_list = redis.call('TYPE', KEYS[job]).ok == 'list'
  local before = redis.call('ZSCORE', KEYS[1], bytes)
  -- In before out: what is refused has changed nothing.
  redis.call('ZADD', KEYS[1], score, bytes)
  -- The newest are at the head, and go back first.
  local taken = is_list and redis.pcall('LREM', KEYS[job], 1, pushed) or 0
  if taken == 1 then
    out[job - 1] = 1
  else
    if before then
      redis.call('ZADD', KEYS[1], before, bytes)
    else
      redis.call('ZREM', KEYS[1], bytes)
    end
    if taken ~= 0 then return taken end
    out[job - 1] = before and 2 or 0
  end
end
return out
