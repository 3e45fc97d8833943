/* What travels from a scatter to the rank that runs a chunk of it. */
#ifndef POOL_SRC_SCATTER_H
#define POOL_SRC_SCATTER_H

#include "forkpool.h"

/* The arguments of a rank's task: this head, then the rows, where those of a
 * matrix begin at once, and those of a list RESIDUE bytes later, so that what
 * is aligned in the list is so in the chunk. What is common to all chunks went
 * before: see call.h. */
struct pool__chunk {
    uint64_t scatter; /* its number in the host process */
    uint32_t rank, ranks;
    uint64_t first, count; /* rows */
    uint64_t residue;      /* 0 to 7 */
};

/* The task of every rank. */
int pool__scatter_run(pool_call_t *call);

#endif
