#!lua flags=allow-oom
-- Finds the processes whose jobs may have to be put back. One process looks for all of them, so it may look at everything that is
-- missing; of those that were fenced it returns a bounded number, each call others.
-- KEYS  1 registry, 2 alive processes, 3 fenced processes, 4 how many fenced processes were checked so far
-- ARGV  1 processes to return of each kind at most, 2 seconds a fenced process is kept,
--       3 how many of the last fenced to check each time, 4 how many of all the fenced to check by turns,
--       5 '1' to look for processes without a sign of life, too: somebody deleted it
-- Returns { registered processes that are missing }, { fenced processes to check for private lists }
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most = tonumber(ARGV[1])
local missing = redis.call('ZRANGE', KEYS[2], '-inf', string.format('%d', now), 'BYSCORE', 'LIMIT', 0, most)
if ARGV[5] == '1' and redis.call('SCARD', KEYS[1]) ~= redis.call('ZCARD', KEYS[2]) then
  for _, identity in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    if #missing >= most then break end
    if not redis.call('ZSCORE', KEYS[2], identity) then missing[#missing + 1] = identity end
  end
end
local fenced = redis.call('ZCARD', KEYS[3])
if fenced == 0 then return { missing, {} } end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', time[1] - ARGV[2])
-- For the time after the last worker, when nobody trims it.
redis.call('EXPIRE', KEYS[3], ARGV[2])
local last, by_turns = tonumber(ARGV[3]), tonumber(ARGV[4])
local found = redis.call('ZRANGE', KEYS[3], 0, last - 1, 'REV')
if fenced > last then
  local from = (redis.call('INCRBY', KEYS[4], by_turns) - by_turns) % fenced
  redis.call('EXPIRE', KEYS[4], ARGV[2])
  for _, identity in ipairs(redis.call('ZRANGE', KEYS[3], from, from + by_turns - 1)) do found[#found + 1] = identity end
end
return { missing, found }
