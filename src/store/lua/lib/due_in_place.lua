-- The beginning of `promote` for one large member: Redis makes the new bytes from those in the sorted set, so neither crosses the line.
-- KEYS  as for `promote`
-- ARGV  as for `promote`, but the score, the SHA-1 and the size of the member in the place of its bytes, then what to do and where; then three
--       for each piece of the new bytes: first and last byte to copy, counted from 1, and the bytes behind them
-- Returns as `promote`; { -1, 0 } if too many members share the score: `promote` has to be called with the bytes
local ARGV = ARGV
do
  local score, sha1, size = ARGV[3], ARGV[4], tonumber(ARGV[5])
  local member
  local ties = 16
  for tie = 0, ties do
    if tie == ties then return { -1, 0 } end
    local read = redis.call('ZRANGE', KEYS[1], score, score, 'BYSCORE', 'LIMIT', tie, 1)[1]
    -- Another poller moved it.
    if not read then return { 0, 0 } end
    if #read == size and redis.sha1hex(read) == sha1 then
      member = read
      break
    end
  end
  ARGV = { ARGV[1], ARGV[2], member, ARGV[6], ARGV[7], put_together(member, 8) }
end

