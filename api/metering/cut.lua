-- Cut from a shard's journal what the record has.
--
-- Only where the epoch is still the one under which the journal was read: another server's entries
-- may bear earlier ids and be recorded nowhere.
--
-- KEYS  1 epoch marker   2 journal
-- ARGV  1 epoch of the shard   2 epoch in which the journal was read   3 first entry to keep
-- Reply, MessagePack: {entries cut} or {7, marker or ''}
-- Cost: O(entries cut).
local marker = redis.call('GET', KEYS[1])
if marker ~= ARGV[1] or marker ~= ARGV[2] then
  return cmsgpack.pack({7, marker or ''})
end
return cmsgpack.pack({redis.call('XTRIM', KEYS[2], 'MINID', ARGV[3])})
