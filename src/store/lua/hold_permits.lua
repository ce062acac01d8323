#!lua flags=allow-oom
-- Makes the entries of this process in the two lists in which sidekiq-limit_fetch counts the jobs of a queue as many as the jobs that the
-- process holds, and gives the gem a sign of life. The second call changes nothing.
-- KEYS  1 the gem's list of jobs that processes fetch or run, 2 its list of jobs that run, 3 processes of the gem, 4 heartbeat of this process
--       for the gem, 5.. private lists whose jobs may be on their way to this process
-- ARGV  1 identity, 2 how many jobs the process holds besides those, 3 seconds that the heartbeat lasts
-- Returns 1 if there was an entry too many
redis.call('SET', KEYS[4], '1', 'EX', ARGV[3])
redis.pcall('SADD', KEYS[3], ARGV[1])
local jobs, freed = tonumber(ARGV[2]), 0
for at = 5, #KEYS do
  jobs = jobs + redis.call('LLEN', KEYS[at])
end
for at = 1, 2 do
  -- A key of another type has no entries: it stops one queue alone, and its claims report it.
  local processes, own = redis.pcall('LRANGE', KEYS[at], 0, -1), 0
  for _, process in ipairs(processes) do
    if process == ARGV[1] then own = own + 1 end
  end
  if own > jobs then
    redis.call('LREM', KEYS[at], own - jobs, ARGV[1])
    freed = 1
  end
  for _ = own + 1, processes.err and 0 or jobs do
    redis.call('RPUSH', KEYS[at], ARGV[1])
  end
end
return freed
