-- Judge and count one operation of one customer: everything or nothing.
--
-- Equals the pure model `judge` in api/domain/admission.py, on the encoded snapshot of
-- api/domain/snapshot.py; a denied or refused call writes nothing.
--
-- KEYS  1 epoch marker   2 snapshot   3 counters   4 journal   5 answer of this operation
-- ARGV  1 epoch of the shard
--       2 instant, milliseconds since 1970
--       3 largest difference to the server's own clock, ms (0: any)
--       4 most entries the journal may hold
--       5 action: c consume, k check, r release, s state (an absolute count), p consume what may
--         cost credits, a consume what the record decides in any case, h hold
--       6 operation id
--       7 fingerprint of the contents ('' : the caller did not name the operation)
--       8 ms for which the answer is kept here    9 ms for which the record keeps it
--       10 attempt: the name under which p, a and h are counted, undone and resolved
--       11 a digit for each item: 1 where it costs credits ('': none does)
--       12.. feature id, units; for each item
-- Reply, MessagePack:
--   {1, entry id, refresh, counted at ms, charged, figures...}   allowed; refresh 1: the snapshot
--                                        wants building again; charged 0, or of k that asks what
--                                        costs, per item the units that credits would pay for
--   {2, holding, refresh, charged, rows...}   denied; a row is 0 (not granted) or figures; those
--                                        of an allocation also where it is not granted
--   {12, entry id, refresh, counted at ms, charged, attempt, customer id, version, valid until,
--     filling, figures...}               p of which credits must pay a part, a or h: counted, and to
--                                        be decided by the record; entry id '' where no limit
--                                        counts anything, and nothing was written but the answer
--   {3, reply that was given}            the same operation again; of p, a and h the first attempt's
--   {4} same operation id, other contents   {5} snapshot unknown or past   {6} counters unknown
--   {7, marker or ''} another epoch         {8} journal full   {9, server ms} clocks differ
--   {10, item} below zero                   {11, item} beyond 2^53 - 1
--   figures: per limit window code, limit (-1: none, -2: not granted), used, start, end (0: never), code, status,
--   0, 1 shadow or 2 overage, held, in one flat list; of an allowed call as they are after it, else
--   as before. Used and held are apart; a limit is full by both.
-- An overage limit is what the plan includes of a feature that costs credits: of its units those
-- past the least room of all such limits are charged, and such a limit counts only the others.
-- A slot holds end, units (used and held) and, where any are, the held ones; the slot of an overage
-- limit has a name of its own, ending in o, as it counts other units. A hold's field, h and its
-- attempt, holds what resolve.lua needs to end it: version, units, those covered, units held, those
-- covered, then per slot its name, its window's end and 1 where it counts covered units. The field g
-- names the filling: counters filled anew may have an attempt or not, so undo.lua asks which it was.
-- Cost: O(items x limits), two hash reads and at most one hash write, one XADD, one SET.
-- Bounds: at most 100 items; a snapshot's lists are at most 12 boundaries long.
local pack, unpack_ = cmsgpack.pack, cmsgpack.unpack
local floor = math.floor

local marker = redis.call('GET', KEYS[1])
if marker ~= ARGV[1] then
  return pack({7, marker or ''})
end
local now = tonumber(ARGV[2])
local skew = tonumber(ARGV[3])
if skew > 0 then
  local time = redis.call('TIME')
  local server = time[1] * 1000 + floor(time[2] / 1000)
  if server - now > skew or now - server > skew then
    return pack({9, server})
  end
end
local action, fingerprint, attempt, costs = ARGV[5], ARGV[7], ARGV[10], ARGV[11]
if fingerprint ~= '' then
  local known = redis.call('GET', KEYS[5])
  if known then
    local expires, contents, reply = unpack_(known)
    if now < expires then
      if contents ~= fingerprint then
        return pack({4})
      end
      return pack({3, unpack_(reply)})
    end
  end
end

local fields, n = {'m'}, 1
for i = 12, #ARGV, 2 do
  n = n + 1
  fields[n] = ARGV[i]
end
local facts = redis.call('HMGET', KEYS[2], unpack(fields))
if not facts[1] then
  return pack({5})
end
local epoch, version, valid_until, refresh_at, customer_id = unpack_(facts[1])
local now_s = floor(now / 1000)
if epoch ~= tonumber(ARGV[1]) or (valid_until > 0 and now_s >= valid_until) then
  return pack({5})
end
local refresh = (refresh_at > 0 and now_s >= refresh_at) and 1 or 0

