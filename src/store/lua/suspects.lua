#!lua flags=allow-oom
-- Looks up which payloads are suspects, and drops the suspects whose time is over.
-- KEYS  1 suspects, 2.. for each payload the set of processes that died with it
-- ARGV  1 suspects to count at most, 2.. SHA-1 of payloads
-- Returns { how many suspects there are, counted up to ARGV[1], SHA-1 of a suspect, how many processes died with it, ... }
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', redis.call('TIME')[1])
local out = { #redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1) }
for at = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[at]) then
    out[#out + 1] = ARGV[at]
    out[#out + 1] = redis.call('SCARD', KEYS[at])
  end
end
return out
