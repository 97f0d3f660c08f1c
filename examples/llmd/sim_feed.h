/* sim_feed.h: the wires that engines' events travel on, as the cluster sees them: live messages that take `event_lag`
 * and may be lost, and replays: a request that takes as long, and its answer.
 *
 *   engine's step ends ─► sim_feed_send ─► (lag) ─► sim_feed_arrive ─► router
 *                                                        │ asks
 *   engine ◄─ sim_feed_answer ◄─ (lag) ◄─────────────────┘
 *         └──────► (lag) ─► sim_feed_replay ─► router */
#ifndef SIM_FEED_H
#define SIM_FEED_H

#include <stdint.h>

#include "sim_cluster.h"

struct sim_feed;
struct sim_publisher;

/* config and router are borrowed. LLMD_E_NOMEM. */
int sim_feed_create(struct sim_feed **feed, const struct sim_config *config, const struct sim_router *router);
void sim_feed_destroy(struct sim_feed *feed); /* NULL is allowed */
struct sim_publisher *sim_feed_publisher(const struct sim_feed *feed, uint32_t engine);

/* All of these: LLMD_E_NOMEM, or what the router returned. */

/* What the engine has to tell goes out: 1: a message is on its way. */
int sim_feed_send(struct sim_feed *feed, uint32_t engine, double now);
/* The oldest message on its way is there, if it was not lost: 1: the router wants a replay. */
int sim_feed_arrive(struct sim_feed *feed, uint32_t engine, double now);
/* The engine has got the request for a replay. */
void sim_feed_answer(struct sim_feed *feed, uint32_t engine);
/* Its answer is there, all of it at once: 1: the router wants another one. */
int sim_feed_replay(struct sim_feed *feed, uint32_t engine, double now);
/* 1: the router wants a replay of *engine. Call until it returns 0. */
int sim_feed_tick(struct sim_feed *feed, double now, uint32_t *engine);

uint64_t sim_feed_lost(const struct sim_feed *feed);

#endif