-- The slots of the features asked, read at once; those of item i follow slots[first_of[i]].
local limits_of, first_of, slots, m = {}, {}, {'_'}, 1
for i = 2, n do
  if facts[i] then
    local feature = unpack_(facts[i])
    local limits = feature[2]
    limits_of[i], first_of[i] = limits, m
    for j = 1, #limits do
      local limit = limits[j]
      m = m + 1
      slots[m] = fields[i] .. (limit[3] == 2 and ':' .. limit[1] .. 'o' or ':' .. limit[1])
    end
  end
end
local ends, counts, helds, touched, filling = {}, {}, {}, {}, ''
-- A named call needs them also without any limit: with them come the answers of the record.
if m > 1 or fingerprint ~= '' then
  if attempt ~= '' then
    slots[m + 1] = 'g'
  end
  local stored = redis.call('HMGET', KEYS[3], unpack(slots))
  if stored[1] ~= ARGV[1] then
    return pack({6})
  end
  for i = 2, m do
    if not stored[i] then
      return pack({6})
    end
    local slot = slots[i]
    ends[slot], counts[slot], helds[slot] = unpack_(stored[i])
  end
  if attempt ~= '' then
    filling = ARGV[1] .. ':' .. (stored[m + 1] or '')
  end
end

-- The window of these bounds that holds now_s; an end of 0 never comes, nil is past the bounds.
local function present(bounds)
  local count = #bounds
  if count == 0 then
    return 0, 0
  end
  if bounds[1] == 0 then
    local length, offset = bounds[2], bounds[3]
    local start = floor((now_s - offset) / length) * length + offset
    return start, start + length
  end
  for i = 2, count do
    if now_s < bounds[i] then
      return bounds[i - 1], bounds[i]
    end
  end
  return nil, nil
end

-- Where the window that ends then began; windows never turn backward, so a call that comes with
-- an earlier instant is counted in the window already turned to.
local function began(bounds, stop, start)
  if bounds[1] == 0 then
    return stop - bounds[2]
  end
  for i = 2, #bounds do
    if bounds[i] == stop then
      return bounds[i - 1]
    end
  end
  return start
end

-- How many of these units the overage limits of item i have room for; nil is past their bounds.
-- Most calls cost nothing, and do without making it.
local covered_of = costs ~= '' and function(i, units)
  local limits, first, covered = limits_of[i], first_of[i], nil
  for j = 1, #limits do
    local limit = limits[j]
    if limit[3] == 2 then
      covered = covered or units
      local slot = slots[first + j]
      local start, stop = present(limit[4])
      if not start then
        return nil
      end
      local used, before = counts[slot], ends[slot]
      if not (before > stop and stop > 0) and before > 0 and before <= start then
        used = 0
      end
      if limit[2] >= 0 then
        covered = math.max(0, math.min(covered, limit[2] - used))
      end
    end
  end
  return covered or 0
end

local rows, denied, owing, counted_at = {}, false, false, now
local writes, deltas, charged = {}, {}, 0
local added, marks
if costs ~= '' or attempt ~= '' then
  charged = {}
end
if action == 'h' then
  added, marks = {}, {}
