-- prefix-and-kv: where the prompt is cached, else where the cache is free. The quickstart shows it beside C policies;
-- lua/policies has more.

return {
  name = "prefix-and-kv",
  summary = "where the prompt is cached, else where the cache is free",

  params = {
    cached = {default = 0.5, min = 0, max = 1, doc = "the cached part's share of the score; the rest is free cache"},
  },

  score = function(p, prefix_match, prefix_total, kv_usage)
    local hit = prefix_total > 0 and prefix_match / prefix_total or 0
    return p.cached * hit + (1 - p.cached) * (1 - kv_usage)
  end,

  examples = {
    {
      name = "a cached prompt outweighs free cache",
      endpoints = {
        {prefix_match = 8, prefix_total = 10, kv_usage = 0.5},
        {prefix_match = 0, prefix_total = 10, kv_usage = 0},
      },
      scores = {0.65, 0.5},
    },
    {
      name = "nobody has any of it",
      endpoints = {
        {prefix_match = 0, prefix_total = 0, kv_usage = 0.5},
        {prefix_match = 0, prefix_total = 0, kv_usage = 0},
      },
      scores = {0.25, 0.5},
    },
  },
}
