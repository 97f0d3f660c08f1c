/* llmd/prefix.h: block keys, and the index that knows which endpoint holds which blocks.
 *
 *   tokens ──► chain of 128-bit keys ──► index ──► who holds how many leading blocks, in which tier
 *                                          ▲
 *   engines' events (events.h) ────────────┘  one writer at a time; readers in any thread or process, without locks
 *
 * The index is exact: an endpoint's answer is the length of the longest unbroken prefix that it holds, holes and all.
 * It lives in memory of a fixed size that several processes may map; at the cap, what was hit or stored least recently
 * goes, leaves first. A writer may die at any instruction: readers go on, and the next writer calls
 * llmd_index_takeover. Functions marked (writer) must not run in two threads or processes at a time. */
#ifndef LLMD_PREFIX_H
#define LLMD_PREFIX_H

#include <llmd/alloc.h>
#include <llmd/error.h>
#include <llmd/pool.h>
#include <llmd/region.h>
#include <llmd/types.h>

LLMD_BEGIN

/* ---- native keys ------------------------------------------------------------------------------------------------- */

/* What separates prompts that must never share a block. An absent part is the same as an empty one. */
typedef struct llmd_chain_root {
  uint32_t size;
  uint32_t block_tokens;
  llmd_str model, lora, salt, tenant, modality;
} llmd_chain_root;

/* Where a chain stands. Keep it, and a conversation that grows hashes only what is new: whoever extends it vouches for
 * the tokens before. */
typedef struct llmd_chain {
  llmd_key parent; /* key of the last whole block, or the root */
  uint32_t block_tokens;
  uint32_t blocks; /* whole blocks behind parent */
} llmd_chain;

/* A string that is part of a block besides its tokens (image hash, salt), as engines publish it; the adapter's name is
 * not among them. Sorted by block; several of one block in the engine's order. */
typedef struct llmd_extra {
  uint32_t block; /* counted from the first block of this call */
  uint32_t reserved;
  llmd_str text;
} llmd_extra;

/* Stands *chain at the root. secret: LLMD_SECRET_BYTES. LLMD_E_INVALID: block_tokens 0. Any thread. */
LLMD_API int llmd_chain_begin(llmd_chain *chain, const uint8_t *secret, const llmd_chain_root *root);
/* Keys of the whole blocks of tokens[0..n), at most cap of them; returns how many. XXH3-128 with the secret (xxHash
 * 0.8, Collet): block i's key = H(H(tokens of i, extras of i) ‖ key of i - 1). LLMD_E_RANGE: extras out of order.
 * To go on, hand the tokens from chain->blocks * block_tokens onward. Any thread. */
LLMD_API int llmd_chain_extend(llmd_chain *chain, const uint8_t *secret, const uint32_t *tokens, size_t n,
                               const llmd_extra *extra, size_t n_extra, llmd_key *out, uint32_t cap);

/* ---- keys and names of other programs ---------------------------------------------------------------------------- */

#define LLMD_HASH_UNKNOWN 0u
#define LLMD_HASH_VLLM_SHA256 1u      /* pickle, the engine's default */
#define LLMD_HASH_VLLM_SHA256_CBOR 2u
#define LLMD_HASH_VLLM_XXHASH 3u      /* pickle, XXH3-128 */
#define LLMD_HASH_VLLM_XXHASH_CBOR 4u
#define LLMD_HASH_SGLANG 5u           /* SHA-256 of pages */
#define LLMD_HASH_DYNAMO 6u           /* XXH3-64, seed 1337; also Mooncake's recommendation */
#define LLMD_HASH_LLMD_CBOR_FNV 7u    /* llm-d's request keys */
#define LLMD_HASH_LLMD_XXH64 8u
#define LLMD_HASH_LLMD_APPROX 9u
#define LLMD_HASH_NATIVE 10u /* llmd_chain_begin makes these */

/* Name of a scheme ("vllm-sha256-cbor"); NULL for a number that is none. Static. Any thread. */
LLMD_API const char *llmd_hash_name(uint32_t scheme);
/* The scheme with that name, or with the one its engine uses ("sha256_cbor"). LLMD_HASH_UNKNOWN: none. Any thread. */
LLMD_API uint32_t llmd_hash_by_name(const char *name, size_t len);

