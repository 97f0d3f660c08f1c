-- prefill-apart: is this prompt worth a prefill endpoint of its own?
--
-- When to use it: prefill and decode run apart (disagg-profile-handler), and moving a cache from one to the other
-- is not free. It pays when the chosen decode endpoint would have to compute much of the prompt itself, and has
-- other requests that would stand still meanwhile. An idle one does it faster alone. Name it as the handler's
-- decider:
--
--   - {type: lua, name: apart, parameters: {file: prefill-apart.lua}}
--   - {type: disagg-profile-handler, parameters: {deciders: {prefill: apart}}}

return {
  name = "prefill-apart",
  summary = "prefill runs apart when it is long and would disturb others",

  params = {
    tokens = {default = 2048, min = 0, max = 10000000, doc = "uncached tokens from which on it is worth it"},
    busy = {default = 1, min = 0, max = 100000, doc = "requests at work that would be disturbed"},
  },

  reads = {"running", "prefix_match", "prefix_block"},

  decide = function(req, cols, p)
    if cols.n == 0 then
      return false
    end
    local cached = cols.prefix_match[1] * cols.prefix_block[1]
    return req.tokens - cached >= p.tokens and cols.running[1] >= p.busy
  end,

  examples = {
    {
      name = "long, cold, and others are at work",
      request = {tokens = 8000},
      endpoints = {{running = 4, prefix_match = 0, prefix_block = 64}},
      decide = true,
    },
    {
      name = "most of it is cached",
      request = {tokens = 8000},
      endpoints = {{running = 4, prefix_match = 100, prefix_block = 64}},
      decide = false,
    },
    {
      name = "nobody would be disturbed",
      request = {tokens = 8000},
      endpoints = {{running = 0, prefix_match = 0, prefix_block = 64}},
      decide = false,
    },
    {
      name = "nothing is known: half a plan is worse than none",
      request = {tokens = 8000},
      endpoints = {{}},
      decide = false,
    },
  },
}
