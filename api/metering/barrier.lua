-- Begin to fill a customer's unknown counters from the record.
--
-- Everything admitted before this lies before the barrier in the journal, and while the nonce
-- stands nothing unknown is counted; so the record, once drained past the barrier, is complete.
-- Callers at the same time share one nonce. Counters that know an open hold are filled as a whole.
-- Equals no rule of the domain: it is a protocol step.
--
-- KEYS  1 epoch marker   2 counters   3 journal
-- ARGV  1 epoch   2 nonce to set if none stands
-- Reply, MessagePack: {1, nonce that stands, journal entry id} or {7, marker or ''}
-- Cost: O(counters of one customer). Bounds: one journal entry a call, removed by the drainer like any other.
local marker = redis.call('GET', KEYS[1])
if marker ~= ARGV[1] then
  return cmsgpack.pack({7, marker or ''})
end
local stored = redis.call('HMGET', KEYS[2], '_', '?')
-- Not the epoch itself until all is installed: a named call without any limit would pass before the
-- answers are back.
local filling = '~' .. ARGV[1]
if stored[1] ~= ARGV[1] and stored[1] ~= filling then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[2], '_', filling)
  stored[2] = false
end
local nonce = stored[2]
if not nonce and stored[1] == ARGV[1] then
  for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
    if string.byte(field) == 104 then
      -- What is added must fit how far the counters know the hold, and the record does not say.
      redis.call('DEL', KEYS[2])
      redis.call('HSET', KEYS[2], '_', filling)
      break
    end
  end
end
if not nonce then
  nonce = ARGV[2]
  redis.call('HSET', KEYS[2], '?', nonce)
end
local id = redis.call('XADD', KEYS[3], '*', 'b', nonce)
return cmsgpack.pack({1, nonce, id})
