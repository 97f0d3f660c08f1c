/* llmd/llmd.h: everything an embedder needs. Plugin authors include <llmd/plugin.h> instead. */
#ifndef LLMD_LLMD_H
#define LLMD_LLMD_H

#include <llmd/alloc.h>
#include <llmd/error.h>
#include <llmd/events.h>
#include <llmd/log.h>
#include <llmd/metrics.h>
#include <llmd/pool.h>
#include <llmd/prefix.h>
#include <llmd/region.h>
#include <llmd/request.h>
#include <llmd/scheduler.h>
#include <llmd/types.h>
#include <llmd/version.h>

#endif
