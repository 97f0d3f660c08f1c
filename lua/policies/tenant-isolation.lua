-- tenant-isolation: each tenant has a few endpoints of its own choosing, always the same ones.
--
-- When to use it: many tenants, and one of them should not be able to fill everybody's queue and cache. A tenant
-- gets `share` endpoints out of all, by rendezvous hashing: nothing is configured, nothing is stored, all processes
-- agree, and when an endpoint leaves, only the tenants that had it get another one in its place. Two tenants may
-- overlap in one endpoint, hardly ever in all. Requests without a tenant may go anywhere.

return {
  name = "tenant-isolation",
  summary = "each tenant keeps to a few endpoints",

  params = {
    share = {default = 2, min = 1, max = 16, doc = "endpoints of a tenant"},
  },

  reads = {"name"},

  filter = function(req, cols, keep, p)
    if req.tenant == "" then
      return
    end
    local names = table.move(cols.name, 1, cols.n, 1, {})
    for i = 1, cols.n do
      keep[i] = false
    end
    for _ = 1, math.min(p.share, cols.n) do
      local i = llmd.rendezvous(req.tenant, names)
      keep[i] = true
      names[i] = "" -- an empty name cannot win again
    end
  end,

  examples = {
    {
      name = "a tenant has its two endpoints",
      request = {tenant = "blue"},
      endpoints = {{name = "pool/a"}, {name = "pool/b"}, {name = "pool/c"}, {name = "pool/d"}},
      keep = {false, true, false, true},
    },
    {
      name = "another one has others",
      request = {tenant = "green"},
      endpoints = {{name = "pool/a"}, {name = "pool/b"}, {name = "pool/c"}, {name = "pool/d"}},
      keep = {false, true, true, false},
    },
    {
      name = "a small pool is everybody's",
      request = {tenant = "blue"},
      endpoints = {{name = "pool/a"}, {name = "pool/b"}},
      keep = {true, true},
    },
    {
      name = "nobody's requests go anywhere",
      endpoints = {{name = "pool/a"}, {name = "pool/b"}, {name = "pool/c"}},
      keep = {true, true, true},
    },
  },
}
