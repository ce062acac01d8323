-- Pushes jobs to several queues, or to none of them.
-- KEYS  1 set of queue names, 2.. queues
-- ARGV  for each queue: its name, how many jobs, the jobs
for key = 2, #KEYS do
  local kind = redis.call('TYPE', KEYS[key]).ok
  if kind ~= 'list' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE ' .. KEYS[key] .. ' is no list')
  end
end
local at = 1
for key = 2, #KEYS do
  redis.call('SADD', KEYS[1], ARGV[at])
  local last = at + 1 + tonumber(ARGV[at + 1])
  for job = at + 2, last do
    redis.call('LPUSH', KEYS[key], ARGV[job])
  end
  at = last + 1
end
