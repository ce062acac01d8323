-- Puts other bytes in the place of a job in a queue.
-- KEYS  1 queue
-- ARGV  1 jobs that were behind it when it was seen, 2 bytes of the job, 3 bytes to put there
-- Returns 1; 0 if the job was not there (any more)
local index = locate(KEYS[1], tonumber(ARGV[1]), ARGV[2])
if not index then return 0 end
redis.call('LSET', KEYS[1], index, ARGV[3])
return 1
