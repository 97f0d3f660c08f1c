-- spillover: a second profile, for what the first one has no endpoint for.
--
-- When to use it: your own cards first, and rented ones only when yours are full. The configuration has two
-- profiles, in this order: the first one's filters drop whoever is too busy, the second one takes anybody. This
-- policy is the profile handler; it runs the second only when the first has found nobody.
--
--   plugins:
--   - {type: lua, name: handler, parameters: {file: spillover.lua}}
--   - type: utilization-filter
--     parameters: {conditions: [{metric: kv-cache-utilization, maxValue: 0.9}]}
--   - {type: by-label, name: ours, parameters: {label: owner, validValues: [us]}}
--   - type: queue-scorer
--   - type: max-score-picker
--   schedulingProfiles:
--   - name: own
--     plugins:
--     - pluginRef: ours
--     - pluginRef: utilization-filter
--     - pluginRef: queue-scorer
--     - pluginRef: max-score-picker
--   - name: spill
--     plugins: [{pluginRef: queue-scorer}, {pluginRef: max-score-picker}]

return {
  name = "spillover",
  summary = "the profile `spill` runs when the profile `own` has found nobody",

  profiles = function(runs)
    if not runs.own.ran then
      return "own"
    elseif not runs.own.ok and not runs.spill.ran then
      return "spill"
    end
  end,

  primary = function(runs)
    return runs.own.ok and "own" or "spill"
  end,

  examples = {
    {
      name = "our own are asked first",
      runs = {{name = "own"}, {name = "spill"}},
      profiles = {"own"},
    },
    {
      name = "they have somebody: that was all",
      runs = {{name = "own", ran = true, ok = true}, {name = "spill"}},
      profiles = {},
      primary = "own",
    },
    {
      name = "they have nobody",
      runs = {{name = "own", ran = true}, {name = "spill"}},
      profiles = {"spill"},
    },
    {
      name = "and it ends there, whatever comes of it",
      runs = {{name = "own", ran = true}, {name = "spill", ran = true}},
      profiles = {},
      primary = "spill",
    },
  },
}
