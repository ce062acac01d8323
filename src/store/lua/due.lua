-- Members of a sorted set that are due, by the clock of Redis.
-- KEYS  1 sorted set
-- ARGV  1 members to pass over, 2 members at most
-- Returns { epoch seconds, members, score of the first }
local now = redis.call('TIME')
local secs = string.format('%d.%06d', now[1], now[2])
local members = redis.call('ZRANGE', KEYS[1], '-inf', secs, 'BYSCORE', 'LIMIT', ARGV[1], ARGV[2])
local first = redis.call('ZRANGE', KEYS[1], '-inf', secs, 'BYSCORE', 'LIMIT', ARGV[1], 1, 'WITHSCORES')[2]
return { secs, members, first or false }
