-- queue-and-kv: short queues and free cache, blended into one score.
--
-- When to use it: prompts that share little with each other, on engines of one kind. It is the smallest policy that
-- is worth having, and the one to start from. A queue counts by its length, not by its rank among the others: one
-- waiting request halves that part of the score wherever it waits.

return {
  name = "queue-and-kv",
  summary = "short queues and free cache",

  params = {
    queue = {default = 0.5, min = 0, max = 1, doc = "the queue's share of the score; the rest is the cache's"},
  },

  score = function(p, waiting, kv_usage)
    return p.queue / (1 + waiting) + (1 - p.queue) * (1 - kv_usage)
  end,

  examples = {
    {
      name = "nobody waits and the cache is empty: the best there is",
      endpoints = {{waiting = 0, kv_usage = 0}, {waiting = 1, kv_usage = 0.5}},
      scores = {1, 0.5},
    },
    {
      name = "the operator looks at queues alone",
      params = {queue = 1},
      endpoints = {{waiting = 0, kv_usage = 0.9}, {waiting = 3, kv_usage = 0}},
      scores = {1, 0.25},
    },
    {
      name = "what is not known adds nothing",
      endpoints = {{waiting = 0, kv_usage = 0}, {kv_usage = 0}, {}},
      scores = {1, llmd.unknown, llmd.unknown},
    },
  },
}
