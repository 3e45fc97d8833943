/* Small tools without state. */
#ifndef POOL_SRC_UTIL_H
#define POOL_SRC_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

/* For the libraries beside this one, not for programs. */
#define POOL__SHARED __attribute__((visibility("default")))

#define pool__likely(x) __builtin_expect(!!(x), 1)
#define pool__unlikely(x) __builtin_expect(!!(x), 0)
/* Each task comes through this function: the small ones of the same file that
 * it calls become part of it. */
#define pool__hot __attribute__((flatten))
/* And this one is no part of any: what is rare, beside what is common and
 * then needs no registers saved. */
#define pool__apart __attribute__((noinline))

#define pool__container(pointer, type, member)                                 \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define POOL__CACHE_LINE 64 /* bytes, of most processors */

/* Have so many bytes in the caches soon. Nothing need be there. */
static inline void
pool__fetch(const void *memory, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += POOL__CACHE_LINE)
        __builtin_prefetch((const void *)((uintptr_t)memory + i));
}

/* Read and write memory that another process uses too. */
#define pool__load(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define pool__store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

/* Positions in a stream have 64 bits on every machine. */
static inline uint64_t
pool__min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t
pool__max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Up to a multiple of 8: what stands behind is aligned. */
static inline size_t
pool__round8(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

/* Bytes are to be copied from SOURCE into BLOCK, behind REST bytes that belong
 * before them: where those begin, below POOL__FRONT. Then what is copied lies
 * on its page as it does at its source, or up to 7 bytes before that, since
 * both BLOCK and the beginning are aligned to 8. Where it lies 1 to 31 bytes
 * behind, `rep movsb`, with which libc and the kernel copy, takes ten to twenty
 * times as long on AMD's Zen 3: sourceware.org/bugzilla, 30994. A pipe's bytes
 * begin with a page, most of the time: a SOURCE of 0. */
#define POOL__FRONT 4096u
static inline size_t
pool__front(const void *block, size_t rest, uintptr_t source)
{
    return (source - (uintptr_t)block - rest) % POOL__FRONT & ~(size_t)7;
}

/* memmove of N bytes, at most so many, in place: a call costs more than they
 * do, and where there is none a caller need not save its registers. */
#define POOL__SHORT 80u
static inline void
pool__move_short(void *to, const void *from, size_t n)
{
    typedef uint64_t two __attribute__((vector_size(16)));
    uint8_t *put = to;
    const uint8_t *get = from;
    two a, b, c, d, e;

    if (pool__likely(n > 32)) {
        memcpy(&a, get, 16);
        memcpy(&b, get + 16, 16);
        memcpy(&d, get + n - 32, 16);
        memcpy(&e, get + n - 16, 16);
        if (n > 64) {
            memcpy(&c, get + 32, 16);
            memcpy(put + 32, &c, 16);
        }
        memcpy(put, &a, 16);
        memcpy(put + 16, &b, 16);
        memcpy(put + n - 32, &d, 16);
        memcpy(put + n - 16, &e, 16);
    } else if (n >= 16) {
        memcpy(&a, get, 16);
        memcpy(&e, get + n - 16, 16);
        memcpy(put, &a, 16);
        memcpy(put + n - 16, &e, 16);
    } else if (n >= 8) {
        uint64_t first, last;
        memcpy(&first, get, 8);
        memcpy(&last, get + n - 8, 8);
        memcpy(put, &first, 8);
        memcpy(put + n - 8, &last, 8);
    } else if (n >= 4) {
        uint32_t first, last;
        memcpy(&first, get, 4);
        memcpy(&last, get + n - 4, 4);
        memcpy(put, &first, 4);
        memcpy(put + n - 4, &last, 4);
    } else if (n != 0) {
        uint8_t first = get[0], middle = get[n / 2], last = get[n - 1];
        put[0] = first;
        put[n / 2] = middle;
        put[n - 1] = last;
    }
}

static inline void
pool__move(void *to, const void *from, size_t n)
{
    if (pool__likely(n <= POOL__SHORT))
        pool__move_short(to, from, n);
    else
        memmove(to, from, n);
}

/* Nanoseconds of the monotonic clock: jumps of the wall clock don't matter. */
static inline uint64_t
pool__now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* When a wait of so many ms from now on is over; below 0: never, which is
 * UINT64_MAX. */
static inline uint64_t
pool__end_ns(int timeout_ms)
{
    return timeout_ms < 0 ? UINT64_MAX
                          : pool__now_ns() + (uint64_t)timeout_ms * 1000000;
}

#endif
