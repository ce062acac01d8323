-- Deletes a job from a queue.
-- KEYS  1 queue
-- ARGV  1 jobs that were behind it when it was seen, 2 bytes of the job
-- Returns 1; 0 if the job was not there (any more)
local index = locate(KEYS[1], tonumber(ARGV[1]), ARGV[2])
if not index then return 0 end
remove(KEYS[1], index, ARGV[2])
return finish(KEYS[1]) or 1
