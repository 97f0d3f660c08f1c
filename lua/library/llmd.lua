---@meta
-- What policies see, for editors. Made by docs/lua_reference.py; see .luarc.json beside this folder.

---What a policy's file returns.
---@class llmd.Policy
---@field name string what messages call the policy
---@field summary? string one line about what it is for
---@field params? table<string, llmd.Param|boolean|integer|number|string> parameters that an operator may set: a row each, or only the default
---@field reads? table<integer|string, string> what it reads; an array entry shows under its own name, `field = "label:zone"` as cols.field
---@field writes? string[] names of the columns that produce fills
---@field store? integer room for that many entries in llmd.store
---@field examples? llmd.Example[] requests and what must come out, for `llmd policy check`
---@field filter? function (req, cols, keep, p) -> integer[]?: which endpoints stay: keep[i] = false drops one; indexes returned are the new order
---@field score? function (req, cols, out, p) -> nil: out[i] = 0..1, more is better; unset or NaN = no opinion
---@field pick? function (req, cols, total, p) -> integer|integer[]: the chosen index, or several, best first
---@field decide? function (req, cols, p) -> boolean: yes or no about one endpoint, for a profile handler
---@field produce? function (req, cols, out, p) -> nil: fills its own columns: out.NAME[i]
---@field commit? function (req, target, p) -> nil: the decision stands: may write llmd.store
---@field report? function (kind, target, usage, p) -> nil: news of a request: may write llmd.store
---@field profiles? function (req, runs, turn, p) -> nil|string|string[]: which profiles run now; nil = finished
---@field primary? function (req, runs, p) -> string?: the profile whose pick gets the request

---A parameter that an operator may set.
---@class llmd.Param
---@field default boolean|integer|number|string its value when the operator sets none; it says the type
---@field min? number smallest number
---@field max? number largest number
---@field values? string[] all that the text may be
---@field doc? string one line for the operator

---The request: `req`.
---@class llmd.Request
---@field model string the model's name as the client wrote it
---@field tokens number length of the prompt in tokens; 0 = unknown
---@field max_tokens? number most tokens of output; nil = not given
---@field bytes integer length of the body
---@field priority integer higher is more urgent; 0 is ordinary
---@field tenant string fairness id; "" = none
---@field session string session id; "" = none
---@field slo_ttft_ms? number wanted time to the first token; nil = not given
---@field slo_tpot_ms? number wanted time per output token; nil = not given
---@field stream boolean the answer is streamed
---@field multimodal boolean the prompt has attachments
---@field truncated boolean only the beginning of the body was seen
---@field real_tokens boolean tokens come from a tokenizer, not from an estimate
---@field headers table<string, string?> headers that `reads` names; nil = absent
---@field prompt? string the prompt's beginning, if `reads` names it and the operator allows it
---@field now number seconds on a clock that only goes forward
---@field wall number seconds since 1970: llmd.time_of_day, llmd.weekday
---@field n integer number of endpoints

---What became of a profile: `runs[name]`.
---@class llmd.Run
---@field ran boolean it has run
---@field ok boolean it found an endpoint
---@field n integer endpoints that it picked

---Tokens of a request: `usage`.
---@class llmd.Usage
---@field prompt_tokens? number nil = not said
---@field output_tokens? number nil = not said
---@field cached_tokens? number of the prompt's; nil = not said

---A situation, and what must come out.
---@class llmd.Example
---@field name? string what it shows
---@field params? table<string, any> parameters that differ from their defaults
---@field request? table fields of req; headers = {...}
---@field endpoints? table[] a table per endpoint: the fields that the policy reads
---@field now? number req.now
---@field wall? number req.wall
---@field seed? integer of llmd.random and its like
---@field store? table<string, boolean|integer> what llmd.store holds
---@field total? number[] what pick finds in total; absent = all 0
---@field runs? table[] what profiles and primary find in runs, a row each: {name = , ran = , ok = , n = }
---@field turn? integer what profiles finds in turn
---@field scores? number[] what score must give
---@field keep? boolean[] what filter must keep
---@field pick? integer the index that pick must choose
---@field picks? integer[] the indexes that pick must choose, in order
---@field decide? boolean what decide must answer
---@field writes? table<string, number[]> what produce must write
---@field profiles? string[] what profiles must name; {} = it is finished
---@field primary? string what primary must name

