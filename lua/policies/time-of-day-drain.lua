-- time-of-day-drain: endpoints that work only at night, or only by day.
--
-- When to use it: cards that are lent to you after office hours, or that cost more by day. Label them `shift:
-- night` or `shift: day`; who has no such label works round the clock, and somebody should. Before a shift ends its
-- endpoints get nothing new for `lead` hours, so that what they have can end.

local function between(hour, from, to)
  if from <= to then
    return from <= hour and hour < to
  end
  return hour >= from or hour < to -- across midnight
end

return {
  name = "time-of-day-drain",
  summary = "endpoints that work by day or by night, and drain before they leave",

  params = {
    morning = {default = 7, min = 0, max = 24, doc = "hour at which the day shift begins and the night shift ends"},
    evening = {default = 19, min = 0, max = 24, doc = "hour at which the night shift begins and the day shift ends"},
    utc = {default = 0, min = -12, max = 14, doc = "hours that local time is ahead of UTC"},
    lead = {default = 0.25, min = 0, max = 6, doc = "hours before its end that a shift gets nothing new"},
  },

  reads = {shift = "label:shift"},

  filter = function(req, p, shift)
    local hour = llmd.time_of_day(req.wall, math.floor(p.utc * 60)) / 3600
    if shift == "day" then
      return between(hour, p.morning, (p.evening - p.lead) % 24)
    elseif shift == "night" then
      return between(hour, p.evening, (p.morning - p.lead) % 24)
    end
    return true
  end,

  examples = {
    {
      name = "at noon the night shift sleeps",
      wall = 12 * 3600,
      endpoints = {{shift = "day"}, {shift = "night"}, {}},
      keep = {true, false, true},
    },
    {
      name = "at midnight the day shift does",
      wall = 24 * 3600,
      endpoints = {{shift = "day"}, {shift = "night"}, {}},
      keep = {false, true, true},
    },
    {
      name = "ten minutes before seven nobody begins anything new but those who stay",
      wall = (7 * 60 - 10) * 60,
      endpoints = {{shift = "day"}, {shift = "night"}, {}},
      keep = {false, false, true},
    },
    {
      name = "the clock on the wall is the local one",
      params = {utc = 9},
      wall = 12 * 3600,
      endpoints = {{shift = "day"}, {shift = "night"}},
      keep = {false, true},
    },
    {
      name = "without a lead the shifts meet",
      params = {lead = 0},
      wall = (7 * 60 - 10) * 60,
      endpoints = {{shift = "day"}, {shift = "night"}},
      keep = {false, true},
    },
  },
}
