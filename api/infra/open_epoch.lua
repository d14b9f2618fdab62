-- Raise a shard's epoch marker; it never goes back.
--
-- KEYS  1 epoch marker
-- ARGV  1 epoch that the record holds
-- Reply, MessagePack: {marker that stands}
-- Cost: O(1).
local marker = tonumber(redis.call('GET', KEYS[1]) or '-1')
local epoch = tonumber(ARGV[1])
if marker < epoch then
  redis.call('SET', KEYS[1], ARGV[1])
  marker = epoch
end
return cmsgpack.pack({marker})
