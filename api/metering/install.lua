-- Install what the record says into counters that are still unknown under this nonce and epoch.
--
-- A hydrator that was slow finds its nonce gone, or another snapshot, and changes nothing.
--
-- KEYS  1 epoch marker   2 counters   3 snapshot   4.. answers of named operations
-- ARGV  1 epoch   2 nonce   3 version of the snapshot whose limits were read
--       4 MessagePack: flat list of slot, end (0: never), units, held ones ('': more answers follow
--         first)
--       5 MessagePack: list of {expires at ms, fingerprint, reply, ms to live} for KEYS 4..
--       6 MessagePack: list of {hold, what its field holds...} for every open hold
-- Reply, MessagePack: {1} installed, {0} refused, {7, marker or ''}
-- Cost: O(slots + answers). Bounds: the limits of one customer; at most 1,000 answers a call.
local marker = redis.call('GET', KEYS[1])
if marker ~= ARGV[1] then
  return cmsgpack.pack({7, marker or ''})
end
local stored = redis.call('HMGET', KEYS[2], '_', '?')
local facts = redis.call('HGET', KEYS[3], 'm')
local filling = '~' .. ARGV[1]
if (stored[1] ~= ARGV[1] and stored[1] ~= filling) or stored[2] ~= ARGV[2] or not facts then
  return cmsgpack.pack({0})
end
local epoch, version = cmsgpack.unpack(facts)
if epoch ~= tonumber(ARGV[1]) or version ~= tonumber(ARGV[3]) then
  return cmsgpack.pack({0})
end
local answers = cmsgpack.unpack(ARGV[5])
for i = 1, #answers do
  local a = answers[i]
  redis.call('SET', KEYS[3 + i], cmsgpack.pack(a[1], a[2], cmsgpack.pack(a[3])), 'PX', a[4], 'NX')
end
if ARGV[4] == '' then
  return cmsgpack.pack({1})
end
local slots = cmsgpack.unpack(ARGV[4])
for i = 1, #slots, 4 do
  local held = slots[i + 3]
  redis.call('HSETNX', KEYS[2], slots[i], held > 0
    and cmsgpack.pack(slots[i + 1], slots[i + 2], held)
    or cmsgpack.pack(slots[i + 1], slots[i + 2]))
end
-- One that was resolved meanwhile took the nonce away; one that was placed meanwhile stands.
for _, hold in ipairs(cmsgpack.unpack(ARGV[6])) do
  redis.call('HSETNX', KEYS[2], 'h' .. hold[1], cmsgpack.pack(unpack(hold, 2)))
end
redis.call('HSET', KEYS[2], '_', ARGV[1], 'g', string.sub(ARGV[2], 1, 8))
redis.call('HDEL', KEYS[2], '?')
return cmsgpack.pack({1})
