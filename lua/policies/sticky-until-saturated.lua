-- sticky-until-saturated: a session stays where its last request went, until that endpoint is saturated.
--
-- When to use it: conversations, when the first endpoint is to be chosen well, by queue and cache, and not by a
-- hash. What the others choose is remembered when the request is sent (commit), and gets 1 from then on (score). A
-- saturated endpoint gets nothing, so the others choose again, and the session stays at the new one. Weigh it
-- higher than the others together. The memory is llmd.store: shared by all processes, `store` sessions large, the
-- oldest go first.

-- A client may send a session of any length, a key has at most 256 bytes.
local function key_of(req)
  return req.session:sub(1, 256)
end

return {
  name = "sticky-until-saturated",
  summary = "sessions stay at their endpoint until it is saturated",
  store = 100000,

  params = {
    waiting = {default = 8, min = 0, max = 10000, doc = "a queue longer than this is saturated"},
    kv_usage = {default = 0.95, min = 0, max = 1, doc = "a cache fuller than this is saturated"},
    forget = {default = 1800, min = 1, max = 86400, doc = "seconds after which an idle session is forgotten"},
  },

  reads = {"id", "waiting", "kv_usage"},

  score = function(req, cols, out, p)
    if req.session == "" then
      return
    end
    local home = llmd.store.get(key_of(req))
    for i = 1, cols.n do
      local saturated = cols.waiting[i] > p.waiting or cols.kv_usage[i] > p.kv_usage
      if cols.id[i] == home and not saturated then
        out[i] = 1
      end
    end
  end,

  commit = function(req, target, p)
    if req.session ~= "" then
      llmd.store.put(key_of(req), target, p.forget)
    end
  end,

  examples = {
    {
      name = "the session's endpoint",
      request = {session = "alice"},
      store = {alice = 2},
      endpoints = {{id = 1, waiting = 0, kv_usage = 0}, {id = 2, waiting = 8, kv_usage = 0.9}},
      scores = {llmd.unknown, 1},
    },
    {
      name = "its queue is too long",
      request = {session = "alice"},
      store = {alice = 2},
      endpoints = {{id = 1, waiting = 0, kv_usage = 0}, {id = 2, waiting = 9, kv_usage = 0}},
      scores = {llmd.unknown, llmd.unknown},
    },
    {
      name = "its cache is full",
      request = {session = "alice"},
      store = {alice = 2},
      endpoints = {{id = 1, waiting = 0, kv_usage = 0}, {id = 2, waiting = 0, kv_usage = 0.99}},
      scores = {llmd.unknown, llmd.unknown},
    },
    {
      name = "an endpoint that nobody knows anything of is not saturated",
      request = {session = "alice"},
      store = {alice = 2},
      endpoints = {{id = 1, waiting = 0, kv_usage = 0}, {id = 2}},
      scores = {llmd.unknown, 1},
    },
    {
      name = "it has left",
      request = {session = "alice"},
      store = {alice = 7},
      endpoints = {{id = 1}, {id = 2}},
      scores = {llmd.unknown, llmd.unknown},
    },
    {
      name = "a new session, and a request without one",
      request = {session = ""},
      store = {alice = 2},
      endpoints = {{id = 1}, {id = 2}},
      scores = {llmd.unknown, llmd.unknown},
    },
  },
}
