-- session-affinity-overflow: a session has a home, and a second one for when the first is busy.
--
-- When to use it: conversations, whose every turn repeats the turns before, so that the endpoint of the last turn
-- has most of the prompt in its cache. The home comes from rendezvous hashing of the session's id: nothing is
-- stored, all processes agree, and an endpoint that leaves moves its own sessions only. A home with a long queue is
-- passed over for the next one in the session's own order, which is another one for each session: a busy endpoint's
-- load spreads over all.

return {
  name = "session-affinity-overflow",
  summary = "sessions stay at their home; when that is busy, at their second or third",

  params = {
    waiting = {default = 4, min = 0, max = 10000, doc = "a queue longer than this is busy"},
    homes = {default = 3, min = 1, max = 16, doc = "how many homes are tried before the others decide"},
  },

  reads = {"name", "waiting"},

  score = function(req, cols, out, p)
    if req.session == "" then
      return
    end
    local names = table.move(cols.name, 1, cols.n, 1, {})
    for _ = 1, math.min(p.homes, cols.n) do
      local home = llmd.rendezvous(req.session, names)
      if not (cols.waiting[home] > p.waiting) then
        out[home] = 1
        return
      end
      names[home] = "" -- an empty name cannot win again
    end
  end,

  examples = {
    {
      name = "a session has a home",
      request = {session = "alice"},
      endpoints = {{name = "pool/a", waiting = 0}, {name = "pool/b", waiting = 0}, {name = "pool/c", waiting = 0}},
      scores = {llmd.unknown, llmd.unknown, 1},
    },
    {
      name = "another one has another home",
      request = {session = "carol"},
      endpoints = {{name = "pool/a", waiting = 0}, {name = "pool/b", waiting = 0}, {name = "pool/c", waiting = 0}},
      scores = {llmd.unknown, 1, llmd.unknown},
    },
    {
      name = "a busy home: its second one",
      request = {session = "alice"},
      endpoints = {{name = "pool/a", waiting = 0}, {name = "pool/b", waiting = 0}, {name = "pool/c", waiting = 5}},
      scores = {1, llmd.unknown, llmd.unknown},
    },
    {
      name = "a queue of four is no reason to leave it",
      request = {session = "alice"},
      endpoints = {{name = "pool/a", waiting = 4}, {name = "pool/b", waiting = 4}, {name = "pool/c", waiting = 4}},
      scores = {llmd.unknown, llmd.unknown, 1},
    },
    {
      name = "a queue that nobody knows is none either",
      request = {session = "alice"},
      endpoints = {{name = "pool/a"}, {name = "pool/b"}, {name = "pool/c"}},
      scores = {llmd.unknown, llmd.unknown, 1},
    },
    {
      name = "everybody is busy: no opinion",
      request = {session = "alice"},
      endpoints = {{name = "pool/a", waiting = 9}, {name = "pool/b", waiting = 9}, {name = "pool/c", waiting = 9}},
      scores = {llmd.unknown, llmd.unknown, llmd.unknown},
    },
    {
      name = "no session, no home",
      endpoints = {{name = "pool/a", waiting = 0}, {name = "pool/b", waiting = 0}},
      scores = {llmd.unknown, llmd.unknown},
    },
  },
}
