/* A map's inputs: taken, encoded, formed into chunks, sent.
 *
 * A map is used by one thread at a time. Inputs are encoded in `scratch`, one
 * after the other, until their chunk is closed; then it is sent. A chunk that
 * the pool does not take yet keeps a copy of its bytes, and so do all after
 * it. Invariants: `chunks` are in the order of the inputs, what is sent comes
 * before what is not, and the open chunk after all of them. */
#ifndef POOL_SRC_MAP_FILL_H
#define POOL_SRC_MAP_FILL_H

#include "map.h"
#include "pool.h"
#include "scratch.h"

struct pool__map_chunk {
    struct pool__list node;
    pool_future_t *future; /* NULL: not sent */
    uint8_t *bytes;        /* of one that waits to be sent */
    size_t size;           /* of its arguments, so far */
    size_t count, taken;   /* items */
    bool settled;
    int code;            /* why all its items fail, or 0 */
    const uint8_t *data; /* once it has settled: what is left of the reply */
    size_t data_size;
};

struct pool_map {
    struct pool__core *core; /* held */
    pool_fn fn;
    uint64_t reference; /* to fn, for the workers */
    pool_input_fn input;
    void *data; /* of input */
    pool_task_options_t task;
    size_t chunksize;
    uint64_t ahead; /* inputs taken ahead of the results */
    uint64_t inputs, taken;
    struct pool__list chunks;     /* oldest first */
    struct pool__map_chunk *open; /* being filled, or NULL */
    size_t unsent;
    struct pool__scratch *scratch; /* what open's items are encoded in */
    size_t limit;                  /* bytes of a task's arguments */
    int refused; /* the pool took the last chunk: 0, or why not */
    bool ended;  /* no more inputs */
    int end;     /* what pool_map_next tells at the end, once */
    const pool_failure_t *last; /* of the item given last */
    pool_failure_t failure;
    struct pool__error error; /* its message */
    bool busy;                /* in a call, which may call back */
    bool freed;               /* by such a callback */
};

static inline struct pool__map_chunk *
pool__map_first(const struct pool_map *map)
{
    return pool__list_empty(&map->chunks) ? NULL
                                          : pool__list_entry(map->chunks.next,
                                                struct pool__map_chunk, node);
}

void pool__map_chunk_delete(struct pool__map_chunk *chunk);

/* Send what waits, as far as the pool takes it; where that is full, wait so
 * long for the first chunk. 0, or why no further. */
int pool__map_send_waiting(struct pool_map *map, int wait_ms);

/* Take the inputs that are due, and send the chunks that are full or must not
 * wait for more. first: the fill before pool_map returns. 0 or POOL_ENOMEM:
 * the inputs taken so far are kept. */
int pool__map_refill(struct pool_map *map, bool first);

#endif
