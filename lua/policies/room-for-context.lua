-- room-for-context: tokens that fit into each endpoint's cache beside this request.
--
-- When to use it: engines of different sizes. Half of a large cache is more than the whole of a small one, and a
-- share in percent does not show that. This policy is a producer: it writes the column Room, which other policies
-- read as "attr:Room/NAME" (NAME: what the configuration calls this one), and C plugins by their parameters:
--
--   - {type: lua, name: room, parameters: {file: room-for-context.lua}}
--   - type: endpoint-attribute-scorer
--     parameters:
--       attributeKey: Room
--       producer: room
--       algorithm: {type: linear_higher_is_better, normalization: {adaptiveRange: {}}}

return {
  name = "room-for-context",
  summary = "writes Room: tokens of cache that would be left",

  reads = {"kv_usage", "num_blocks", "block_size", "prefix_match", "prefix_block"},
  writes = {"Room"},

  produce = function(req, kv_usage, num_blocks, block_size, prefix_match, prefix_block)
    local free = (1 - kv_usage) * num_blocks * block_size
    local cached = llmd.known(prefix_match) and prefix_match * prefix_block or 0
    return free - (req.tokens - cached) - (req.max_tokens or 0)
  end,

  examples = {
    {
      name = "half of a large cache is more than the whole of a small one",
      request = {tokens = 1000},
      endpoints = {
        {kv_usage = 0.5, num_blocks = 10000, block_size = 16},
        {kv_usage = 0, num_blocks = 1000, block_size = 16},
      },
      writes = {Room = {79000, 15000}},
    },
    {
      name = "what is cached needs no room, what is asked for does",
      request = {tokens = 1000, max_tokens = 500},
      endpoints = {{kv_usage = 0.5, num_blocks = 1000, block_size = 16, prefix_match = 10, prefix_block = 64}},
      writes = {Room = {7140}},
    },
    {
      name = "an engine that does not tell its size",
      request = {tokens = 1000},
      endpoints = {{kv_usage = 0.5}},
      writes = {Room = {llmd.unknown}},
    },
  },
}
