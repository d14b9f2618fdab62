-- Make a customer's counters unknown, so that the next call fills them from the record.
--
-- Whoever corrects the record calls this afterwards. The nonce goes too: a hydrator that read the
-- record before the correction can no longer install.
--
-- KEYS  1 epoch marker   2 counters
-- ARGV  1 epoch
-- Reply, MessagePack: {1} or {7, marker or ''}
-- Cost: O(counters of one customer).
local marker = redis.call('GET', KEYS[1])
if marker ~= ARGV[1] then
  return cmsgpack.pack({7, marker or ''})
end
redis.call('DEL', KEYS[2])
return cmsgpack.pack({1})
