-- What wrk sends: one request for a random customer, its body and headers from the command line.
-- wrk ... -- TEMPLATE CUSTOMERS [HEADER: VALUE]; "%d" in the template is the customer's number.
local template, customers
local refused = 0

function init(args)
  template, customers = args[1], tonumber(args[2])
  wrk.method = 'POST'
  wrk.headers['Content-Type'] = 'application/json'
  for i = 3, #args do
    local name, value = args[i]:match('^([^:]+): (.*)$')
    wrk.headers[name] = value
  end
  math.randomseed(os.time())
end

function request()
  local body = template:gsub('%%d', tostring(math.random(0, customers - 1)))
  return wrk.format(nil, nil, nil, body)
end

function done(summary, latency)
  io.write(string.format('RESULT %d %d %d %d %d %d\n', summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
