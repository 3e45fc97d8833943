/* What travels between a map and the workers that run chunks of it.
 *
 * Arguments: the head, then `count` items: a uint64_t with the size, the bytes
 * of one input, zeros up to a multiple of 8. The result: `count` replies, each
 * the head below, the bytes of a value or of a pool__error, zeros up to a
 * multiple of 8. So all that is aligned in an item is aligned here. A chunk of
 * one item is none of this: it is a plain task. */
#ifndef POOL_SRC_MAP_H
#define POOL_SRC_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "forkpool.h"

struct pool__map_head {
    uint64_t fn;    /* see pool__refer */
    uint32_t count; /* items that follow, >= 2 */
    uint32_t tries; /* how often an item that fails is run, >= 1 */
};

struct pool__map_reply {
    uint64_t size;
    uint32_t failed;   /* 1: the bytes are a pool__error */
    uint32_t attempts; /* how often it was run */
};

/* The task of every chunk. */
int pool__map_run(pool_call_t *call);

#endif
