#!lua flags=allow-oom
-- Takes or renews the lease of a leader. A full memory does not keep a leader from renewing it.
-- All times are by the clock of Redis. A new lease gets a token greater than those of all leases before: the microseconds of that clock, or,
-- where the clock went back, one more than the greatest token known. Candidates get turns to try again, so that however many there are, one
-- of them tries soon after the lease is free.
-- KEYS  1 lease
-- ARGV  1 identity, 2 milliseconds a lease lasts, 3 greatest token that this process knows, 4 milliseconds between the turns of two
--       candidates, 5 seconds the last token is kept
-- Returns { 1, token, 0 } to the leader, { 0, token of the leader, milliseconds until the next try } to a candidate
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = redis.call('HMGET', KEYS[1], 'holder', 'token', 'until', 'lasts', 'turn')
local function number(field) return tonumber(lease[field]) or 0 end
local holder, token = lease[1], number(2)
if holder and holder ~= ARGV[1] then
  -- A lease ends no later than its length from now; if it seems to, the clock went back.
  local till = math.min(number(3), now + number(4))
  if till > now then
    local turn = math.min(math.max(number(5), now), now + 9 * ARGV[4]) + ARGV[4]
    redis.call('HSET', KEYS[1], 'until', string.format('%d', till), 'turn', string.format('%d', turn))
    return { 0, token, turn - now }
  end
end
local known = tonumber(ARGV[3])
if holder ~= ARGV[1] or token < known then
  token = math.max(time[1] * 1000000 + time[2], token + 1, known + 1)
end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'token', string.format('%d', token), 'until', string.format('%d', now + ARGV[2]),
  'lasts', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return { 1, token, 0 }
