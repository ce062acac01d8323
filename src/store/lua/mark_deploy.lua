-- Marks a minute with a label, unless the label was marked within a minute.
-- KEYS  1 lock of the label, 2 marks of the day
-- ARGV  1 minute, 2 label, 3 seconds the lock lives, 4 seconds marks are kept
-- Returns 1 if it marked the minute, 0 if the label or the minute was marked before
if redis.call('TYPE', KEYS[1]).ok ~= 'none' then
  return 0
end
local marked = redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[4])
-- The lock comes last: after a refused mark the same label may be tried at once.
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
return marked
