-- Judge and count one operation of one customer: everything or nothing.
--
-- Equals the pure model `judge` in api/domain/admission.py, on the stored form of a snapshot in
-- api/catalog/stored_form.py; a denied or refused call writes nothing.
--
-- KEYS  1 epoch marker   2 snapshot   3 counters   4 journal   5 answer of this operation, if named
-- ARGV  1 epoch of the shard
--       2 MessagePack values side by side, with which the journal's entry begins: action, instant in
--         ms since 1970, operation id, number of items, then feature id (text), units; for each item.
--         Action: c consume, k check, r release, s state (an absolute count), p consume what may
--         cost credits, a consume what the record decides in any case, h hold
--       3 the same: largest difference to the server's own clock, ms (0: any), most entries the
--         journal may hold
--       4 the same, absent of a call that needs none of it: fingerprint of the contents ('' : the
--         caller did not name the operation), ms for which the answer is kept here, ms for which the
--         record keeps it, attempt (the name under which p, a and h are counted, undone and
--         resolved), a digit for each item: 1 where it costs credits ('': none does)
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
-- The entry, field e, is a list: what ARGV 2 says, customer id; and where it is not just that: counted
-- at ms, action, operation id, fingerprint, kept until ms, units per item (0: as asked), then the
-- answer of a named one or the charged units of p and h. Entries of a field d are of an earlier form.
-- The clocks are compared at the end, with the id that the entry was given; where they are apart
-- it is taken out again.
-- Cost: O(items x limits), two hash reads and at most one hash write, one XADD, one SET.
-- Bounds: at most 100 items; a snapshot's lists are at most 12 boundaries long.
local pack, unpack_, bytes = cmsgpack.pack, cmsgpack.unpack, struct.pack
local call, floor, char, byte = redis.call, math.floor, string.char, string.byte

local marker = call('GET', KEYS[1])
if marker ~= ARGV[1] then
  return pack({7, marker or ''})
end
local action, now, operation, n, feature, first_units = unpack_(ARGV[2])
local skew, most = unpack_(ARGV[3])
local fingerprint, replay_ms, record_ms, attempt, costs = '', 0, 0, '', ''
if ARGV[4] then
  fingerprint, replay_ms, record_ms, attempt, costs = unpack_(ARGV[4])
end
local now_s = floor(now / 1000)

-- Every answer before the first write goes out through here: with clocks apart there is none.
local function answer(reply)
  if skew > 0 then
    local time = call('TIME')
    local server = time[1] * 1000 + floor(time[2] / 1000)
    if server - now > skew or now - server > skew then
      return pack({9, server})
    end
  end
  return reply
end

if fingerprint ~= '' then
  local known = call('GET', KEYS[5])
  if known then
    local expires, contents, reply = unpack_(known)
    if now < expires then
      if contents ~= fingerprint then
        return answer(pack({4}))
      end
      return answer('\146\3' .. reply)
    end
  end
end

-- The present window of a limit, and whether what was counted until its_end is over; an end of 0
-- never comes, and nil is past the bounds. Windows never turn backward: a call that comes with an
-- earlier instant is counted in the window already turned to, as of when that began.
local counted_at = now
local function window(start, stop, length, bounds, its_end)
  if length > 0 then
    start = floor((now_s - start) / length) * length + start
    stop = start + length
  elseif stop > 0 and now_s >= stop then
    local known = {unpack_(bounds)}
    start = nil
    for b = 2, #known do
      if now_s < known[b] then
        start, stop = known[b - 1], known[b]
        break
      end
    end
    if not start then
      return nil
    end
  end
  if its_end <= stop or stop == 0 then
    return start, stop, its_end > 0 and its_end <= start
  end
  if length > 0 then
    start = its_end - length
  else
    local known = {unpack_(bounds)}
    for b = 2, #known do
      if known[b] == its_end then
        start = known[b - 1]
        break
      end
    end
  end
  counted_at = math.max(counted_at, start * 1000)
  return start, its_end, false
end

-- The figures of a limit, around which most is copied as the snapshot has it.
local function figures(about_limit, start, stop, used, held, told)
  return about_limit .. bytes('>BI8BI4BI4', 207, used - (held or 0), 206, start, 206, stop) .. told
    .. (held and pack(held) or '\0')
end

-- Whether a limit refuses a count; of a shadow, marked by a last byte of 1, none is refused. By far
-- the most have no code, no status and no mark.
local function full(about_limit, told, reached)
  local _, limit = unpack_(about_limit)
  return limit == -2
    or (limit >= 0 and reached > limit and (told == '\160\0\0' or byte(told, -1) ~= 1))
end

