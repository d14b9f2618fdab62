-- Read the second key, so that a call of two keys can be told from one of one.
--
-- KEYS  1 epoch marker   2 any key of the shard
-- ARGV  1 epoch
-- Reply: the value
return redis.call('GET', KEYS[2])
