/* The memory that one worker shares with the supervisor: claims, the running
 * task, and the buffers of what the two send each other. docs/design.md tells
 * how each is used.
 *
 * Only the claim words and `reader` are written by both. The supervisor treats
 * all of it as what a stranger wrote: it copies before it looks. */
#ifndef POOL_SRC_REGION_H
#define POOL_SRC_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

#define POOL__RING 4096u                /* tasks that may be sent ahead */
#define POOL__PAGE_MAX 65536            /* the largest page that Linux has */
#define POOL__REPLY_BUFFER (512u << 10) /* bytes: those of a full ring */
#define POOL__TASK_BUFFER (256u << 10)

/* A stream of bytes, by numbers, as its writer tells. */
struct pool__stream {
    uint64_t start;   /* the first byte that is kept */
    uint64_t end;     /* one past the last published byte */
    uint64_t skipped; /* bytes that were taken from here, and so not written to
                         the pipe */
};

/* How a worker comes by its tasks. */
enum pool__reader {
    POOL__READER_PIPE,   /* it knows the pipe alone */
    POOL__READER_SLEEPS, /* in a read of the pipe, after which it looks here */
    POOL__READER_LOOKS   /* here before it sleeps, or has been woken for that */
};

struct pool__region {
    /* written by the worker alone: */
    _Alignas(64) struct pool__stream reply;
    uint64_t running;                 /* ordinal of the running task; 0: none */
    uint64_t started_ns;              /* when it was claimed, monotonic clock */
    uint64_t rss;                     /* bytes resident after the last task */
    uint64_t mapped;                  /* 1: it has mapped its segment */
    _Alignas(64) uint64_t task_taken; /* bytes of tasks that it has */
    uint64_t reader; /* enum pool__reader, which the supervisor changes too */
    uint64_t cpu;    /* it was on when it took some, plus 1; 0: not known */
    /* written by the supervisor alone: */
    _Alignas(64) struct pool__stream task;
    _Alignas(64) uint64_t cancel; /* ordinal that is asked to stop */
    uint64_t spin_ns;     /* how long to look for more before sleeping */
    uint64_t looks;       /* 1: it looks at reply.end: no pipe is needed */
    uint64_t reply_taken; /* bytes of replies that it has */
    uint64_t fetched;     /* results that it has copied out of the segment */
    _Alignas(64) uint64_t claims[POOL__RING];
    uint8_t unused[POOL__PAGE_MAX - 4 * 64 - POOL__RING * sizeof(uint64_t)];
    /* Rings: byte n of a stream is at n % of its size. Each is mapped twice,
     * one behind the other, so that what wraps lies in one piece. It begins
     * with a page of the file, whatever a page's size is; where the whole is
     * mapped is the kernel's choice. */
    uint8_t tasks[2 * POOL__TASK_BUFFER];
    uint8_t replies[2 * POOL__REPLY_BUFFER];
};

_Static_assert(offsetof(struct pool__region, tasks) == POOL__PAGE_MAX &&
                   POOL__TASK_BUFFER % POOL__PAGE_MAX == 0 &&
                   POOL__REPLY_BUFFER % POOL__PAGE_MAX == 0,
    "each ring is whole pages");

/* Bytes of the memory that it is a mapping of. */
#define POOL__REGION_SIZE                                                      \
    ((size_t)POOL__PAGE_MAX + POOL__TASK_BUFFER + POOL__REPLY_BUFFER)

/* Make a region: a descriptor of SIZE bytes, POOL__REGION_SIZE or more, sealed
 * against resizing. fd: out. 0 or -errno. */
POOL__SHARED int pool__region_create(int *fd, size_t size);
/* Map one for this process alone, not for its children; NULL and errno where
 * that fails. */
POOL__SHARED struct pool__region *pool__region_map(int fd);
POOL__SHARED void pool__region_unmap(struct pool__region *region);

/* A byte of a stream that is kept, and those after it. */
static inline uint8_t *
pool__task_at(struct pool__region *region, uint64_t n)
{
    return region->tasks + n % POOL__TASK_BUFFER;
}

static inline uint8_t *
pool__reply_at(struct pool__region *region, uint64_t n)
{
    return region->replies + n % POOL__REPLY_BUFFER;
}

/* A claim word is the highest ordinal decided there, and how in bit 0. */
static inline uint64_t *
pool__claim_word(struct pool__region *region, uint64_t ordinal)
{
    return &region->claims[ordinal % POOL__RING];
}

static inline bool
pool__claim_decide(uint64_t *word, uint64_t seen, uint64_t decision)
{
    return __atomic_compare_exchange_n(
        word, &seen, decision, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* The worker takes a task. False: the supervisor has taken it back. */
static inline bool
pool__claim(struct pool__region *region, uint64_t ordinal)
{
    uint64_t *word = pool__claim_word(region, ordinal);
    uint64_t seen = pool__load(word);

    return seen >> 1 < ordinal &&
           pool__claim_decide(word, seen, ordinal << 1 | 1);
}

/* The supervisor takes a task back. False: the worker has claimed it. */
static inline bool
pool__claim_recall(struct pool__region *region, uint64_t ordinal)
{
    uint64_t *word = pool__claim_word(region, ordinal);
    uint64_t seen = pool__load(word);

    return seen >> 1 < ordinal && pool__claim_decide(word, seen, ordinal << 1);
}

/* Whether the worker has claimed a task that was not recalled. */
static inline bool
pool__claimed(struct pool__region *region, uint64_t ordinal)
{
    return pool__load(pool__claim_word(region, ordinal)) >> 1 >= ordinal;
}

#endif
