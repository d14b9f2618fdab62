-- Store one customer's entitlement snapshot, unless a newer one stands.
--
-- Equals the pure model `takes` in api/catalog/publisher.py: a snapshot replaces one of another
-- epoch, of a smaller version, or of the same version built earlier. With it go the counters that
-- it does not limit: a limit that comes back later is unknown, and filled from the record.
--
-- KEYS  1 epoch marker   2 snapshot   3 counters
-- ARGV  1 epoch of the shard
--       2 version   3 built at, s   4 valid until, s (0: always)   5 refresh at, s (0: never)
--       6 customer id   7 what a denial must know of the customer, MessagePack
--       8.. feature id, feature as in stored_form.py; for each that is granted, and each allocation:
--           what is held of it stays counted
-- Reply, MessagePack: {1} taken   {0} a newer one stands   {7, marker or ''} another epoch
-- Cost: O(features + limits + counters of the customer).
-- Bounds: the features of one catalog.
local marker = redis.call('GET', KEYS[1])
if marker ~= ARGV[1] then
  return cmsgpack.pack({7, marker or ''})
end
local epoch, version, built_at = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local standing = redis.call('HGET', KEYS[2], 'm')
if standing then
  local its_epoch, its_version, _, _, _, its_built_at = cmsgpack.unpack(standing)
  if its_epoch == epoch
    and (its_version > version or (its_version == version and its_built_at >= built_at)) then
    return cmsgpack.pack({0})
  end
end

local about = cmsgpack.pack(
  epoch, version, tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]))
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'm', about .. cmsgpack.pack(built_at), 'x', ARGV[7])
local limited = {}
for i = 8, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], about .. ARGV[i + 1])
  local known, p = {cmsgpack.unpack(ARGV[i + 1])}, 2
  while known[p] do
    limited[known[p]] = true
    p = p + 7
  end
end

if redis.call('HGET', KEYS[3], '_') ~= ARGV[1] then
  redis.call('DEL', KEYS[3])
else
  for _, slot in ipairs(redis.call('HKEYS', KEYS[3])) do
    -- Slots begin with a digit; what belongs to a hold goes with the hold.
    if string.byte(slot) <= 57 and not limited[slot] then
      redis.call('HDEL', KEYS[3], slot)
    end
  end
end
return cmsgpack.pack({1})