---What has happened to a request: `kind`.
---@alias llmd.Kind
---| "first" # the first token came
---| "tokens" # more tokens came
---| "done" # the request ended well
---| "failed" # the engine failed
---| "cancelled" # the client left
---| "headers" # the response began

---One list per thing that is read, in the order of the endpoints: `cols`. A NaN or "" is unknown.
---@class llmd.Columns
---@field n integer number of endpoints
---@field waiting number[] requests that wait in the engine's queue (requests)
---@field running number[] requests that the engine works on (requests)
---@field kv_usage number[] share of the KV cache that is in use (0..1)
---@field block_size number[] tokens per block of the KV cache (tokens)
---@field num_blocks number[] blocks of the KV cache (blocks)
---@field max_loras number[] LoRA adapters that fit at once (adapters)
---@field lora_active number[] the request's model is loaded as an adapter (0/1)
---@field loras_active number[] LoRA adapters that are loaded (adapters)
---@field lora_waiting number[] the request's model waits to be loaded as an adapter (0/1)
---@field loras_waiting number[] LoRA adapters that wait to be loaded (adapters)
---@field fresh number[] the endpoint's metrics are recent (0/1)
---@field name string[] namespace/name of the endpoint (text)
---@field id integer[] number of the endpoint: an integer, what commit and report get as target (id)
---@field address string[] address of the endpoint (text)
---@field prefix_match number[] leading blocks of the prompt that it has cached, guessed from where prompts went (blocks)
---@field prefix_cached number[] the same: a guess knows no tiers (blocks)
---@field prefix_total number[] blocks that the prompt has (blocks)
---@field prefix_block number[] tokens per such block (tokens)
---@field precise_match number[] leading blocks of the prompt that it has cached, by what its engine tells, weighed by tier, in whole blocks (blocks)
---@field precise_cached number[] the same without weights: a block is a block (blocks)
---@field precise_total number[] blocks that the prompt has (blocks)
---@field precise_block number[] tokens per such block (tokens)
---@field precise_weighted number[] precise_match with its fraction (blocks)
---@field precise_gpu number[] of precise_cached, those in GPU memory (blocks)
---@field precise_cpu number[] of precise_cached, those in CPU memory, no better (blocks)
---@field precise_disk number[] of precise_cached, those on disk (blocks)
---@field precise_remote number[] of precise_cached, those in a remote store (blocks)
---@field precise_exact number[] the engine's own word, no guess (0/1)
---@field precise_degraded number[] events of its engine are missing, and not repaired yet (0/1)
---@field inflight_requests number[] requests sent to it that have not ended (requests)
---@field inflight_tokens number[] tokens of these requests (tokens)
---@field inflight_uncached number[] tokens that it would have to compute for this request (tokens)
---@field inflight_charge number[] tokens that this request would add to it (tokens)
---@field ttft number[] predicted time to the first token (ms)
---@field tpot number[] predicted time per output token (ms)
---@field ttft_headroom number[] what the objective for the first token leaves (ms)
---@field tpot_headroom number[] what the objective per output token leaves (ms)
---@field predicted number[] there is a prediction (0/1)
---@field dispatched number[] requests sent to it that the prediction knows of (requests)
---@field images_cached number[] of the request's images, what it has encoded already (bytes)
---@field images_total number[] images of the request (bytes)
---@field topology_host string[] machine that it runs on (text)
---@field topology_rack string[] rack that it stands in (text)
---@field topology_zone string[] zone that it is in (text)
---@field topology_region string[] region that it is in (text)
---@field cluster_waiting number[] where endpoints are clusters: their queue (requests)
---@field cluster_kv_usage number[] where endpoints are clusters: use of their KV cache (0..1)
---@field [string] number[]|string[] what `reads` gives a name

