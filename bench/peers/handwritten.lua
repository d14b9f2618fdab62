-- The check that a team writes by hand: two counters with an expiry each, judged and counted.
-- KEYS 1 day counter, 2 month counter; ARGV 1 units, 2 day limit, 3 month limit
local day = tonumber(redis.call('GET', KEYS[1]) or '0') + ARGV[1]
local month = tonumber(redis.call('GET', KEYS[2]) or '0') + ARGV[1]
if day > tonumber(ARGV[2]) or month > tonumber(ARGV[3]) then
  return {0, day - ARGV[1], month - ARGV[1]}
end
redis.call('SET', KEYS[1], day, 'EX', 86400)
redis.call('SET', KEYS[2], month, 'EX', 2678400)
return {1, day, month}
