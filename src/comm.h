/* A group of ranks as one of them sees it. */
#ifndef POOL_SRC_COMM_H
#define POOL_SRC_COMM_H

#include "forkpool.h"
#include "proto.h"

/* What this rank gives in a collective. */
struct pool__gift {
    struct pool__offer offer;
    const uint64_t *sizes; /* little-endian; NULL: not told */
    size_t sizes_count;
    const void *data;
    size_t size;
};

/* How a rank talks to the others of a group of several. */
struct pool__peers {
    void (*give)(void *line, const struct pool__gift *gift);
    /* What comes next. 1: a part of so many bytes; 0: the end, and size is
     * that of the error, 0: none; negative: nothing comes any more. The bytes
     * are read before the next one is asked for. */
    int (*next)(void *line, uint64_t *size);
    void (*read)(void *line, void *to, size_t size);
};

/* What the last collective gave, until the next one has ended. */
struct pool__store {
    uint8_t *bytes;
    size_t used, capacity;
    pool_part_t *parts;
};

struct pool_comm {
    int rank, size;
    bool peers; /* its ranks may talk */
    /* 0, or why it must not be used here; NULL: it may. */
    int (*check)(const struct pool_comm *comm, const char *who);
    const struct pool__peers *line; /* NULL: it can't be more than one */
    void *line_data;
    uint64_t max_size; /* bytes that one rank may give */
    struct pool__store store;
};

/* Give back what a store holds. */
void pool__comm_clear_store(struct pool_comm *comm);
/* What the last collective gave is no longer needed. */
static inline void
pool__comm_clear(struct pool_comm *comm)
{
    if (pool__unlikely(comm->store.bytes != NULL || comm->store.parts != NULL))
        pool__comm_clear_store(comm);
}

#endif
