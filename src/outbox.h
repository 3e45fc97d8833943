/* A worker's replies in its region: a ring that it writes and the supervisor
 * may read.
 *
 * Invariant: the bytes [start, end) of the stream are kept. What is before
 * start stands in the pipe, or the supervisor took it from here. */
#ifndef POOL_SRC_OUTBOX_H
#define POOL_SRC_OUTBOX_H

#include "frame.h"
#include "region.h"

struct pool__outbox {
    struct pool__region *region;
    uint64_t start, end; /* as in the region; the region's are only written */
};

/* The bytes before START are written over from now on. */
static inline void
pool__outbox_forget(struct pool__outbox *o, uint64_t start)
{
    o->start = start;
    pool__store(&o->region->start, start);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* before the bytes change */
}

/* What the supervisor took from here need not be written to the pipe. */
static inline void
pool__outbox_skip(struct pool__outbox *o)
{
    uint64_t taken = pool__min(pool__load(&o->region->taken), o->end);

    if (taken <= o->start)
        return;
    pool__store(&o->region->skipped, o->region->skipped + (taken - o->start));
    pool__outbox_forget(o, taken);
}

/* Where the next frame begins. */
static inline uint8_t *
pool__outbox_place(const struct pool__outbox *o)
{
    return pool__reply_at(o->region, o->end);
}

/* Whether a payload was made here, where the next frame was to begin, and
 * something else has begun there since. In a ring that is mapped twice it can't
 * be moved a little. */
static inline bool
pool__outbox_misplaced(const struct pool__outbox *o, const uint8_t *payload)
{
    const uint8_t *ring = o->region->replies;

    return payload >= ring && payload < ring + 2 * POOL__REPLY_BUFFER &&
           payload != pool__outbox_place(o) + POOL__FRAME_HEADER;
}

#endif
