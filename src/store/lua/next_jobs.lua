-- Reads the job that is next of each of some queues, of as many queues as fit into so many bytes.
-- KEYS  queues
-- ARGV  1 bytes to read
-- Returns the jobs of the first queues, false for an empty one
local room, jobs = tonumber(ARGV[1]), {}
for at = 1, #KEYS do
  jobs[at] = redis.call('LINDEX', KEYS[at], -1)
  room = room - (jobs[at] and #jobs[at] or 0)
  if room <= 0 then break end
end
return jobs
