-- default: llm-d's default policy, in Lua. It decides as the C plugins do, bit for bit.
--
-- When to use it: as the place to start when the default is nearly right. It stands in the configuration three times,
-- once for each term, and the terms are weighed as llm-d weighs them:
--
--   plugins:
--   - {type: lua, name: queue,  parameters: {file: default.lua, params: {term: queue}}}
--   - {type: lua, name: kv,     parameters: {file: default.lua, params: {term: kv}}}
--   - {type: lua, name: prefix, parameters: {file: default.lua, params: {term: prefix}}}
--   - type: max-score-picker
--   schedulingProfiles:
--   - name: default
--     plugins:
--     - {pluginRef: queue, weight: 2}
--     - {pluginRef: kv, weight: 2}
--     - {pluginRef: prefix, weight: 3}
--     - pluginRef: max-score-picker
--
-- A queue or a cache that nobody knows gets 0.5: behind what is known to be good, before what is known to be bad.
-- (The C plugins have a second way to see it, compat = strict. This file has not.)

local terms = {}

-- The shortest queue gets 1, the longest 0, and the others lie between.
function terms.queue(cols, out)
  llmd.lower_is_better(cols.waiting, out)
  local unknown = llmd.known(llmd.min(cols.waiting)) and 0.5 or 1
  for i = 1, cols.n do
    if not llmd.known(out[i]) then
      out[i] = unknown
    end
  end
end

-- The share of the cache that is free.
function terms.kv(cols, out)
  local usage = cols.kv_usage
  for i = 1, cols.n do
    out[i] = llmd.known(usage[i]) and 1 - usage[i] or 0.5
  end
end

-- The share of the prompt that is cached.
function terms.prefix(cols, out)
  local match, total = cols.prefix_match, cols.prefix_total
  for i = 1, cols.n do
    local usable = match[i] >= 0 and match[i] <= total[i] and total[i] > 0
    out[i] = usable and match[i] / total[i] or 0
  end
end

return {
  name = "default",
  summary = "llm-d's default policy, one of its three terms",

  params = {
    term = {default = "queue", values = {"queue", "kv", "prefix"}, doc = "which term this instance is"},
  },

  reads = {"waiting", "kv_usage", "prefix_match", "prefix_total"},

  score = function(cols, out, p)
    terms[p.term](cols, out)
  end,

  examples = {
    {
      name = "queues are ranked between the shortest and the longest",
      endpoints = {{waiting = 2}, {waiting = 6}, {waiting = 3}},
      scores = {1, 0, 0.75},
    },
    {
      name = "equal queues are all best",
      endpoints = {{waiting = 4}, {waiting = 4}},
      scores = {1, 1},
    },
    {
      name = "an unknown queue is in the middle",
      endpoints = {{waiting = 0}, {}, {waiting = 8}},
      scores = {1, 0.5, 0},
    },
    {
      name = "and nobody is worse when no queue is known",
      endpoints = {{}, {}},
      scores = {1, 1},
    },
    {
      name = "free cache",
      params = {term = "kv"},
      endpoints = {{kv_usage = 0.25}, {kv_usage = 1}, {}},
      scores = {0.75, 0, 0.5},
    },
    {
      name = "cached prompt",
      params = {term = "prefix"},
      endpoints = {{prefix_match = 3, prefix_total = 4}, {prefix_match = 0, prefix_total = 4}, {}},
      scores = {0.75, 0, 0},
    },
    {
      name = "a match longer than the prompt is none",
      params = {term = "prefix"},
      endpoints = {{prefix_match = 5, prefix_total = 4}, {prefix_match = 0, prefix_total = 0}},
      scores = {0, 0},
    },
  },
}
