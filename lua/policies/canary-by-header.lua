-- canary-by-header: who sends `x-canary: 1` goes to the canaries, and nobody else does.
--
-- When to use it: a new engine version, or a new model, is to be tried by those who ask for it. Label its endpoints
-- `track: canary`. When nobody of the wanted kind is there, the request goes to whoever is: a canary is a wish, no
-- wall.

return {
  name = "canary-by-header",
  summary = "the header x-canary chooses between canaries and the others",

  reads = {track = "label:track", "header:x-canary"},

  filter = function(req, cols, keep)
    local wants_canary = req.headers["x-canary"] == "1"
    local found = false
    for i = 1, cols.n do
      keep[i] = (cols.track[i] == "canary") == wants_canary
      found = found or keep[i]
    end
    if not found then
      for i = 1, cols.n do
        keep[i] = true
      end
    end
  end,

  examples = {
    {
      name = "who asks for it gets the canary",
      request = {headers = {["x-canary"] = "1"}},
      endpoints = {{track = "stable"}, {track = "canary"}, {}},
      keep = {false, true, false},
    },
    {
      name = "without the header nobody gets there by accident",
      endpoints = {{track = "stable"}, {track = "canary"}, {}},
      keep = {true, false, true},
    },
    {
      name = "any other value is no",
      request = {headers = {["x-canary"] = "0"}},
      endpoints = {{track = "stable"}, {track = "canary"}},
      keep = {true, false},
    },
    {
      name = "no canary flies: the request is served all the same",
      request = {headers = {["x-canary"] = "1"}},
      endpoints = {{track = "stable"}, {}},
      keep = {true, true},
    },
  },
}