-- Write the entry and return its id; or nil and the reply, where the clocks are apart.
local function enter(entry)
  local id = call('XADD', KEYS[4], '*', 'e', entry)
  if skew > 0 then
    -- The id says the server's time for nothing; one that was set back is behind its last id. Of 13
    -- digits from 2001 to 2286.
    local server = string.sub(id, 1, 13) * 1
    if server - now > skew or now - server > skew then
      local refused = answer(false)
      if refused then
        call('XDEL', KEYS[4], id)
        return nil, refused
      end
    end
  end
  return id
end

-- By far the most calls: one item that costs nothing, of a feature with one limit or two. What
-- follows does the same for all; this does without its tables, which cost half as much again.
if n == 1 and costs == '' and attempt == '' and (action == 'c' or action == 'k') then
  local value = call('HGET', KEYS[2], feature)
  local epoch, _, valid_until, refresh_at, customer_id, slot1, about1, told1, start1, stop1,
    length1, bounds1, slot2, about2, told2, start2, stop2, length2, bounds2, slot3
  if value then
    epoch, _, valid_until, refresh_at, customer_id, _, slot1, about1, told1, start1, stop1,
      length1, bounds1, slot2, about2, told2, start2, stop2, length2, bounds2, slot3 = unpack_(value)
  end
  if slot1 and not slot3 then
    if epoch ~= tonumber(ARGV[1]) or (valid_until > 0 and now_s >= valid_until) then
      return answer(pack({5}))
    end
    local refresh = (refresh_at > 0 and now_s >= refresh_at) and '\1' or '\0'
    local stored = slot2 and call('HMGET', KEYS[3], '_', slot1, slot2)
      or call('HMGET', KEYS[3], '_', slot1)
    if stored[1] ~= ARGV[1] or not stored[2] or (slot2 and not stored[3]) then
      return answer(pack({6}))
    end
    local end1, used1, held1 = unpack_(stored[2])
    local over1, over2, end2, used2, held2, reached2
    start1, stop1, over1 = window(start1, stop1, length1, bounds1, end1)
    if not start1 then
      return answer(pack({5}))
    end
    if over1 then
      used1, held1 = 0, nil
    end
    local reached1 = used1 + first_units
    local denied = full(about1, told1, reached1)
    if slot2 then
      end2, used2, held2 = unpack_(stored[3])
      start2, stop2, over2 = window(start2, stop2, length2, bounds2, end2)
      if not start2 then
        return answer(pack({5}))
      end
      if over2 then
        used2, held2 = 0, nil
      end
      reached2 = used2 + first_units
      denied = full(about2, told2, reached2) or denied
    end
    if reached1 > 9007199254740991 or (slot2 and reached2 > 9007199254740991) then
      return answer(pack({11, 0}))
    end
    if denied or action == 'k' then
      local rows = slot2
        and '\220\0\18' .. figures(about1, start1, stop1, used1, held1, told1)
          .. figures(about2, start2, stop2, used2, held2, told2)
        or '\153' .. figures(about1, start1, stop1, used1, held1, told1)
      if not denied then
        return answer('\150\1\160' .. refresh .. '\0\0' .. rows)
      end
      local holding = call('HGET', KEYS[2], 'x')
      if not holding then
        return answer(pack({5}))
      end
      return answer('\149\2' .. holding .. refresh .. '\0' .. rows)
    end
    if call('XLEN', KEYS[4]) >= most then
      return answer(pack({8}))
    end
    local rows = slot2
      and '\220\0\18' .. figures(about1, start1, stop1, reached1, held1, told1)
        .. figures(about2, start2, stop2, reached2, held2, told2)
      or '\153' .. figures(about1, start1, stop1, reached1, held1, told1)
    local entry = '\151' .. ARGV[2] .. pack(customer_id)
    if fingerprint ~= '' then
      entry = '\158' .. ARGV[2] .. pack(customer_id)
        .. pack(counted_at, action, operation, fingerprint, now + record_ms, 0)
        .. '\150\1\160\0' .. pack(counted_at) .. '\0' .. rows
    elseif counted_at ~= now then
      entry = '\158' .. ARGV[2] .. pack(customer_id)
        .. pack(counted_at, action, operation, '', 0, 0) .. '\0'
    end
    local id, refused = enter(entry)
    if not id then
      return refused
    end
    local value1 = held1 and pack(stop1, reached1, held1) or pack(stop1, reached1)
    if slot2 then
      call('HSET', KEYS[3], slot1, value1, slot2,
        held2 and pack(stop2, reached2, held2) or pack(stop2, reached2))
    else
      call('HSET', KEYS[3], slot1, value1)
    end
    local reply = '\150\1' .. pack(id) .. refresh .. pack(counted_at) .. '\0' .. rows
    if fingerprint ~= '' then
      call('SET', KEYS[5], pack(now + replay_ms, fingerprint, reply), 'PX', replay_ms)
    end
    return reply
  end
