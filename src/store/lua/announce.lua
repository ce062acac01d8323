#!lua flags=allow-oom
-- Adds a queue that holds jobs to the set of queue names.
-- KEYS  1 queue, 2 set of queue names
-- ARGV  1 name of the queue
-- Returns 1 if it was not in the set before
if redis.call('TYPE', KEYS[1]).ok ~= 'list' then
  return 0
end
return redis.call('SADD', KEYS[2], ARGV[1])
