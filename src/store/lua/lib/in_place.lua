-- The beginning of `settle` for one large job: Redis makes the bytes to store from those in the private list, so neither crosses the line.
-- KEYS  as for `settle`; exactly one private list
-- ARGV  as for `settle`, but the SHA-1 of the bytes as fetched in the place of these, and how many they are in the place of the bytes to
--       store; then three for each piece of the bytes to store: first and last byte to copy, counted from 1, and the bytes behind them
-- Returns -2 if the list does not hold the job, which may be ours all the same: `settle` has to be called with the bytes
local ARGV = ARGV
do
  local epoch, number = ARGV[5], ARGV[7 + ARGV[6]]
  local at = 8 + ARGV[6]
  local sha1, size = ARGV[at], tonumber(ARGV[at + 1])
  local fetched
  local jobs = redis.pcall('LLEN', KEYS[4])
  for place = 1, type(jobs) == 'number' and jobs or 0 do
    local job = redis.call('LINDEX', KEYS[4], -place)
    if #job == size and redis.sha1hex(job) == sha1 then
      fetched = job
      break
    end
  end
  if not fetched then
    local known = redis.call('HMGET', KEYS[2], 'epoch', number)
    if known[2] == '1' then return { 1 } end
    if known[1] ~= epoch then return { known[1] and 0 or -1 } end
    return { -2 }
  end
  local resolved = { unpack(ARGV, 1, at + 2) }
  resolved[at] = fetched
  resolved[at + 1] = put_together(fetched, at + 3)
  ARGV = resolved
end