end

-- The head of a MessagePack list. Replies and entries are put together of parts, most of which are
-- known in that form: packing a table costs several times as much.
local function list(count)
  return count < 16 and char(144 + count) or bytes('>BI2', 220, count)
end

-- What is known of each item's feature; one table for a feature that is asked for again.
local known_of, distinct, asked, about = {nil}, nil, nil, nil
if n == 1 then
  local stored = call('HGET', KEYS[2], feature)
  about = stored and {unpack_(stored)} or nil
  known_of[1], distinct = about, known_of
else
  asked, distinct = {unpack_(ARGV[2])}, {}
  local fields, by_name = {}, {}
  for i = 1, n do
    fields[i] = asked[3 + i * 2]
  end
  local stored = call('HMGET', KEYS[2], unpack(fields))
  for i = 1, n do
    local name = fields[i]
    if stored[i] and not by_name[name] then
      about = {unpack_(stored[i])}
      by_name[name], distinct[#distinct + 1] = about, about
    end
    known_of[i] = by_name[name]
  end
end
if not about then
  local stored = call('HGET', KEYS[2], 'm')
  if not stored then
    return answer(pack({5}))
  end
  about = {unpack_(stored)}
end
local valid_until, refresh_at = about[3], about[4]
if about[1] ~= tonumber(ARGV[1]) or (valid_until > 0 and now_s >= valid_until) then
  return answer(pack({5}))
end
local refresh = (refresh_at > 0 and now_s >= refresh_at) and '\1' or '\0'

-- The slots of the features asked, read at once.
local slots, m = {'_', nil, nil, nil}, 1
for i = 1, #distinct do
  local known, p = distinct[i], 7
  local slot = known[7]
  while slot do
    m = m + 1
    slots[m] = slot
    p = p + 7
    slot = known[p]
  end
end
local stored
-- A named call needs them also without any limit: with them come the answers of the record.
if m > 1 or fingerprint ~= '' then
  if attempt ~= '' then
    slots[m + 1] = 'g'
  end
  stored = call('HMGET', KEYS[3], unpack(slots))
  if stored[1] ~= ARGV[1] then
    return answer(pack({6}))
  end
end
local filling = (attempt ~= '' and stored) and ARGV[1] .. ':' .. (stored[m + 1] or '') or ''

-- What stands in the present window of each limit takes the place of what said where it begins:
-- start, end, units before this call, units after it.
local helds, j = {}, 1
for i = 1, #distinct do
  local known, p = distinct[i], 7
  while known[p] do
    j = j + 1
    if not stored[j] then
      return answer(pack({6}))
    end
    local its_end, used, held = unpack_(stored[j])
    local start, stop, over = window(known[p + 3], known[p + 4], known[p + 5], known[p + 6], its_end)
    if not start then
      return answer(pack({5}))
    end
    if over then
      used, held = 0, nil
    end
    known[p + 3], known[p + 4], known[p + 5], known[p + 6] = start, stop, used, used
    helds[known[p]] = held
    p = p + 7
  end
end

-- How many of these units the overage limits of a feature have room for.
-- Most calls cost nothing, and do without making it.
local covered_of = costs ~= '' and function(known, units)
  local covered
  local p = 7
  while known[p] do
    if byte(known[p + 2], -1) == 2 then
      covered = covered or units
      local _, limit = unpack_(known[p + 1])
      if limit >= 0 then
        covered = math.max(0, math.min(covered, limit - known[p + 6]))
      end
    end
    p = p + 7
  end
  return covered or 0
end

local denied, owing = false, false
local charged, added, marks = 0, nil, nil
local deltas = action == 's' and {} or nil
if costs ~= '' or attempt ~= '' then
  charged = {}
end
if action == 'h' then
  added, marks = {}, {}
end
for i = 1, n do
  local known = known_of[i]
  local units = i == 1 and first_units or asked[4 + i * 2]
  if deltas then
    deltas[i] = units
  end
  -- Of the units of an item that costs credits, those that the plan includes.
  local covered
  if charged ~= 0 then
    charged[i] = 0
    if known and byte(costs, i) == 49 then
      covered = covered_of(known, units)
      charged[i] = units - covered
      owing = owing or covered < units
    end
  end
  if not known then
    denied = true
  else
    local p, about_limit = 7, known[8]
    while about_limit do
      local _, limit = unpack_(about_limit)
      -- By far the most have no code, no status and no mark.
      local told = known[p + 2]
      local mark = told == '\160\0\0' and 0 or byte(told, -1)
      local share = units
      if covered and mark == 2 then
        share = covered
      end
      local used, held, reached = known[p + 6], helds[known[p]], nil
      if action == 'r' then
        reached = used - units
        if reached < (held or 0) then
          return answer(pack({10, i - 1}))
        end
      elseif action == 's' then
        reached = units + (held or 0)
        deltas[i] = reached - used
      else
        reached = used + share
        if reached > 9007199254740991 then
          return answer(pack({11, i - 1}))
        end
        if limit == -2 or (limit >= 0 and reached > limit
          and (mark == 0 or (mark == 2 and not covered))) then
          denied = true
        end
      end
      known[p + 6] = reached
      if added then
        added[known[p]] = share
        local k = #marks
        marks[k + 1], marks[k + 2], marks[k + 3] = known[p], known[p + 4], mark == 2 and 1 or 0
      end
      p = p + 7
      about_limit = known[p + 1]
    end
  end
end

local keep = action ~= 'k' and not denied
if keep and added then
  for slot, units in pairs(added) do
    helds[slot] = (helds[slot] or 0) + units
  end
end
local rows, shown = '', keep and 6 or 5
for i = 1, n do
  local known = known_of[i]
  if not known then
    rows = rows .. '\0'
  else
    local row, count, p = '', 0, 7
    local about_limit = known[8]
    while about_limit do
      count = count + 9
      row = row .. figures(about_limit, known[p + 3], known[p + 4], known[p + shown],
        helds[known[p]], known[p + 2])
      p = p + 7
      about_limit = known[p + 1]
    end
    rows = rows .. list(count) .. row
  end
end
local paid = charged == 0 and '\0' or pack(charged)
if denied then
  local holding = call('HGET', KEYS[2], 'x')
  if not holding then
    return answer(pack({5}))
  end
  return answer(list(4 + n) .. '\2' .. holding .. refresh .. paid .. rows)
end
if not keep then
  return answer(list(5 + n) .. '\1\160' .. refresh .. '\0' .. paid .. rows)
end
local pending = action == 'h' or action == 'a' or (action == 'p' and owing)
local to_decide = pending and function(entry)
  return list(10 + n) .. '\12' .. pack(entry) .. refresh .. pack(counted_at, charged, attempt,
    about[5], about[2], valid_until, filling) .. rows
end
if pending and m == 1 then
  local refused = answer(false)
  if refused then
    return refused
  end
  local reply = to_decide('')
  if fingerprint ~= '' then
    -- So that it is known still when a limit counts the feature.
    call('SET', KEYS[5], pack(now + replay_ms, fingerprint, reply), 'PX', replay_ms)
  end
  return reply
end
if call('XLEN', KEYS[4]) >= most then
  return answer(pack({8}))
end

local entry, length = ARGV[2] .. pack(about[5]), 5 + n * 2
if counted_at ~= now or deltas or pending or fingerprint ~= '' or action == 'p' then
  local name, until_ms, given = fingerprint, 0, '\0'
  if pending then
    name, given = '', paid
  elseif fingerprint ~= '' then
    until_ms = now + record_ms
    given = list(5 + n) .. '\1\160\0' .. pack(counted_at) .. '\0' .. rows
  end
  local recorded = action
  if action == 'a' then
    recorded = 'p'
  elseif action == 'p' and not pending then
    recorded = 'c'
  end
  entry = entry .. pack(counted_at, recorded, pending and attempt or operation, name, until_ms,
    deltas or 0) .. given
  length = length + 7
end
local id, refused = enter(list(length) .. entry)
if not id then
  return refused
end
if m > 1 then
  local values, k = {nil, nil, nil, nil, nil, nil}, 0
  for i = 1, #distinct do
    local known, p = distinct[i], 7
    local slot = known[7]
    while slot do
      local held = helds[slot]
      values[k + 1] = slot
      values[k + 2] = held and pack(known[p + 4], known[p + 6], held)
        or pack(known[p + 4], known[p + 6])
      k, p = k + 2, p + 7
      slot = known[p]
    end
  end
  if action == 'h' then
    local covered = first_units - charged[1]
    values[k + 1], values[k + 2] =
      'h' .. attempt, pack(0, first_units, covered, first_units, covered, unpack(marks))
  end
  call('HSET', KEYS[3], unpack(values))
end
local reply = pending and to_decide(id)
  or list(5 + n) .. '\1' .. pack(id) .. refresh .. pack(counted_at) .. '\0' .. rows
if fingerprint ~= '' then
  call('SET', KEYS[5], pack(now + replay_ms, fingerprint, reply), 'PX', replay_ms)
end
return reply
