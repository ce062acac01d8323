#!lua flags=allow-oom
-- Moves jobs out of private lists into `retry` or `dead`, where this process still owns them.
-- KEYS  1 sorted set, 2 registry, 3.. private list of each job
-- ARGV  1 identity of the process, 2 score to trim up to, or nothing, 3 rank to trim up to, 4.. of each job: bytes as fetched, bytes to store,
--       score
-- What is refused here, for want of a right, say, has changed nothing: a job goes in before it is taken out.
-- Returns for each job 1; 0 if it was not there (any more), -1 if it was not and the process is not registered: Redis may have forgotten both
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'zset' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' is no sorted set')
end
local moved = {}
for job = 1, #KEYS - 2 do
  local at = 3 * job
  local bytes, score = ARGV[at + 2], ARGV[at + 3]
  local added = redis.call('ZADD', KEYS[1], 'NX', score, bytes)
  local taken = redis.pcall('LREM', KEYS[job + 2], -1, ARGV[at + 1])
  if taken == 1 then
    if added == 0 then redis.call('ZADD', KEYS[1], score, bytes) end
    moved[job] = 1
  else
    if added == 1 then redis.call('ZREM', KEYS[1], bytes) end
    if taken ~= 0 then return taken end
    moved[job] = redis.call('SISMEMBER', KEYS[2], ARGV[1]) - 1
  end
end
if ARGV[2] ~= '' then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2])
  redis.call('ZREMRANGEBYRANK', KEYS[1], 0, ARGV[3])
end
return moved
