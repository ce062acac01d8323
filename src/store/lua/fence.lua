#!lua flags=allow-oom
-- Decides whether the jobs of a process may be put back. The first call only marks it as missing; a later one, once the mark is old
-- enough by the clock of Redis, takes it off the registry so that it can claim nothing more.
-- A process that Redis forgot, and that took a job before it registered again, is on no registry, but has an index of private lists.
-- KEYS  1 alive processes, 2 suspect key, 3 registry, 4 fenced processes, 5 settlements of the process, 6 index of its private lists
-- ARGV  1 identity, 2 milliseconds a mark must be old, 3 milliseconds a mark lasts, 4 seconds a fenced process is remembered
-- Returns 1 if fenced, 0 if alive, gone or not yet sure
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 0 then
  local fenced = redis.call('ZSCORE', KEYS[4], ARGV[1])
  if fenced or redis.call('EXISTS', KEYS[6]) == 0 then
    redis.call('ZREM', KEYS[1], ARGV[1])
    -- The answer to an earlier call may have been lost.
    return fenced and 1 or 0
  end
end
local till = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not till then
  -- Somebody deleted its sign of life: it counts as missing from now on.
  till = string.format('%d', now)
  redis.call('ZADD', KEYS[1], till, ARGV[1])
elseif tonumber(till) > now then
  return 0
end
-- A mark names the sign it was made for. A mark of an earlier absence must not shorten the grace of this one.
local since, of = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) (%d+)$')
if of ~= till or tonumber(since) > now then
  redis.call('SET', KEYS[2], string.format('%d %s', now, till), 'PX', ARGV[3])
  return 0
end
if now - since < tonumber(ARGV[2]) then
  return 0
end
redis.call('ZADD', KEYS[4], time[1], ARGV[1])
-- The newest member is remembered that long, and the key no longer.
redis.call('EXPIRE', KEYS[4], ARGV[4])
redis.call('SREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2], KEYS[5])
return 1
