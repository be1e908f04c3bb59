-- Has wrk send the requests of a file in turn, over and over: `wrk … -s requests.lua URL -- FILE`. The file holds heads
-- one after the other, each with the empty line that ends it. The last line printed is what `bench.wrk` reads.

local requests, sent = {}, 0

function init(args)
   local file = assert(io.open(args[1], "rb"))
   for head in file:read("*a"):gmatch("(.-\r\n\r\n)") do
      requests[#requests + 1] = head
   end
   file:close()
end

function request()
   sent = sent % #requests + 1
   return requests[sent]
end

function done(summary)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   io.write(string.format("\n%d %.0f %d %d\n", summary.requests, summary.bytes, summary.duration, failed))
end
