/* How a rank in a worker talks to its peers: by frames to the host and from
 * it, in the middle of its call. */
#ifndef POOL_SRC_LINE_H
#define POOL_SRC_LINE_H

#include <sys/uio.h>

#include "comm.h"
#include "frame.h"

#define POOL__LINE_PIECES 3 /* of what is sent */

struct pool__line {
    void *worker;
    /* A frame at once, its payload in pieces. */
    void (*send)(void *worker, const struct pool__frame *frame,
        const struct iovec *pieces, int n);
    /* The next N bytes from the host. False: it wants no more of this call. */
    bool (*read)(void *worker, void *to, size_t n);
    uint64_t call;       /* id of the call that runs */
    uint64_t part_left;  /* bytes of a part that are to be read ... */
    size_t part_padding; /* and of its padding then */
    uint64_t *aside;     /* scatters that ended meanwhile; 0: all ends */
    size_t aside_count;
};

extern const struct pool__peers pool__line_peers;

/* Forget what was put aside. */
void pool__line_clear(struct pool__line *line);

#endif
