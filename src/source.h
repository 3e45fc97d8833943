/* Where a worker's tasks come from: the ring in its region, and the pipe. It
 * sleeps in a read of the pipe, and there alone. */
#ifndef POOL_SRC_SOURCE_H
#define POOL_SRC_SOURCE_H

#include "region.h"
#include "spin.h"
#include "ticks.h"
#include "worker.h"

struct pool__source {
    struct pool__region *region;
    const struct pool__worker_io *io;
    uint64_t taken; /* bytes of the stream, wherever they came from */
    uint64_t piped; /* bytes that came over the pipe, some of them again */
    struct pool__spin spin;
};

/* Have the next bytes of the stream, N at most. Blocks until there are some.
 * 0: the host wants no more of this worker; below 0: it is gone. */
ssize_t pool__source_read(struct pool__source *source, void *to, size_t n);

/* Look for more for as long as the host says, which may be not at all. False:
 * nothing came. */
bool pool__source_look(struct pool__source *source, struct pool__ticks *ticks);

/* Whether there are some now. Never where the region is not the host's too. */
static inline bool
pool__source_has_more(const struct pool__source *source)
{
    return pool__load(&source->region->task.end) > source->taken;
}

#endif
