-- What `settle` does where jobs have riders: the riders of a job are applied if it leaves, and only then.
-- KEYS  as for `settle`, then the keys of the riders
-- ARGV  as for `settle`, then for each job how many riders it has, and for each rider the number of its fragment, how many keys, what each
--       key holds or nothing for anything, how many arguments, the arguments; the last one is how many jobs there are
-- `fragments` has a function for each number. Instead of a number `settle` returns a text for a job whose riders were refused. It stays.
local jobs = tonumber(ARGV[#ARGV])
local riders, applied, fits = {}, {}, {}
do
  local at, key = 7 + ARGV[6] + jobs * 4, 3 + jobs
  local function next_argument()
    at = at + 1
    return ARGV[at - 1]
  end
  for job = 1, jobs do
    riders[job] = {}
    for rider = 1, tonumber(next_argument()) do
      local apply, keys, kinds, args = fragments[tonumber(next_argument())], {}, {}, {}
      for own = 1, tonumber(next_argument()) do
        key = key + 1
        keys[own], kinds[own] = KEYS[key], next_argument()
      end
      for own = 1, tonumber(next_argument()) do args[own] = next_argument() end
      riders[job][rider] = { apply = apply, keys = keys, kinds = kinds, args = args }
    end
  end
end
-- A user who may not take jobs out of a list must not apply any rider.
local right = redis.pcall('LREM', KEYS[4], -1, '')

local function is_wrong_type(answer)
  return type(answer) == 'table' and string.find(answer.err, 'WRONGTYPE', 1, true)
end

-- Returns what a refusal says; nil if there is none.
local function refusal(answer)
  return type(answer) == 'table' and answer.err or nil
end

-- Returns why the keys of a rider cannot be used; nil if they can. Redis rolls nothing back, so this comes before the first rider.
local function unfit(rider)
  for own, key in ipairs(rider.keys) do
    local kind = rider.kinds[own]
    if kind ~= '' and fits[key] ~= kind then
      local is = redis.pcall('TYPE', key)
      if is.err then return is.err end
      if is.ok == kind then
        fits[key] = kind
      elseif is.ok ~= 'none' then
        return 'WRONGTYPE ' .. key .. ' is no ' .. kind
      end
    end
  end
end

-- Applies the riders of a job. Returns why one was refused; nil if all are applied.
local function ride(job)
  for at = applied[job] + 1, #riders[job] do
    local why = unfit(riders[job][at])
    if why then return why end
  end
  for at = applied[job] + 1, #riders[job] do
    local rider = riders[job][at]
    local done, answer = pcall(rider.apply, rider.keys, rider.args)
    local why = refusal(answer) or (not done and tostring(answer))
    if why then return why end
    applied[job] = at
  end
end

-- Returns how many riders of a job, the first ones, a call before this one applied.
local function applied_before(known)
  return tonumber(string.match(known or '', '^r(%d+)$') or 0)
end

-- Takes a job out of its private list, after its riders were applied. Returns how many were taken, the refusal of Redis, or a text if a rider
-- was refused. `is_ours`: the job is this process's even if Redis lost the list. `known` is what is recorded of the job.
local function take(job, list, raw, is_ours, known)
  local is_there = true
  if list ~= KEYS[2] then
    local place = redis.pcall('LPOS', list, raw, 'RANK', -1)
    if refusal(place) and not is_wrong_type(place) then return place end
    is_there = type(place) == 'number'
  end
  if is_there and refusal(right) and not is_wrong_type(right) then return right end
  if not is_there and not is_ours then return 0 end
  applied[job] = applied_before(known)
  local why = ride(job)
  if why then return why end
  if list == KEYS[2] then return 1 end
  return is_there and redis.pcall('LREM', list, -1, raw) or 0
end

-- Returns what is recorded for a job that stays: how many of its riders are applied, the first ones, so that none is applied twice.
local function staying(job, known)
  local count = applied[job] or applied_before(known)
  return count > 0 and 'r' .. count or '0'
end

