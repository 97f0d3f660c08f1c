-- long-context-pool: long contexts have endpoints of their own.
--
-- When to use it: some endpoints are set up for long contexts (more cards, more cache), and a few long prompts
-- would make everybody behind them wait. Label these `context: long`. A context is the prompt and the answer that
-- was asked for. When there is no endpoint of the wanted kind the request goes to the others; whether they can
-- serve it is for them to say.

return {
  name = "long-context-pool",
  summary = "long contexts go to endpoints that are meant for them",

  params = {
    tokens = {default = 16384, min = 1, max = 10000000, doc = "a context of so many tokens, or more, is long"},
  },

  reads = {context = "label:context"},

  filter = function(req, cols, keep, p)
    local long = req.tokens + (req.max_tokens or 0) >= p.tokens
    local found = false
    for i = 1, cols.n do
      keep[i] = (cols.context[i] == "long") == long
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
      name = "a long prompt",
      request = {tokens = 20000},
      endpoints = {{context = "long"}, {}, {context = "short"}},
      keep = {true, false, false},
    },
    {
      name = "a short prompt that wants a long answer",
      request = {tokens = 400, max_tokens = 16000},
      endpoints = {{context = "long"}, {}},
      keep = {true, false},
    },
    {
      name = "a short one stays out of the way",
      request = {tokens = 400, max_tokens = 500},
      endpoints = {{context = "long"}, {}},
      keep = {false, true},
    },
    {
      name = "a prompt whose length nobody knows counts as short",
      request = {tokens = 0},
      endpoints = {{context = "long"}, {}},
      keep = {false, true},
    },
    {
      name = "nobody is meant for it: all of them",
      request = {tokens = 20000},
      endpoints = {{context = "short"}, {}},
      keep = {true, true},
    },
  },
}
