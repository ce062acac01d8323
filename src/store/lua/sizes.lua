#!lua flags=no-writes
-- How large the next jobs of some queues are.
-- KEYS  queues
-- ARGV  1 how many of the next jobs are of interest
-- Returns the size of the largest of those that were looked at: three of a queue; nil if there are no jobs
local largest = nil
for at = 1, #KEYS do
  local size = redis.pcall('LLEN', KEYS[at])
  if type(size) == 'number' and size > 0 then
    local count = math.min(size, tonumber(ARGV[1]))
    for look = 1, math.min(count, 3) do
      local job = redis.call('LINDEX', KEYS[at], -math.ceil(count * look / 3))
      if job then largest = math.max(largest or 0, #job) end
    end
  end
end
return largest or false
