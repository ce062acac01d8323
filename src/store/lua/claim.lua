#!lua flags=allow-oom
-- Moves up to n jobs into private lists of this process, oldest first, from the queues in the given order.
-- KEYS  1 registry of processes, 2 index of this process's private lists, 3.. queues
-- ARGV  1 identity, 2 n, 3 what the names of this claim's private lists begin with, 4.. names of the queues
-- Returns -1 if this process is not registered (any more), else { wrong-typed queue keys,
--         name of a queue, { its jobs }, ... }
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  return -1
end
local n, at, last = tonumber(ARGV[2]), 3, #KEYS
local wrong, out = {}, {}
local function take(first, upto)
  local call = { 'LMPOP', upto - first + 1 }
  for key = first, upto do call[#call + 1] = KEYS[key] end
  call[#call + 1] = 'RIGHT'
  call[#call + 1] = 'COUNT'
  call[#call + 1] = n
  return redis.pcall(unpack(call))
end
while n > 0 and at <= last do
  local got = take(at, last)
  if got and got.err then
    -- One of the keys is no list: find out which, without holding up the others.
    got = take(at, at)
    if got and got.err then
      wrong[#wrong + 1] = KEYS[at]
      got = false
    end
    at = at + 1
  elseif not got then
    break
  else
    while KEYS[at] ~= got[1] do at = at + 1 end
    at = at + 1
  end
  if got then
    local name, jobs = ARGV[at], got[2]
    local private = ARGV[3] .. name
    redis.call('LPUSH', private, unpack(jobs))
    redis.call('SADD', KEYS[2], private)
    out[#out + 1] = name
    out[#out + 1] = jobs
    n = n - #jobs
  end
end
table.insert(out, 1, wrong)
return out
