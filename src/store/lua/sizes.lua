#!lua flags=no-writes
-- How large the next jobs of some queues are, about.
-- KEYS  queues
-- ARGV  1 how many of the next jobs are of interest
-- Returns the bytes of a job of the queue with the largest ones; nil if there are no jobs
local largest = nil
for at = 1, #KEYS do
  local size = redis.pcall('LLEN', KEYS[at])
  if type(size) == 'number' and size > 0 then
    -- By the newest first, which need not be read.
    local memory = redis.pcall('MEMORY', 'USAGE', KEYS[at], 'SAMPLES', 5)
    local each = type(memory) == 'number' and memory / size or 0
    if each < 4096 then
      each = math.max(each, #(redis.call('LINDEX', KEYS[at], -math.min(size, tonumber(ARGV[1]))) or ''))
    end
    largest = math.max(largest or 0, math.floor(each))
  end
end
return largest or false
