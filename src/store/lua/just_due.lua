-- Reads members of a sorted set that became due a short time ago by the clock of Redis, from a place on. Passes over those of another size than
-- asked for. A place is a score, and how many members of that score lie before it; the place '', 0 is before all members.
-- KEYS  1 sorted set
-- ARGV  1 seconds; members that are overdue by so many are left out, 2 and 3 place to begin at, 4 score to end at, or '' for now
--       5 members to read at most, 6 bytes to read; the member that exceeds them is left out unless it is the first
--       7 and 8 size of the smallest and of the largest member to return
-- Returns { epoch seconds, members, place behind the last one read: score, members of that score, how many of the members have that score,
--           larger members passed over, 1 if there are more or 0, score of the first member that is not left out,
--           score of the first of the members }
local set, now = KEYS[1], redis.call('TIME')
local secs = string.format('%d.%06d', now[1], now[2])
local overdue = string.format('%d.%06d', now[1] - ARGV[1], now[2])
local score, skip, stop = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local most, room, smallest, largest = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local rank = redis.call('ZCOUNT', set, '-inf', overdue)
local due = redis.call('ZCOUNT', set, '-inf', stop == '' and secs or stop)
local first = rank < due and redis.call('ZRANGE', set, rank, rank, 'WITHSCORES')[2]
if score ~= '' and tonumber(score) > tonumber(overdue) then
  local before = redis.call('ZCOUNT', set, '-inf', '(' .. score)
  -- Some of that score may have left.
  skip = math.min(skip, redis.call('ZCOUNT', set, '-inf', score) - before)
  rank = before + skip
else
  score, skip = '', 0
end
local members, count, tied, larger, of_first = {}, 0, 0, 0, false
local last = math.min(due, rank + most)
-- How large members are shows when they are read: a window is small, so that few are read in vain.
local window, is_full = 1, false
while not is_full and rank < last do
  local read = redis.call('ZRANGE', set, rank, rank + math.min(window, last - rank) - 1, 'WITHSCORES')
  for at = 1, #read, 2 do
    local member = read[at]
    local size = #member
    local fits = size >= smallest and size <= largest
    room = room - size
    if fits and room < 0 and count > 0 then
      is_full = true
      break
    end
    if read[at + 1] ~= score then score, skip, tied = read[at + 1], 0, 0 end
    rank, skip = rank + 1, skip + 1
    if fits then
      count, tied = count + 1, tied + 1
      members[count] = member
      of_first = of_first or score
    elseif size > largest then
      larger = larger + 1
    end
  end
  is_full = is_full or room <= 0
  window = math.min(window * 4, 16)
end
return { secs, members, score, skip, tied, larger, rank < due and 1 or 0, first or false, of_first }
