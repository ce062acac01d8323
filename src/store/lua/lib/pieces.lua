-- Returns bytes that are made of pieces of others. ARGV holds them from `at` on, three for each piece: its first and last byte, counted from 1,
-- and new bytes behind it.
local function put_together(others, at)
  local pieces = {}
  for piece = at, #ARGV, 3 do
    pieces[#pieces + 1] = string.sub(others, ARGV[piece], ARGV[piece + 1])
    pieces[#pieces + 1] = ARGV[piece + 2]
  end
  return table.concat(pieces)
end

