-- Moves jobs from a queue back into the sorted set they came from, as they were there.
-- KEYS  1 sorted set, 2 queue
-- ARGV  four for each job: jobs that were behind it when it was seen, or nothing if it was not; bytes in the queue, score, bytes in the sorted set
-- Returns for each job 1 if it is back, 2 if it is in the sorted set already, 0 if it is in neither (any more)
local out = {}
for at = 1, #ARGV, 4 do
  local place, pushed, score, bytes = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local index = place and locate(KEYS[2], place, pushed)
  if index then
    -- In before out: what is refused has changed nothing.
    redis.call('ZADD', KEYS[1], score, bytes)
    remove(KEYS[2], index, pushed)
  end
  out[#out + 1] = index and 1 or redis.call('ZSCORE', KEYS[1], bytes) and 2 or 0
end
return finish(KEYS[2]) or out
