-- Take back what an attempt counted, as the record refused it.
--
-- Equals the pure model `undone` in api/domain/pending.py: the windows are those it was counted in,
-- and one that has turned keeps nothing of it. Counters that were filled since may have it or not,
-- so they are forgotten. The journal gets an entry of its own, behind the attempt's, so that the
-- record takes it back as well, once.
--
-- KEYS  1 epoch marker   2 counters   3 journal   4 answer of the operation
-- ARGV  1 epoch   2 attempt   3 counted at ms   4 customer id
--       5 MessagePack: charged units per item
--       6 MessagePack: flat list of feature id, units; for each item; empty where no limit counted
--         anything: then only the answer is forgotten
--       7 MessagePack: flat list of slot, end of its window (0: never), units, held ones
--       8 filling that counted it, which begins with its epoch   9 1: the caller named the operation
--       10 1: the record has voided it, so its answer is forgotten, of whatever epoch it is
-- Reply, MessagePack: {1} or {7, marker or ''}; {0} where nothing was done: another caller took it
--   back, its answer is gone, or its epoch is over; where it still counts, its deadline voids it
-- Cost: O(slots). Bounds: the slots of one call.
local marker = redis.call('GET', KEYS[1])
if marker ~= ARGV[1] then
  return cmsgpack.pack({7, marker or ''})
end
local other = string.match(ARGV[8], '^(%d+):') ~= ARGV[1]
if other and ARGV[10] ~= '1' then
  return cmsgpack.pack({0})
end
if ARGV[9] == '1' then
  local known = redis.call('GET', KEYS[4])
  local first = {}
  if known then
    local _, _, reply = cmsgpack.unpack(known)
    first = cmsgpack.unpack(reply)
  end
  if first[1] ~= 12 or first[6] ~= ARGV[2] then
    return cmsgpack.pack({0})
  end
  redis.call('DEL', KEYS[4])
end
local items = cmsgpack.unpack(ARGV[6])
if #items == 0 then
  return cmsgpack.pack({1})
end
if other then
  return cmsgpack.pack({0})
end
local stored = redis.call('HMGET', KEYS[2], '_', '?', 'g')
if stored[2] then
  -- What a hydrator reads now may have it or not; it has to read again.
  redis.call('HDEL', KEYS[2], '?')
end
if stored[1] == ARGV[1] then
  local known = ARGV[1] .. ':' .. (stored[3] or '') == ARGV[8]
  local slots = cmsgpack.unpack(ARGV[7])
  for i = 1, #slots, 4 do
    local value = known and redis.call('HGET', KEYS[2], slots[i])
    if value then
      local stop, count, held = cmsgpack.unpack(value)
      if stop == slots[i + 1] then
        held = (held or 0) - slots[i + 3]
        count = math.max(0, count - slots[i + 2])
        redis.call('HSET', KEYS[2], slots[i],
          held > 0 and cmsgpack.pack(stop, count, held) or cmsgpack.pack(stop, count))
      elseif not string.find(slots[i], ':[01]o?$') then
        -- Turned, or only longer by a change of zone; minutes and hours never change.
        known = false
      end
    end
  end
  if known then
    redis.call('HDEL', KEYS[2], 'h' .. ARGV[2])
  else
    redis.call('DEL', KEYS[2])
  end
end
local entry = {tonumber(ARGV[1]), 'u', ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), '', 0,
  cmsgpack.unpack(ARGV[5])}
for i = 1, #items do
  entry[8 + i] = items[i]
end
redis.call('XADD', KEYS[3], '*', 'd', cmsgpack.pack(entry))
return cmsgpack.pack({1})
