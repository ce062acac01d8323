-- What `settle` does where no job has a rider.
local jobs, no_list, pcall = #KEYS - 3, KEYS[2], redis.pcall
-- Takes a job out of its private list. Returns how many were taken, or the refusal of Redis.
local function take(job, list, raw)
  return list == no_list and 1 or pcall('LREM', list, -1, raw)
end
-- Returns what is recorded for a job that stays.
local function staying()
  return '0'
end

