//! Which keys of ours stay in Redis for ever. Included by the integration tests and by chaos: both look at the end of each of their scenarios.

/// A script that returns each key of ours that has no TTL and no reason for that. Run it as a user who may do everything. The reasons:
///
/// - `ferrokiq:processes`, `ferrokiq:alive`: a registered process. Only a fence or its own end may take it off.
/// - `ferrokiq:settlements:ID`: as long as the process is registered.
/// - `ferrokiq:batches:ID`, `ferrokiq:batch:ID|...`: jobs, which must not expire. Their process is registered or remembered as fenced: then
///   the next look for dead processes finds them.
pub(crate) const SWEEP: &str = r"
local function holds(command, key, member)
  local answer = redis.pcall(command, key, member)
  return answer and answer ~= 0 and not (type(answer) == 'table' and answer.err)
end
local left = {}
for _, key in ipairs(redis.call('KEYS', 'ferrokiq:*')) do
  if redis.call('TTL', key) == -1 then
    local kind, identity = string.match(key, '^ferrokiq:(%a+):([^|]+)')
    local registered = identity and holds('SISMEMBER', 'ferrokiq:processes', identity)
    local remembered = registered or identity and holds('ZSCORE', 'ferrokiq:fenced', identity)
    local stays = key == 'ferrokiq:processes' or key == 'ferrokiq:alive'
      or kind == 'settlements' and registered
      or (kind == 'batches' or kind == 'batch') and remembered
    if not stays then left[#left + 1] = key end
  end
end
return left
";
