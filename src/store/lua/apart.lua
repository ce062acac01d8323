-- Moves jobs of the schedule that share their score with another one to the next free score. A job that left the schedule is passed over.
-- KEYS  1 schedule
-- ARGV  two for each job: score, bytes
for at = 1, #ARGV, 2 do
  local score = ARGV[at]
  if redis.call('ZCOUNT', KEYS[1], score, score) > 1 then
    redis.call('ZADD', KEYS[1], 'XX', free_score(KEYS[1], score), ARGV[at + 1])
  end
end
