/* The segment of a worker: behind the region, in the same memory, two areas
 * from which large arguments and into which large results go. Their pages exist
 * when they are first touched, and are used again.
 *
 * The host alone writes the arguments, the worker and its children the results.
 * Who owns an area at what time is told in docs/design.md. */
#ifndef POOL_SRC_SEGMENT_H
#define POOL_SRC_SEGMENT_H

#include <stdbool.h>

#include "region.h"

#define POOL__AREA ((size_t)64 << 20)      /* bytes of each of the two */
#define POOL__SEGMENT_AT ((size_t)2 << 20) /* in the memory; a huge page */
#define POOL__SEGMENT_END (POOL__SEGMENT_AT + 2 * POOL__AREA)

_Static_assert(
    POOL__REGION_SIZE <= POOL__SEGMENT_AT, "the region is in front of it");

struct pool__segment {
    uint8_t *arguments, *results; /* NULL: there is none */
};

/* Whether this process, in its limits and on its kernel, may have one more. */
bool pool__segment_affordable(void);
/* Map that of a region's memory; the host's is not inherited by its children.
 * False: it can't be, and *segment is empty. */
bool pool__segment_map(struct pool__segment *segment, int fd, bool host);
void pool__segment_unmap(struct pool__segment *segment);

/* Copy a payload into an area or out of one. */
void pool__segment_copy(void *to, const void *from, size_t size);

/* Give the pages of an area back, whatever they hold. Takes milliseconds. */
void pool__segment_give_back(uint8_t *area);

#endif
