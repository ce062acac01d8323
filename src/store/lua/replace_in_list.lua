#!lua flags=allow-oom
-- Puts other bytes in the place of a job in a queue.
-- KEYS  1 queue
-- ARGV  1 bytes of the job, 2 bytes to put there
-- Returns 1; 0 if the job was not there (any more)
if redis.call('LINSERT', KEYS[1], 'BEFORE', ARGV[1], ARGV[2]) < 1 then
  return 0
end
return redis.call('LREM', KEYS[1], 1, ARGV[1])