end
for i = 2, n do
  local units = tonumber(ARGV[9 + i * 2])
  local limits = limits_of[i]
  deltas[i] = units
  -- Of the units of an item that costs credits, those that the plan includes.
  local covered
  if charged ~= 0 then
    charged[i - 1] = 0
    if limits and string.byte(costs, i - 1) == 49 then
      covered = covered_of(i, units)
      if not covered then
        return pack({5})
      end
      charged[i - 1] = units - covered
      owing = owing or covered < units
    end
  end
  if not limits then
    denied = true
    rows[i - 1] = 0
  else
    local row, k, first = {}, 0, first_of[i]
    for j = 1, #limits do
      local limit = limits[j]
      local slot = slots[first + j]
      local start, stop = present(limit[4])
      if not start then
        return pack({5})
      end
      local used, before = counts[slot], ends[slot]
      if before > stop and stop > 0 then
        start, stop = began(limit[4], before, start), before
        if start * 1000 > counted_at then
          counted_at = start * 1000
        end
      elseif before > 0 and before <= start then
        used, helds[slot] = 0, nil
      end
      local share = units
      if covered and limit[3] == 2 then
        share = covered
      end
      local reached
      if action == 'r' then
        reached = used - units
        if reached < (helds[slot] or 0) then
          return pack({10, i - 2})
        end
      elseif action == 's' then
        reached = units + (helds[slot] or 0)
        deltas[i] = reached - used
      else
        reached = used + share
        if reached > 9007199254740991 then
          return pack({11, i - 2})
        end
        if limit[2] == -2 or (limit[2] >= 0 and reached > limit[2]
          and (limit[3] == 0 or (limit[3] == 2 and not covered))) then
          denied = true
        end
      end
      if touched[slot] == nil then
        touched[slot] = used
      end
      ends[slot], counts[slot] = stop, reached
      if added then
        added[slot] = (added[slot] or 0) + share
        local p = #marks
        marks[p + 1], marks[p + 2], marks[p + 3] = slot, stop, limit[3] == 2 and 1 or 0
      end
      row[k + 1], row[k + 2], row[k + 3] = limit[1], limit[2], slot
      row[k + 4], row[k + 5] = start, stop
      row[k + 6], row[k + 7], row[k + 8], row[k + 9] = limit[5], limit[6], limit[3], 0
      k = k + 9
      writes[#writes + 1] = slot
    end
    rows[i - 1] = row
  end
end

local keep = action ~= 'k' and not denied
if keep and added then
  for slot, units in pairs(added) do
    helds[slot] = (helds[slot] or 0) + units
  end
end
for i = 1, n - 1 do
  local row = rows[i]
  if row ~= 0 then
    for k = 3, #row, 9 do
      local slot = row[k]
      local held = helds[slot]
      row[k] = keep and counts[slot] or touched[slot]
      if held then
        row[k], row[k + 6] = row[k] - held, held
      end
    end
  end
end
if denied then
  local holding = redis.call('HGET', KEYS[2], 'x')
  if not holding then
    return pack({5})
  end
  return pack({2, unpack_(holding), refresh, charged, unpack(rows)})
end
if not keep then
  return pack({1, '', refresh, 0, charged, unpack(rows)})
end
local pending = action == 'h' or action == 'a' or (action == 'p' and owing)
if pending and #writes == 0 then
  local reply = pack({12, '', refresh, now, charged, attempt, customer_id, version, valid_until,
    filling, unpack(rows)})
  if fingerprint ~= '' then
    -- So that it is known still when a limit counts the feature.
    redis.call('SET', KEYS[5], pack(now + tonumber(ARGV[8]), fingerprint, reply), 'PX', ARGV[8])
  end
  return reply
end
if redis.call('XLEN', KEYS[4]) >= tonumber(ARGV[4]) then
  return pack({8})
end

if #writes > 0 then
  local pairs_, p = {}, 0
  for i = 1, #writes do
    local slot = writes[i]
    local held = helds[slot]
    pairs_[p + 1] = slot
    pairs_[p + 2] = held and pack(ends[slot], counts[slot], held) or pack(ends[slot], counts[slot])
    p = p + 2
  end
  if action == 'h' then
    local units, covered = deltas[2], deltas[2] - charged[1]
    pairs_[p + 1], pairs_[p + 2] =
      'h' .. attempt, pack(0, units, covered, units, covered, unpack(marks))
  end
  redis.call('HSET', KEYS[3], unpack(pairs_))
end
local entry = {tonumber(ARGV[1]), action, ARGV[6], counted_at, customer_id}
if pending then
  entry[3], entry[6], entry[7], entry[8] = attempt, '', 0, charged
elseif fingerprint ~= '' then
  entry[6], entry[7] = fingerprint, now + tonumber(ARGV[9])
  entry[8] = {1, '', 0, counted_at, 0, unpack(rows)}
else
  entry[6], entry[7], entry[8] = '', 0, 0
end
if action == 'a' then
  entry[2] = 'p'
elseif action == 'p' and not pending then
  entry[2] = 'c'
end
local e = 8
for i = 2, n do
  entry[e + 1] = tonumber(fields[i])
  entry[e + 2] = action == 'r' and -deltas[i] or deltas[i]
  e = e + 2
end
local id = redis.call('XADD', KEYS[4], '*', 'd', pack(entry))
local reply
if pending then
  reply = pack({12, id, refresh, counted_at, charged, attempt, customer_id, version, valid_until,
    filling, unpack(rows)})
else
  reply = pack({1, id, refresh, counted_at, 0, unpack(rows)})
end
if fingerprint ~= '' then
  redis.call('SET', KEYS[5], pack(now + tonumber(ARGV[8]), fingerprint, reply), 'PX', ARGV[8])
end
return reply
