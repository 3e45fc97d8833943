/* The child's whole life. */
#ifndef POOL_SRC_WORKER_H
#define POOL_SRC_WORKER_H

#include <sys/uio.h>

#include "forkserver.h"
#include "segment.h"

/* How many pools this process is a worker of, one in the other; 0 in the
 * program. */
POOL__SHARED extern int pool__depth;
/* Whether this is a worker whose memory is counted. */
extern bool pool__counted;

/* How a worker reaches its host. */
struct pool__worker_io {
    void *self;
    struct pool__segment segment; /* may be empty */
    /* Bytes read, at least one; 0: the host is gone; -ECANCELED: it wants no
     * more of this worker, and will say so again; or -errno. Blocks. */
    ssize_t (*read)(void *self, void *to, size_t n);
    /* All parts; uses up the array. 0 or -errno. Blocks. */
    int (*write)(void *self, struct iovec *parts, int count);
    /* This worker's life is over: does not return. */
    void (*leave)(void *self, int status);
    /* Bring region->cancel up to date; NULL: the host writes there. */
    void (*look)(void *self);
    /* See pool__call_resolve; NULL: addresses are the host's. */
    uintptr_t (*resolve)(uint64_t reference);
};

/* Serve until told to stop, then io->leave: does not return. region: shared
 * with the host, or this worker's own. */
POOL__SHARED void pool__worker_serve(const struct pool__worker_config *config,
    struct pool__region *region, const struct pool__worker_io *io);

/* The same in a process of its own, over descriptors; ends by _exit. */
void pool__worker_main(const struct pool__worker_config *config,
    const struct pool__worker_fds *fds);

#endif