/* Something in the prompt that is hashed besides tokens. */
#define LLMD_PART_MEDIA 0u  /* id: the engine's identifier of the image, sound... */
#define LLMD_PART_EMBEDS 1u /* id: the 32 bytes that vLLM makes of prompt embeddings; covers one block */
typedef struct llmd_hash_part {
  llmd_str id;
  uint64_t number; /* Dynamo's number for it; it has no use for id, the others none for number */
  int64_t offset;  /* its first token, counted from tokens[0]; negative when it began before */
  uint32_t length; /* in tokens */
  uint32_t kind;   /* LLMD_PART_* */
} llmd_hash_part;

/* How vLLM spells what it hashes besides tokens. */
#define LLMD_EXTRAS_TAGGED 0u  /* 0.32: ("lora", name, path), ("mm", id, offset), ("cache_salt", salt) */
#define LLMD_EXTRAS_OFFSETS 1u /* before: name, (id, offset), salt */
#define LLMD_EXTRAS_BARE 2u    /* about 0.18: name, id, salt */

/* What a scheme does not hash it ignores where its program does so too, and refuses otherwise. */
typedef struct llmd_hash_input {
  uint32_t size;
  uint32_t scheme;
  uint32_t block_tokens; /* at most 8,192 */
  uint32_t extras;       /* LLMD_EXTRAS_* */
  const uint32_t *tokens;
  size_t n_tokens;
  llmd_str model;           /* llm-d's schemes */
  llmd_str lora, lora_path; /* the path: vLLM, tagged */
  llmd_str salt;            /* Dynamo: the cache namespace */
  llmd_str seed;            /* vLLM: PYTHONHASHSEED, llm-d: hashSeed */
  uint32_t has_seed;        /* vLLM: 0 = PYTHONHASHSEED is not set */
  uint32_t parent_len;      /* of the digest before tokens[0]; 0 = they begin the prompt */
  const uint8_t *parent;
  const llmd_hash_part *parts; /* by offset */
  size_t n_parts;
} llmd_hash_input;

typedef struct llmd_digest {
  uint8_t bytes[32]; /* what the next block is chained to; a number is here with its highest byte first */
  uint32_t len;      /* 8, 16 or 32; 0 = the first block has no parent (SGLang, Dynamo) */
  uint32_t reserved;
  uint64_t name;     /* what an event carries: vLLM the digest's last eight bytes, SGLang the first, others the number */
  uint64_t local;    /* Dynamo: hash of the block alone (tokens_hash); else 0 */
} llmd_digest;

/* What the first block is chained to. LLMD_E_UNSUPPORTED: it cannot be known: vLLM's xxhash without a seed, and all of
 * vLLM before 0.32 (LLMD_EXTRAS_OFFSETS, _BARE) without one: then it is random. Any thread. */
LLMD_API int llmd_hash_root(const llmd_hash_input *in, llmd_digest *out);
/* The whole blocks of the tokens, at most cap (LLMD_HASH_LLMD_APPROX: the last, partial one too); returns how many.
 * LLMD_E_UNSUPPORTED: also when the scheme has no known place for salt, adapter or parts that are given.
 * LLMD_E_RANGE: parts out of order. LLMD_E_LIMIT: more than 64 parts or 64 KiB in a block. Allocates nothing; *out may
 * be written before a failure. Any thread. */
LLMD_API int llmd_hash_blocks(const llmd_hash_input *in, llmd_digest *out, uint32_t cap);

/* ---- the index --------------------------------------------------------------------------------------------------- */

/* Where a block lies, best first. A speculative block was sent there a moment ago and counts like GPU until it
 * expires. */
#define LLMD_TIER_GPU 0u
#define LLMD_TIER_CPU 1u
#define LLMD_TIER_DISK 2u
#define LLMD_TIER_REMOTE 3u
#define LLMD_TIER_SPECULATIVE 4u
#define LLMD_TIERS 5u
/* Not where it lies but whose it is: the part of a block that belongs to layers with a sliding window, of which an
 * endpoint may have two groups (llmd_index_row.window_blocks). It is stored, held and dropped like a tier of its own and
 * never counts as a block. */
#define LLMD_TIER_WINDOW 5u
#define LLMD_TIER_WINDOW_2 6u
#define LLMD_TIER_ANY 255u /* drop, clear: whatever tier */

/* Stands for all endpoints: a store they all can read (only LLMD_TIER_REMOTE). */
#define LLMD_INDEX_SHARED ((llmd_endpoint_id)0xffffffffffffffffu)

typedef struct llmd_index llmd_index;

/* 0 = the default in brackets. */
typedef struct llmd_index_options {
  uint32_t size;
  uint32_t rows;         /* [1024] endpoint slots, at most 16384 */
  uint64_t bytes;        /* [64 MiB] cap for all of it; about 12 bytes per block and endpoint when four share a block */
  const uint8_t *secret; /* LLMD_SECRET_BYTES random bytes, copied; NULL = derived from seed (tests, simulations) */
  uint64_t seed;
} llmd_index_options;

