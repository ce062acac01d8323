#!lua flags=allow-oom
-- Finds those of some fenced processes that have private lists.
-- KEYS  1 fenced processes, 2.. index of the private lists of each process
-- ARGV  identity of each process
-- Returns the identities of those that have some
local found = {}
-- Hardly ever has one of them private lists.
if redis.call('EXISTS', unpack(KEYS, 2)) == 0 then return found end
for at, identity in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[at + 1]) == 1 then
    found[#found + 1] = identity
    -- Among the last fenced again: checked each time until nothing is left of it.
    redis.call('ZADD', KEYS[1], 'XX', redis.call('TIME')[1], identity)
  end
end
return found
