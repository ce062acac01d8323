-- In front of each script in the unit tests: fails where a command names a key that the script does not declare.
local redis = (function(redis, KEYS)
  local declared = {}
  for _, key in ipairs(KEYS) do declared[key] = true end
  -- Which arguments of a command are keys: places from the first to the last, counted from 1. Of all others it is the first.
  local places = { TIME = { 1, 0 }, DEL = { 1 }, UNLINK = { 1 }, EXISTS = { 1 }, RENAME = { 1, 2 }, LMOVE = { 1, 2 }, MEMORY = { 2, 2 } }
  local function check(command, ...)
    local arguments = { ... }
    local place = places[command] or { 1, 1 }
    local keys = { unpack(arguments, place[1], place[2] or #arguments) }
    for at = 1, command == 'SORT' and #arguments or 0 do
      if arguments[at] == 'STORE' then keys[#keys + 1] = arguments[at + 1] end
    end
    for _, key in ipairs(keys) do
      if not declared[key] then error('the script does not declare the key ' .. key .. ' of ' .. command) end
    end
  end
  local function checked(run)
    return function(...)
      check(...)
      return run(...)
    end
  end
  return setmetatable({ call = checked(redis.call), pcall = checked(redis.pcall) }, { __index = redis })
end)(redis, KEYS)

