-- power-of-two: two endpoints are drawn, and the better one is taken.
--
-- When to use it: many processes decide by the same figures, which are some milliseconds old. If all of them take
-- the best endpoint, all go to the same one, and it is the worst a moment later. Of two that are drawn by chance
-- the better one is nearly as good, and the crowd spreads. It is a picker: put it in the place of max-score-picker,
-- behind any scorers.

return {
  name = "power-of-two",
  summary = "the better one of two endpoints drawn by chance",

  pick = function(total, n)
    if n == 1 then
      return 1
    end
    local first, second = llmd.random(n), llmd.random(n - 1)
    if second >= first then
      second = second + 1 -- so that they are never the same
    end
    if total[second] > total[first] then
      first, second = second, first
    end
    return {first, second} -- the other one is there if the first fails
  end,

  examples = {
    {
      name = "of two endpoints the better one comes first",
      endpoints = {{}, {}},
      total = {1, 3},
      picks = {2, 1},
    },
    {
      name = "whatever is drawn, the worst of three is never taken",
      endpoints = {{}, {}, {}},
      total = {2, 1, 3},
      seed = 5,
      pick = 3,
    },
    {
      name = "one endpoint is no choice",
      endpoints = {{}},
      pick = 1,
    },
  },
}
