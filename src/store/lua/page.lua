-- Reads a page of a list or a sorted set: as many entries as were asked for, or as fit into so many bytes.
-- KEYS  1 list or sorted set
-- ARGV  1 entries to pass over, 2 entries at most, 3 bytes to read; the entry that exceeds them is left out unless it is the first
--       4 list, low or high: a sorted set from its lowest or from its highest score on
-- Returns { size of the list or set, entries; of a set each is followed by its score }
local kind = ARGV[4]
local rank, room, size = tonumber(ARGV[1]), tonumber(ARGV[3]), redis.call(kind == 'list' and 'LLEN' or 'ZCARD', KEYS[1])
local stop, entries, count, is_full = math.min(size, rank + ARGV[2]), {}, 0, false
-- How large entries are shows when they are read: a window is small, so that few are read in vain.
local window, step = 1, kind == 'list' and 1 or 2
while not is_full and rank < stop do
  local read
  local last = math.min(rank + window, stop) - 1
  if kind == 'list' then
    read = redis.call('LRANGE', KEYS[1], rank, last)
  elseif kind == 'low' then
    read = redis.call('ZRANGE', KEYS[1], rank, last, 'WITHSCORES')
  else
    read = redis.call('ZRANGE', KEYS[1], rank, last, 'REV', 'WITHSCORES')
  end
  for at = 1, #read, step do
    room = room - #read[at]
    if room < 0 and count > 0 then
      is_full = true
      break
    end
    entries[count + 1] = read[at]
    if step == 2 then entries[count + 2] = read[at + 1] end
    count, rank = count + step, rank + 1
  end
  is_full = is_full or room <= 0
  window = math.min(window * 4, 16)
end
return { size, entries }
