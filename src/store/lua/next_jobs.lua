-- Reads the job that is next of each of some queues, of as many queues as fit into so many bytes.
-- KEYS  queues
-- ARGV  1 bytes to read, 2 bytes of the largest job to return: in the place of a larger one comes JSON that holds only when it was enqueued,
--       if that is near its end
-- Returns the jobs of the first queues, false for an empty one
local room, largest, jobs = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
for at = 1, #KEYS do
  local job = redis.call('LINDEX', KEYS[at], -1)
  local size = job and #job or 0
  if size > largest then
    local since = string.match(string.sub(job, -1024), '.*"enqueued_at":([%d%.]+)')
    job = since and '{"enqueued_at":' .. since .. '}' or '{}'
  end
  jobs[at] = job
  room = room - size
  if room <= 0 then break end
end
return jobs
