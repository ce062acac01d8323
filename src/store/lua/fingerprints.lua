#!lua flags=no-writes
-- Reads which jobs are next in a list, the newest first.
-- KEYS  1 list
-- ARGV  1 jobs at most, 2 bytes at most, but one job in any case
-- Returns the SHA-1 of each job
local out, bytes = {}, 0
for at = 1, tonumber(ARGV[1]) do
  local job = redis.call('LINDEX', KEYS[1], at - 1)
  if not job then break end
  bytes = bytes + #job
  if at > 1 and bytes > tonumber(ARGV[2]) then break end
  out[at] = redis.sha1hex(job)
end
return out
