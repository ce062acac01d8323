#!lua flags=allow-oom
-- Whether the jobs of a process may be put back. The first look only marks it; a later one, once the mark is old
-- enough by the clock of Redis, takes it off the registry so that it can claim nothing more.
-- KEYS  1 alive key, 2 suspect key, 3 registry, 4 fenced processes, 5 settlements of the process
-- ARGV  1 identity, 2 milliseconds a mark must be old, 3 '1' if it may be fenced, not only marked
-- Returns 1 if fenced, 0 if alive or not yet sure
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('DEL', KEYS[2])
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local since = redis.call('GET', KEYS[2])
if not since then
  redis.call('SET', KEYS[2], string.format('%d', now), 'EX', 600)
  return 0
end
if now - since < tonumber(ARGV[2]) or ARGV[3] ~= '1' then
  return 0
end
redis.call('SREM', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[5])
redis.call('ZADD', KEYS[4], time[1], ARGV[1])
return 1