---One endpoint: `ep`, `eps[i]`. A NaN or "" is unknown.
---@class llmd.Endpoint
---@field waiting number requests that wait in the engine's queue (requests)
---@field running number requests that the engine works on (requests)
---@field kv_usage number share of the KV cache that is in use (0..1)
---@field block_size number tokens per block of the KV cache (tokens)
---@field num_blocks number blocks of the KV cache (blocks)
---@field max_loras number LoRA adapters that fit at once (adapters)
---@field lora_active number the request's model is loaded as an adapter (0/1)
---@field loras_active number LoRA adapters that are loaded (adapters)
---@field lora_waiting number the request's model waits to be loaded as an adapter (0/1)
---@field loras_waiting number LoRA adapters that wait to be loaded (adapters)
---@field fresh number the endpoint's metrics are recent (0/1)
---@field name string namespace/name of the endpoint (text)
---@field id integer number of the endpoint: an integer, what commit and report get as target (id)
---@field address string address of the endpoint (text)
---@field prefix_match number leading blocks of the prompt that it has cached, guessed from where prompts went (blocks)
---@field prefix_cached number the same: a guess knows no tiers (blocks)
---@field prefix_total number blocks that the prompt has (blocks)
---@field prefix_block number tokens per such block (tokens)
---@field precise_match number leading blocks of the prompt that it has cached, by what its engine tells, weighed by tier, in whole blocks (blocks)
---@field precise_cached number the same without weights: a block is a block (blocks)
---@field precise_total number blocks that the prompt has (blocks)
---@field precise_block number tokens per such block (tokens)
---@field precise_weighted number precise_match with its fraction (blocks)
---@field precise_gpu number of precise_cached, those in GPU memory (blocks)
---@field precise_cpu number of precise_cached, those in CPU memory, no better (blocks)
---@field precise_disk number of precise_cached, those on disk (blocks)
---@field precise_remote number of precise_cached, those in a remote store (blocks)
---@field precise_exact number the engine's own word, no guess (0/1)
---@field precise_degraded number events of its engine are missing, and not repaired yet (0/1)
---@field inflight_requests number requests sent to it that have not ended (requests)
---@field inflight_tokens number tokens of these requests (tokens)
---@field inflight_uncached number tokens that it would have to compute for this request (tokens)
---@field inflight_charge number tokens that this request would add to it (tokens)
---@field ttft number predicted time to the first token (ms)
---@field tpot number predicted time per output token (ms)
---@field ttft_headroom number what the objective for the first token leaves (ms)
---@field tpot_headroom number what the objective per output token leaves (ms)
---@field predicted number there is a prediction (0/1)
---@field dispatched number requests sent to it that the prediction knows of (requests)
---@field images_cached number of the request's images, what it has encoded already (bytes)
---@field images_total number images of the request (bytes)
---@field topology_host string machine that it runs on (text)
---@field topology_rack string rack that it stands in (text)
---@field topology_zone string zone that it is in (text)
---@field topology_region string region that it is in (text)
---@field cluster_waiting number where endpoints are clusters: their queue (requests)
---@field cluster_kv_usage number where endpoints are clusters: use of their KV cache (0..1)
---@field [string] number|string what `reads` gives a name

---@class llmdlib
llmd = {}

---Version of what this page describes.
llmd.version = 1

---NaN: a score that is no opinion, a value that nobody knows.
llmd.unknown = 0 / 0

---False for what is unknown: nil, NaN and the empty string.
---@param x any
---@return boolean
function llmd.known(x) end

---X, but no less than lo and no more than hi; unknown stays unknown.
---@param x number
---@param lo number
---@param hi number
---@return number
function llmd.clamp(x, lo, hi) end

---The largest known number of a list; NaN when there is none.
---@param list number[]
---@param n? integer
---@return number
function llmd.max(list, n) end

---The smallest known number of a list; NaN when there is none.
---@param list number[]
---@param n? integer
---@return number
function llmd.min(list, n) end

---The sum of the known numbers, added in their order; 0 when there is none.
---@param list number[]
---@param n? integer
---@return number
function llmd.sum(list, n) end

---The mean of the known numbers; NaN when there is none.
---@param list number[]
---@param n? integer
---@return number
function llmd.mean(list, n) end

---Index of the largest known number, the first of equals; nil when there is none.
---@param list number[]
---@param n? integer
---@return integer?
function llmd.argmax(list, n) end

---Index of the smallest known number, the first of equals; nil when there is none.
---@param list number[]
---@param n? integer
---@return integer?
function llmd.argmin(list, n) end

---Out[i] = 0 for the smallest to 1 for the largest known number, all 1 when they are equal; unknown stays unknown. Without out the result is a new table.
---@param list number[]
---@param out? number[]
---@param n? integer
---@return number[]
function llmd.normalise(list, out, n) end

---As llmd.normalise, but 1 for the smallest and 0 for the largest.
---@param list number[]
---@param out? number[]
---@param n? integer
---@return number[]
function llmd.lower_is_better(list, out, n) end

