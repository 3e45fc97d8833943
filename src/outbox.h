/* What one side sends the other, in the region: a ring that it writes and the
 * other may read.
 *
 * Invariant: the bytes [start, end) of the stream are kept. What is before
 * start stands in the pipe, or the other side took it from here. */
#ifndef POOL_SRC_OUTBOX_H
#define POOL_SRC_OUTBOX_H

#include "frame.h"
#include "region.h"

struct pool__outbox {
    uint8_t *ring; /* mapped twice */
    uint64_t size; /* of it, a power of two */
    uint64_t start, end;
    uint64_t skipped;
    struct pool__stream *told; /* the same three; only written */
    const uint64_t *taken;     /* bytes that the other side has, as it says */
};

/* The bytes before START are written over from now on. */
static inline void
pool__outbox_forget(struct pool__outbox *o, uint64_t start)
{
    o->start = start;
    pool__store(&o->told->start, start);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* before the bytes change */
}

/* What the other side took from here need not be written to the pipe. */
static inline void
pool__outbox_skip(struct pool__outbox *o)
{
    uint64_t taken = pool__min(pool__load(o->taken), o->end);

    if (taken <= o->start)
        return;
    o->skipped += taken - o->start;
    pool__store(&o->told->skipped, o->skipped);
    pool__outbox_forget(o, taken);
}

/* N bytes of the stream went past the ring, which is empty. */
static inline void
pool__outbox_pass(struct pool__outbox *o, uint64_t n)
{
    o->end += n;
    pool__outbox_forget(o, o->end); /* so that they don't seem to be kept */
    pool__store(&o->told->end, o->end);
}

/* Byte N of the stream. */
static inline uint8_t *
pool__outbox_at(const struct pool__outbox *o, uint64_t n)
{
    return o->ring + (n & (o->size - 1));
}

/* Where the next frame begins. */
static inline uint8_t *
pool__outbox_place(const struct pool__outbox *o)
{
    return pool__outbox_at(o, o->end);
}

/* So many bytes were put there. */
static inline void
pool__outbox_publish(struct pool__outbox *o, uint64_t n)
{
    o->end += n;
    pool__store(&o->told->end, o->end);
}

/* Bytes that are kept, and that there is room for. */
static inline uint64_t
pool__outbox_used(const struct pool__outbox *o)
{
    return o->end - o->start;
}

static inline uint64_t
pool__outbox_room(const struct pool__outbox *o)
{
    return o->size - pool__outbox_used(o);
}

/* Whether a payload was made here, where the next frame was to begin, and
 * something else has begun there since. In a ring that is mapped twice it can't
 * be moved a little. */
static inline bool
pool__outbox_misplaced(const struct pool__outbox *o, const uint8_t *payload)
{
    return payload >= o->ring && payload < o->ring + 2 * o->size &&
           payload != pool__outbox_place(o) + POOL__FRAME_HEADER;
}

#endif
