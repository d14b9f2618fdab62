-- Tell the counters how a hold stands in the record by now.
--
-- Equals the pure model `told` in api/domain/pending.py: absolute figures as of a version, so told
-- twice, late or out of order it comes to the same. Windows that have turned keep nothing of it. What
-- cannot be told exactly is forgotten, and read from the record. See admit.lua for the hold's field.
--
-- KEYS  1 epoch marker   2 counters
-- ARGV  1 epoch   2 hold   3 version   4 units that count   5 covered ones of them
--       6 units held   7 covered ones of them
-- Reply, MessagePack: {1} told, or nothing is known of the customer   {0} the counters were
--   forgotten: they did not know the hold, or a window that may have become another
--   {7, marker or ''} another epoch
-- Cost: O(slots of the hold).
local marker = redis.call('GET', KEYS[1])
if marker ~= ARGV[1] then
  return cmsgpack.pack({7, marker or ''})
end
local field = 'h' .. ARGV[2]
local stored = redis.call('HMGET', KEYS[2], '_', '?', field)
if stored[2] then
  -- What a hydrator reads now may be older than this; it has to read again.
  redis.call('HDEL', KEYS[2], '?')
end
if stored[1] ~= ARGV[1] then
  return cmsgpack.pack({1})
end
if not stored[3] then
  redis.call('DEL', KEYS[2])
  return cmsgpack.pack({0})
end
local old = {cmsgpack.unpack(stored[3])}
local version = tonumber(ARGV[3])
if version <= old[1] then
  return cmsgpack.pack({1})
end
local new = {version, tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])}
for i = 6, #old, 3 do
  local value = redis.call('HGET', KEYS[2], old[i])
  if value then
    local stop, count, held = cmsgpack.unpack(value)
    if stop == old[i + 1] then
      local covered = old[i + 2]
      count = math.max(0, count + new[2 + covered] - old[2 + covered])
      held = math.max(0, (held or 0) + new[4 + covered] - old[4 + covered])
      redis.call('HSET', KEYS[2], old[i],
        held > 0 and cmsgpack.pack(stop, count, held) or cmsgpack.pack(stop, count))
    elseif not string.find(old[i], ':[01]o?$') then
      -- Turned, or only longer by a change of zone; minutes and hours never change.
      redis.call('DEL', KEYS[2])
      return cmsgpack.pack({0})
    end
  end
end
if new[4] == 0 then
  redis.call('HDEL', KEYS[2], field)
else
  for i = 1, 5 do
    old[i] = new[i]
  end
  redis.call('HSET', KEYS[2], field, cmsgpack.pack(unpack(old)))
end
return cmsgpack.pack({1})
