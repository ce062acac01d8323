#!lua flags=allow-oom
-- Removes what dead processes left in the lists of sidekiq-limit_fetch, by the gem's own rule: a process without a heartbeat is dead, and an entry
-- counts only while its process is in the gem's set.
-- KEYS  1 processes of the gem, 2.. the heartbeat of each process in ARGV, then for each queue the two lists in which the gem counts its jobs:
--       those that processes fetch or run, those that run
-- ARGV  members of the set
-- Returns how many entries it removed from the first lists
for at, process in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[at + 1]) == 0 then redis.call('SREM', KEYS[1], process) end
end
local freed = 0
for at = #ARGV + 2, #KEYS, 2 do
  -- A key of another type has no entries.
  for _, process in ipairs(redis.pcall('LRANGE', KEYS[at], 0, -1)) do
    if redis.call('SISMEMBER', KEYS[1], process) == 0 then
      freed = freed + redis.call('LREM', KEYS[at], 0, process)
      redis.pcall('LREM', KEYS[at + 1], 0, process)
    end
  end
end
return freed