/* The index that belongs to a pool: made at first need in its region (llmd_region_options.index_bytes), the same for
 * all who ask, borrowed until the pool is closed. LLMD_E_FULL: no room in the region's state. */
LLMD_API int llmd_pool_index(llmd_pool *pool, llmd_index **out);

/* Bytes an index with these options (NULL = defaults) takes, at most options->bytes. 0 = impossible options. */
LLMD_API size_t llmd_index_size(const llmd_index_options *options);
/* Makes an empty index in mem (aligned to 64, llmd_index_size bytes). Whatever was there is lost. */
LLMD_API int llmd_index_format(void *mem, size_t len, const llmd_index_options *options);
/* A handle on the index in mem, which the caller keeps mapped (readable and writable, also for those who only read: a
 * query marks what it hit). alloc NULL = malloc. LLMD_E_MISMATCH names both layouts in err (may be NULL). */
LLMD_API int llmd_index_open(void *mem, size_t len, const llmd_allocator *alloc, llmd_index **out, llmd_err *err);
LLMD_API void llmd_index_close(llmd_index *index); /* NULL allowed; the index itself stays */
/* The secret its keys are made with. Borrowed from the index's memory. */
LLMD_API const uint8_t *llmd_index_secret(const llmd_index *index);
/* (writer) Before the first write of a new writer. 1: the last one died at work, and the books were made again from
 * what readers see; 0: all was in order. Negative: the memory is damaged. */
LLMD_API int llmd_index_takeover(llmd_index *index);

/* A block's place: worth something until the next call of a (writer) function on this index. */
typedef struct llmd_block {
  llmd_key key;
  uint32_t run, offset; /* the index's own numbers */
  uint32_t depth;       /* blocks before it */
  uint32_t reserved;
} llmd_block;

/* (writer) The block that the endpoint's engine calls `name`, or that other engines do when the endpoint told of none:
 * engines with one scheme and seed agree on names. LLMD_E_NONE: never heard of. */
LLMD_API int llmd_index_find(llmd_index *index, llmd_endpoint_id endpoint, uint64_t name, llmd_block *out);
/* (writer) n blocks in a row are on this endpoint in this tier: keys[], and the names its engine has for them (NULL =
 * none). parent: the block before keys[0] (NULL = keys[0] is the first of a prompt); last (may be NULL): the last one
 * stored. Blocks that are there already are only marked. Returns how many were stored: fewer than n when nothing could
 * be evicted (counted as dropped). A name the endpoint had for another block: the newest wins, counted.
 * LLMD_E_STALE: an older generation of the slot. LLMD_E_RANGE: slot or tier out of range. */
LLMD_API int llmd_index_store(llmd_index *index, llmd_endpoint_id endpoint, uint32_t tier, const llmd_block *parent,
                              const llmd_key *keys, const uint64_t *names, uint32_t n, llmd_block *last);
/* (writer) Blocks that the endpoint holds, known by name, are in this tier too. Returns how many these were. */
LLMD_API int llmd_index_hold(llmd_index *index, llmd_endpoint_id endpoint, uint32_t tier, const uint64_t *names,
                             uint32_t n);
/* (writer) They are there no more (LLMD_TIER_ANY: in no tier). Returns how many were held. */
LLMD_API int llmd_index_drop(llmd_index *index, llmd_endpoint_id endpoint, uint32_t tier, const uint64_t *names,
                             uint32_t n);
/* (writer) A request with this chain was just sent there: it holds the blocks as speculative until `until` (mono ns;
 * seen at ticks). Promises end in the order they were made, and a later one for the same blocks extends the earlier, so
 * give all the same time to live. At the cap of such promises the oldest ends early. */
LLMD_API int llmd_index_expect(llmd_index *index, llmd_endpoint_id endpoint, const llmd_key *keys, uint32_t n,
                               uint64_t until);
/* (writer) The endpoint holds nothing any more. Constant time, seen by readers at once; the memory comes back by
 * ticks, all cleared endpoints in one sweep. */
LLMD_API int llmd_index_clear(llmd_index *index, llmd_endpoint_id endpoint);
/* (writer) Ends promises, sweeps at most `budget` runs (0 = a slice of about 50 µs). Returns 1 while there is more to
 * sweep. */
LLMD_API int llmd_index_tick(llmd_index *index, uint64_t mono, uint32_t budget);

/* ---- what is known of an endpoint -------------------------------------------------------------------------------- */

