-- Pushes jobs to several queues, or to none of them. One whose mark is there was pushed before and is passed over; its mark is renewed,
-- which is a write: whoever waits for replicas after it waits for the push before, too. A job that is refused gets no mark.
-- KEYS  1 set of queue names, then the queues, then the marks of all jobs
-- ARGV  1 seconds marks live, 2 how many queues, then for each queue: its name, how many jobs, the jobs
local queues = tonumber(ARGV[2])
for key = 2, queues + 1 do
  local kind = redis.call('TYPE', KEYS[key]).ok
  if kind ~= 'list' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE ' .. KEYS[key] .. ' is no list')
  end
end
local at, mark = 3, queues + 1
for key = 2, queues + 1 do
  redis.call('SADD', KEYS[1], ARGV[at])
  local last = at + 1 + tonumber(ARGV[at + 1])
  for job = at + 2, last do
    mark = mark + 1
    if redis.call('EXPIRE', KEYS[mark], ARGV[1]) == 0 then
      redis.call('LPUSH', KEYS[key], ARGV[job])
      redis.call('SET', KEYS[mark], 1, 'EX', ARGV[1])
    end
  end
  at = last + 1
end