---Weights that add up to 1, proportional to exp(number / temperature); temperature 1 unless given, unknown gets 0.
---@param list number[]
---@param temperature? number
---@param out? number[]
---@param n? integer
---@return number[]
function llmd.softmax(list, temperature, out, n) end

---E to the power of x; the same bits on every machine.
---@param x number
---@return number
function llmd.exp(x) end

---Natural logarithm; the same bits on every machine. NaN below 0.
---@param x number
---@return number
function llmd.log(x) end

---Calls visit(eps[i], i) for each i.
---@param eps llmd.Endpoint[]
---@param visit fun(ep: llmd.Endpoint, i: integer)
---@param n? integer
function llmd.each(eps, visit, n) end

---An integer from 1 to n, or without n a number in [0, 1). Chance comes from the decision's seed: a replay draws the same.
---@param n integer
---@return integer
---@overload fun(): number
function llmd.random(n) end

---An index, drawn with a chance proportional to its weight; never one whose weight is unknown, 0 or less; nil when there is no other.
---@param weights number[]
---@param n? integer
---@return integer?
function llmd.draw(weights, n) end

---Puts the list into random order, and returns it.
---@param list any[]
---@param n? integer
---@return any[]
function llmd.shuffle(list, n) end

---64 bits of the text, the same everywhere and no secret: llmd.hash(req.session) % 100 < 5 is one in twenty.
---@param text string
---@return integer
function llmd.hash(text) end

---Index of the name that the key belongs to: each key keeps its name while that is there, and a name that goes or comes moves only its own share. Unknown names never win; nil when there is no other.
---@param key string
---@param names string[]
---@param n? integer
---@return integer?
function llmd.rendezvous(key, names, n) end

---As string.find.
---@param text string
---@param needle string
---@param init? integer
---@param plain? boolean
---@return integer?
---@return integer?
function llmd.find(text, needle, init, plain) end

---Does the text begin so?.
---@param text string
---@param start string
---@return boolean
function llmd.starts_with(text, start) end

---Does the text end so?.
---@param text string
---@param ending string
---@return boolean
function llmd.ends_with(text, ending) end

---The text without white space at both ends.
---@param text string
---@return string
function llmd.trim(text) end

---The pieces between separators, at most max of them: the last one holds the rest.
---@param text string
---@param separator string
---@param max? integer
---@return string[]
function llmd.split(text, separator, max) end

---Seconds since midnight, 0 to 86399, of req.wall; offset_minutes is how far local time is ahead of UTC.
---@param wall number
---@param offset_minutes? integer
---@return integer
function llmd.time_of_day(wall, offset_minutes) end

---1 for Monday to 7 for Sunday, of req.wall.
---@param wall number
---@param offset_minutes? integer
---@return integer
function llmd.weekday(wall, offset_minutes) end

---@class llmdstorelib
llmd.store = {}

---What is stored under the key; nil when there is nothing. At most 64 times in one decision.
---@param key string
---@return boolean|integer?
function llmd.store.get(key) end

---Stores a value, for good or for so many seconds; only in commit and report. The policy says `store = N` for room: when it is full the oldest goes. false when the value could not be passed on to the process that keeps the table.
---@param key string
---@param value boolean|integer
---@param ttl_seconds? number
---@return boolean
function llmd.store.put(key, value, ttl_seconds) end

---Forgets the key; only in commit and report.
---@param key string
---@return boolean
function llmd.store.del(key) end

---@class mathlib
math = {}

---Infinity.
math.huge = 1 / 0

---The circle's number.
math.pi = 3.141592653589793

---The largest integer.
math.maxinteger = 9223372036854775807

---The smallest integer.
math.mininteger = -9223372036854775807 - 1

---X without its sign.
---@param x number
---@return number
function math.abs(x) end

---The next integer up.
---@param x number
---@return number
function math.ceil(x) end

---The next integer down.
---@param x number
---@return number
function math.floor(x) end

---What is left of x when y is taken off it as often as it fits; it has x's sign.
---@param x number
---@param y number
---@return number
function math.fmod(x, y) end

---The largest of its arguments.
---@param x number
---@param ... number
---@return number
function math.max(x, ...) end

---The smallest of its arguments.
---@param x number
---@param ... number
---@return number
function math.min(x, ...) end

---Square root; NaN below 0.
---@param x number
---@return number
function math.sqrt(x) end

