-- Reads members of a sorted set that are due by the clock of Redis, and passes over those of another size than asked for.
-- KEYS  1 sorted set
-- ARGV  1 rank to begin at, 2 members at most, 3 bytes to read; the member that exceeds them is left out unless it is the first
--       4 and 5 size of the smallest and of the largest member to return, 6 size of the largest payload,
--       7 seconds that the members are overdue at least
-- Returns { epoch seconds, members, members passed over, of these those that are larger than a payload, 1 if there are more or 0,
--           score of the first member at or behind the rank to begin at, score of the first of the members }
local now = redis.call('TIME')
local secs = string.format('%d.%06d', now[1], now[2])
local from, most, room = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local smallest, largest, limit = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local due = redis.call('ZCOUNT', KEYS[1], '-inf', string.format('%d.%06d', now[1] - ARGV[7], now[2]))
local first = from < due and redis.call('ZRANGE', KEYS[1], from, from, 'WITHSCORES')[2]
local members, count, passed, oversized = {}, 0, 0, 0
-- How large members are shows when they are read: a window is small, so that few are read in vain.
local window, rank, is_full = 1, from, false
while not is_full and rank < due and count < most and passed < 10 * most do
  local last = rank + math.min(window, most - count, due - rank) - 1
  local read = redis.call('ZRANGE', KEYS[1], rank, last)
  for at = 1, #read do
    local member = read[at]
    local size = #member
    room = room - size
    if size >= smallest and size <= largest then
      if room < 0 and count > 0 then
        is_full = true
        break
      end
      count = count + 1
      members[count] = member
    else
      passed = passed + 1
      if size > limit then oversized = oversized + 1 end
    end
    rank = rank + 1
  end
  is_full = is_full or room <= 0
  window = math.min(window * 4, 16)
end
return { secs, members, passed, oversized, rank < due and 1 or 0, first or false,
  count > 0 and redis.call('ZSCORE', KEYS[1], members[1]) }
