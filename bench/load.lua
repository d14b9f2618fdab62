-- What wrk sends: one request for a random customer, its body and headers from the command line.
-- wrk ... -- TEMPLATE CUSTOMERS THEN-PATTERN THEN-TEMPLATE THEN-PATH [HEADER: VALUE]
-- In a template "%d" is the customer's number and "%k" a name that no other request has. Where
-- THEN-PATTERN is not empty, what it finds in an answer is sent on as "%h" and "%w" of the second
-- template.
local template, customers, pattern, then_template, then_path
local found, first, last = {}, 1, 0
local random, format = math.random, string.format

function init(args)
  template, customers = args[1], tonumber(args[2])
  pattern, then_template, then_path = args[3], args[4], args[5]
  wrk.method = 'POST'
  wrk.headers['Content-Type'] = 'application/json'
  for i = 6, #args do
    local name, value = args[i]:match('^([^:]+): (.*)$')
    wrk.headers[name] = value
  end
  math.randomseed(os.time())
  if pattern ~= '' then
    response = function(status, headers, body)
      local one, two = body:match(pattern)
      if one then last = last + 1; found[last] = {one, two} end
    end
  end
end

local function fill(word)
  if word == '%d' then return tostring(random(0, customers - 1)) end
  if word == '%k' then
    return format('%08x-%08x-%08x', random(0, 0x7fffffff), random(0, 0x7fffffff),
      random(0, 0x7fffffff))
  end
  return found[first][word == '%h' and 1 or 2]
end

function request()
  if found[first] then
    local body = then_template:gsub('%%[dkhw]', fill)
    found[first] = nil
    first = first + 1
    return wrk.format(nil, then_path, nil, body)
  end
  return wrk.format(nil, nil, nil, (template:gsub('%%[dk]', fill)))
end

function done(summary, latency)
  io.write(string.format('RESULT %d %d %d %d %d %d %d\n', summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max, summary.errors.status))
end