---X as an integer when it is one; else nil.
---@param x any
---@return integer?
function math.tointeger(x) end

---"integer", "float", or nil for no number.
---@param x any
---@return string?
function math.type(x) end

---Is m below n when both are read as unsigned?.
---@param m integer
---@param n integer
---@return boolean
function math.ult(m, n) end

---@class stringlib
string = {}

---@class string: stringlib

---Codes of the bytes i to j; i is 1 and j is i unless given.
---@param text string
---@param i? integer
---@param j? integer
---@return integer ...
function string.byte(text, i, j) end

---The text of these codes.
---@param ... integer
---@return string
function string.char(...) end

---Does the text end so?.
---@param text string
---@param ending string
---@return boolean
function string.ends_with(text, ending) end

---First and last index of the needle from init on; nil when it is not there. There are no patterns: the needle is what it is, and plain may only be true.
---@param text string
---@param needle string
---@param init? integer
---@param plain? boolean
---@return integer?
---@return integer?
function string.find(text, needle, init, plain) end

---Its bytes.
---@param text string
---@return integer
function string.len(text) end

---A to Z become a to z.
---@param text string
---@return string
function string.lower(text) end

---Its bytes from last to first.
---@param text string
---@return string
function string.reverse(text) end

---The pieces between separators, at most max of them: the last one holds the rest.
---@param text string
---@param separator string
---@param max? integer
---@return string[]
function string.split(text, separator, max) end

---Does the text begin so?.
---@param text string
---@param start string
---@return boolean
function string.starts_with(text, start) end

---The bytes i to j; negative indexes count from the end.
---@param text string
---@param i integer
---@param j? integer
---@return string
function string.sub(text, i, j) end

---The text without white space at both ends.
---@param text string
---@return string
function string.trim(text) end

---A to z become A to Z.
---@param text string
---@return string
function string.upper(text) end

---@class tablelib
table = {}

---Strings and numbers i to j as one text.
---@param list any[]
---@param separator? string
---@param i? integer
---@param j? integer
---@return string
function table.concat(list, separator, i, j) end

---Puts a value at the end, or at a position, and moves up what is there.
---@param list any[]
---@param value any
---@overload fun(list: any[], position: integer, value: any)
function table.insert(list, value) end

---Copies from[first..last] to target[to..]; target is from unless given.
---@param from any[]
---@param first integer
---@param last integer
---@param to integer
---@param target? any[]
---@return any[]
function table.move(from, first, last, to, target) end

---Takes out the value at the position, or the last one, and moves down what follows.
---@param list any[]
---@param position? integer
---@return any
function table.remove(list, position) end

---Sorts numbers or texts, or whatever before can order. Equals stay in their order; NaN comes last; texts are compared byte by byte. When before fails, the list is as it was.
---@param list any[]
---@param before? fun(a: any, b: any): boolean
function table.sort(list, before) end

---List[i], ..., list[j].
---@param list any[]
---@param i? integer
---@param j? integer
---@return any ...
function table.unpack(list, i, j) end

---Fails with the message when v is false or nil; else gives back all its arguments.
---@param v any
---@param message? any
---@param ... any
---@return any ...
function assert(v, message, ...) end

---Fails: the call ends, unless pcall is around it.
---@param message any
---@param level? integer
function error(message, level) end

---For i, v in ipairs(list): up to the first nil.
---@param list any[]
---@return function
---@return any[]
---@return integer
function ipairs(list) end

---For k, v in pairs(t): numbers first, then texts, then booleans, each in order, so that a replay sees the same.
---@param t table
---@return function
---@return any
---@return any
function pairs(t) end

---True and what f gives back, or false and its error. A spent budget is no error that it catches.
---@param f function
---@param ... any
---@return boolean
---@return any ...
function pcall(f, ...) end

---Are they the same?.
---@param a any
---@param b any
---@return boolean
function rawequal(a, b) end

---Its length.
---@param v table|string
---@return integer
function rawlen(v) end

---The arguments from the n-th on; with "#" their number.
---@param n integer|string
---@param ... any
---@return any ...
function select(n, ...) end

---The number that v is or spells; else nil.
---@param v any
---@param base? integer
---@return number?
function tonumber(v, base) end

---V as text; of tables and functions only what they are.
---@param v any
---@return string
function tostring(v) end

---"nil", "number", "string", "boolean", "table" or "function".
---@param v any
---@return string
function type(v) end
