-- lora-packing: adapters gather on few endpoints, so that the others have room.
--
-- When to use it: more LoRA adapters than fit anywhere at once. A request goes where its adapter is loaded. A new
-- adapter goes to the fullest endpoint that has room for it, not to the emptiest: then the last ones stay free, for
-- the base model and for a crowd that comes. Name the base model: its requests keep away from the adapters. Weigh
-- it together with queue-scorer, or a popular adapter will have one endpoint for ever.

return {
  name = "lora-packing",
  summary = "LoRA adapters gather on few endpoints",

  params = {
    base = {default = "", doc = "the base model's name; its requests go where few adapters are"},
  },

  score = function(req, p, lora_active, lora_waiting, loras_active, max_loras)
    if req.model == p.base then
      return 1 - loras_active / max_loras
    elseif lora_active == 1 or lora_waiting == 1 then
      return 1
    elseif loras_active < max_loras then
      return 0.1 + 0.8 * loras_active / max_loras -- the fuller the better, and always behind who has it
    end
    return 0 -- full, or nobody knows
  end,

  examples = {
    {
      name = "who has the adapter, or is about to load it, is best",
      request = {model = "french"},
      endpoints = {
        {lora_active = 1, loras_active = 4, max_loras = 4},
        {lora_waiting = 1, loras_active = 1, max_loras = 4},
        {loras_active = 2, max_loras = 4},
      },
      scores = {1, 1, 0.5},
    },
    {
      name = "a new adapter packs: the fullest with room, then the emptier, then who is full",
      request = {model = "french"},
      endpoints = {
        {loras_active = 0, max_loras = 4},
        {loras_active = 3, max_loras = 4},
        {loras_active = 4, max_loras = 4},
      },
      scores = {0.1, 0.7, 0},
    },
    {
      name = "an engine that says nothing of adapters has no room for one",
      request = {model = "french"},
      endpoints = {{}, {loras_active = 0}},
      scores = {0, 0},
    },
    {
      name = "the base model keeps away from adapters",
      params = {base = "llama"},
      request = {model = "llama"},
      endpoints = {{loras_active = 0, max_loras = 4}, {loras_active = 3, max_loras = 4}},
      scores = {1, 0.25},
    },
  },
}
