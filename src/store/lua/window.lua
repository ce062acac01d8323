#!lua flags=no-writes
-- Reads jobs of a list from its end on, as many as fit into a window of bytes, but one in any case.
-- KEYS  1 list
-- ARGV  1 jobs to pass over, 2 jobs at most, 3 bytes at most
-- Returns the jobs, the last of the list first
local jobs, bytes = {}, 0
for at = 1, tonumber(ARGV[2]) do
  local job = redis.call('LINDEX', KEYS[1], -ARGV[1] - at)
  if not job then break end
  bytes = bytes + #job
  if at > 1 and bytes > tonumber(ARGV[3]) then break end
  jobs[at] = job
end
return jobs