#define LLMD_INDEX_DEGRADED 1u /* events are missing, and not repaired yet */
#define LLMD_INDEX_FED 2u      /* events arrive for it */
typedef struct llmd_index_row {
  uint32_t size;
  uint32_t flags;
  uint32_t block_tokens; /* learned from its engine; 0 = not known */
  uint32_t scheme;       /* LLMD_HASH_* of its engine's names, 0 = not known */
  /* Layers with a sliding window, in two groups at most: a prefix can only be used where the last so many blocks before
   * its end (all, when it is shorter) are in LLMD_TIER_WINDOW, LLMD_TIER_WINDOW_2 too. 0 = no such group. What is
   * promised, and what lies in the shared store, counts as held by all layers. */
  uint32_t window_blocks[2];
} llmd_index_row;
/* (writer) Replaces what is known. */
LLMD_API int llmd_index_describe(llmd_index *index, llmd_endpoint_id endpoint, const llmd_index_row *row);
/* Any thread. LLMD_E_NONE: nothing is known of it. */
LLMD_API int llmd_index_row_of(const llmd_index *index, llmd_endpoint_id endpoint, llmd_index_row *out);
/* Block sizes of the endpoints that are described, ascending, at most four. Returns how many. Any thread. */
LLMD_API int llmd_index_block_sizes(const llmd_index *index, uint32_t out[4]);
/* Names of adapters that events told of: a request for one of them has it as `lora` in its root, every other request
 * has none. learn: (writer), LLMD_E_FULL after 4,096. Any thread: is it one? 1 / 0. */
LLMD_API int llmd_index_learn_adapter(llmd_index *index, const char *name, size_t len);
LLMD_API int llmd_index_is_adapter(const llmd_index *index, const char *name, size_t len);

/* ---- asking ------------------------------------------------------------------------------------------------------ */

typedef struct llmd_hit {
  llmd_endpoint_id endpoint;
  uint32_t blocks;   /* length of the unbroken prefix it holds; with window_blocks, of the longest it can use */
  uint32_t lower[3]; /* of them: best tier CPU, disk, remote. The rest is GPU (or speculative) */
} llmd_hit;

/* Bytes a query needs, aligned to 8. One scratch per thread, zeroed before its first use and left to the queries. */
LLMD_API size_t llmd_index_scratch(const llmd_index *index);
/* Who holds leading blocks of the chain: each endpoint that holds one or more, once, in no order. *shared (may be
 * NULL) = blocks that every endpoint has from LLMD_INDEX_SHARED alone; endpoints that have just these are not listed.
 * Returns the number of hits, at most cap; room for as many as there are endpoints is always enough. Takes no lock,
 * allocates nothing, makes no system call. Any thread, beside the writer. */
LLMD_API int llmd_index_query(const llmd_index *index, void *scratch, const llmd_key *keys, uint32_t n, llmd_hit *out,
                              uint32_t cap, uint32_t *shared);

/* ---- figures, snapshots ------------------------------------------------------------------------------------------ */

typedef struct llmd_index_stats {
  uint32_t size;
  uint32_t rows;         /* endpoints with a live generation */
  uint64_t bytes, used;  /* all; in use now */
  uint64_t runs, blocks; /* distinct */
  uint64_t held;         /* (endpoint, tier, block) */
  uint64_t names;        /* engine names known */
  uint64_t sets;         /* distinct sets of holders kept */
  uint64_t dead;         /* cleared generations not swept yet */
  uint64_t evicted;      /* blocks gone at the cap */
  uint64_t dropped;      /* blocks not stored because nothing could go */
  uint64_t renamed;      /* names that came to mean another block on the same endpoint */
  uint64_t torn;         /* queries cut short because the writer kept changing what they read */
  uint64_t repaired;     /* takeovers from a writer that died at work */
} llmd_index_stats;
/* Fills *out as far as its size goes. Any thread; figures are as of the last write's end. */
LLMD_API int llmd_index_stats_get(const llmd_index *index, llmd_index_stats *out);

/* (writer) The whole index as bytes, with its secret: keep the file at mode 0600. */
LLMD_API int llmd_index_snapshot(llmd_index *index, llmd_write_fn write, void *ud);
/* (writer) Reads such bytes into an empty index (else LLMD_E_STATE), which takes their secret. Checked before anything
 * changes: LLMD_E_MISMATCH another version, LLMD_E_SYNTAX damaged, LLMD_E_FULL does not fit. */
LLMD_API int llmd_index_restore(llmd_index *index, const void *ptr, size_t len, llmd_err *err);

LLMD_END
#endif
