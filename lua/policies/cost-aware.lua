-- cost-aware: the cheapest accelerator that still answers in time.
--
-- When to use it: one pool, several kinds of cards. Short prompts and patient clients go to the cheap ones, and the
-- expensive ones are there for who needs them. The label `accelerator` says what an endpoint is. What each kind
-- costs an hour, and how many tokens of prompt it reads in a second, stands below: put your own figures there.
-- Whoever would be late gets 0, and a card that is not in the list gets no opinion, so weigh this together with
-- queue-scorer.

local cards = {
  ["nvidia-h200"] = {price = 8, speed = 20000},
  ["nvidia-h100"] = {price = 5, speed = 16000},
  ["nvidia-a100"] = {price = 2, speed = 8000},
  ["nvidia-l4"] = {price = 0.5, speed = 4000},
}

local cheapest = math.huge
for _, card in pairs(cards) do
  card.cost = card.price / card.speed -- of reading a token
  cheapest = math.min(cheapest, card.cost)
end

return {
  name = "cost-aware",
  summary = "the cheapest accelerator that answers in time",

  params = {
    deadline = {default = 2000, min = 1, max = 600000, doc = "ms to the first token, for requests that name none"},
  },

  reads = {"label:accelerator"},

  score = function(req, p, accelerator, waiting)
    local card = cards[accelerator]
    if not card then
      return llmd.unknown
    end
    -- Those who wait before us have prompts like ours, for all we know.
    local ms = 1000 * (1 + waiting) * req.tokens / card.speed
    if ms <= (req.slo_ttft_ms or p.deadline) then
      return cheapest / card.cost
    end
    return 0
  end,

  examples = {
    {
      name = "a short prompt goes to the cheap card",
      request = {tokens = 2000},
      endpoints = {
        {accelerator = "nvidia-a100", waiting = 0},
        {accelerator = "nvidia-l4", waiting = 0},
        {accelerator = "nvidia-h200", waiting = 0},
      },
      scores = {0.5, 1, 0.3125},
    },
    {
      name = "a long one goes where it is in time",
      request = {tokens = 12000},
      endpoints = {{accelerator = "nvidia-a100", waiting = 0}, {accelerator = "nvidia-l4", waiting = 0}},
      scores = {0.5, 0},
    },
    {
      name = "the client knows how patient it is",
      request = {tokens = 12000, slo_ttft_ms = 5000},
      endpoints = {{accelerator = "nvidia-a100", waiting = 0}, {accelerator = "nvidia-l4", waiting = 0}},
      scores = {0.5, 1},
    },
    {
      name = "who has a queue is late",
      request = {tokens = 2000},
      endpoints = {{accelerator = "nvidia-l4", waiting = 3}, {accelerator = "nvidia-l4", waiting = 4}},
      scores = {1, 0},
    },
    {
      name = "an unknown card has no price, an unknown queue no end",
      request = {tokens = 2000},
      endpoints = {{accelerator = "abacus", waiting = 0}, {waiting = 0}, {accelerator = "nvidia-l4"}},
      scores = {llmd.unknown, llmd.unknown, 0},
    },
  },
}
