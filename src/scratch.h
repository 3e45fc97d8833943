/* A large place to write to that costs addresses, and memory only as far as it
 * is written: for data whose size is not known before it is there. */
#ifndef POOL_SRC_SCRATCH_H
#define POOL_SRC_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

struct pool__scratch {
    uint8_t *bytes; /* 8-aligned */
    size_t size;
};

/* SIZE bytes, or fewer where there is no more, but at least LEAST. NULL: out
 * of memory. */
struct pool__scratch *pool__scratch_new(size_t size, size_t least);
void pool__scratch_free(struct pool__scratch *scratch);

/* It was written up to USED and is not needed now: give much of it back. */
void pool__scratch_trim(struct pool__scratch *scratch, size_t used);

#endif
