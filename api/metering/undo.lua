-- Take back what an attempt counted, as the record refused it.
--
-- The windows are those it was counted in: one that has turned keeps nothing of it. The journal
-- gets an entry of its own, so that the record takes it back as well; where the counters are
-- unknown by now, that alone puts them right.
--
-- KEYS  1 epoch marker   2 counters   3 journal   4 answer of the operation
-- ARGV  1 epoch   2 attempt   3 counted at ms   4 customer id
--       5 MessagePack: charged units per item
--       6 MessagePack: flat list of feature id, units; for each item
--       7 MessagePack: flat list of slot, end of its window (0: never), units, held ones
-- Reply, MessagePack: {1} or {7, marker or ''}
-- Cost: O(slots). Bounds: the slots of one call.
local marker = redis.call('GET', KEYS[1])
if marker ~= ARGV[1] then
  return cmsgpack.pack({7, marker or ''})
end
local known = redis.call('GET', KEYS[4])
if known then
  local _, _, reply = cmsgpack.unpack(known)
  local first = cmsgpack.unpack(reply)
  if first[1] == 12 and first[6] == ARGV[2] then
    redis.call('DEL', KEYS[4])
  end
end
local stored = redis.call('HMGET', KEYS[2], '_', '?')
if stored[2] then
  -- What a hydrator reads now may have it or not; it has to read again.
  redis.call('HDEL', KEYS[2], '?')
end
if stored[1] == ARGV[1] then
  local slots = cmsgpack.unpack(ARGV[7])
  for i = 1, #slots, 4 do
    local value = redis.call('HGET', KEYS[2], slots[i])
    if value then
      local stop, count, held = cmsgpack.unpack(value)
      if stop == slots[i + 1] then
        held = (held or 0) - slots[i + 3]
        count = math.max(0, count - slots[i + 2])
        redis.call('HSET', KEYS[2], slots[i],
          held > 0 and cmsgpack.pack(stop, count, held) or cmsgpack.pack(stop, count))
      end
    end
  end
  redis.call('HDEL', KEYS[2], 'h' .. ARGV[2])
end
local entry = {tonumber(ARGV[1]), 'u', ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), '', 0,
  cmsgpack.unpack(ARGV[5])}
local items = cmsgpack.unpack(ARGV[6])
for i = 1, #items do
  entry[8 + i] = items[i]
end
redis.call('XADD', KEYS[3], '*', 'd', cmsgpack.pack(entry))
return cmsgpack.pack({1})
