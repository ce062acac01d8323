-- Follows the function `fenced`, which holds the script of a user: calls it if a lease is the current one.
-- KEYS  1 lease, then the keys of the script
-- ARGV  1 token of the lease, then the arguments of the script
-- Returns { what the script returned }, or nothing if the lease is not the current one
local lease, token = table.remove(KEYS, 1), table.remove(ARGV, 1)
if redis.call('HGET', lease, 'token') ~= token then
  return false
end
return { fenced(KEYS, ARGV) }
