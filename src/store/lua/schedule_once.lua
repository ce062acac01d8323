-- Adds jobs to the schedule, each at a score of its own. One whose mark is there was added before and is passed over; its mark is renewed, which is a write:
-- whoever waits for replicas after it waits for the addition before, too. A job that is refused gets no mark.
-- KEYS  1 schedule, then a mark for each job
-- ARGV  1 seconds marks live, then two for each job: score, bytes
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'zset' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' is no sorted set')
end
for mark = 2, #KEYS do
  if redis.call('EXPIRE', KEYS[mark], ARGV[1]) == 0 then
    redis.call('ZADD', KEYS[1], free_score(KEYS[1], ARGV[mark * 2 - 2]), ARGV[mark * 2 - 1])
    redis.call('SET', KEYS[mark], 1, 'EX', ARGV[1])
  end
end
