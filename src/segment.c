/* Segments: mapped, and their pages given back.
 *
 * Shared memory for which the kernel refuses a page raises SIGBUS where it is
 * touched, in the host too where a worker has thrown its pages away. It does so
 * where memory is never promised twice, and before Linux 5.2 where little is
 * free: there, no segment. Elsewhere it is like memory of the process's own. */
#define _GNU_SOURCE
#include "segment.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#if defined __SSE2__
#include <emmintrin.h>
#endif

#include "fdio.h"

#define BOTH (2 * POOL__AREA)
/* More than most caches hold: nothing of it would be there when it is read. */
#define PAST_CACHES ((size_t)32 << 20)

static bool
unlimited(int resource, rlim_t needed)
{
    struct rlimit limit;

    return getrlimit((__rlimit_resource_t)resource, &limit) == 0 &&
           limit.rlim_cur >= needed;
}

/* Since 5.2 the guess refuses a page to nobody (mm/util.c,
 * __vm_enough_memory). */
static bool
guesses_kindly(void)
{
    struct utsname system;
    int major = 0, minor = 0;

    return uname(&system) == 0 &&
           sscanf(system.release, "%d.%d", &major, &minor) == 2 &&
           (major > 5 || (major == 5 && minor >= 2));
}

/* Whether the kernel may refuse a page (vm.overcommit_memory). */
static bool
may_refuse(void)
{
    char mode = '2';
    int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);

    if (fd >= 0 && pool__read(fd, &mode, 1) != 1)
        mode = '2';
    if (fd >= 0)
        pool__close(&fd);
    return mode != '1' && (mode != '0' || !guesses_kindly());
}

/* A program that has a limit of address space counts on what it has left; the
 * limit of files would raise a signal when one is made so large. */
bool
pool__segment_affordable(void)
{
    return sizeof(void *) >= 8 && unlimited(RLIMIT_AS, RLIM_INFINITY) &&
           unlimited(RLIMIT_FSIZE, POOL__SEGMENT_END) && !may_refuse();
}

bool
pool__segment_map(struct pool__segment *segment, int fd, bool host)
{
    uint8_t *at = mmap(NULL, BOTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
        (off_t)POOL__SEGMENT_AT);

    *segment = (struct pool__segment){0};
    if (at == MAP_FAILED)
        return false;
    /* Where memory is locked its pages were made, and can't be given back. */
    if (madvise(at, BOTH, MADV_REMOVE) < 0) {
        munmap(at, BOTH);
        (void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
            (off_t)POOL__SEGMENT_AT, (off_t)BOTH);
        return false;
    }
    if (host)
        (void)madvise(at, BOTH, MADV_DONTFORK);
    (void)madvise(at, BOTH, MADV_DONTDUMP); /* a core would have it whole */
    (void)madvise(at, BOTH, MADV_HUGEPAGE); /* a wish, not a need */
    *segment = (struct pool__segment){at, at + POOL__AREA};
    return true;
}

void
pool__segment_unmap(struct pool__segment *segment)
{
    if (segment->arguments != NULL)
        munmap(segment->arguments, BOTH);
    *segment = (struct pool__segment){0};
}

#if defined __SSE2__
/* To a multiple of 16; what is overwritten is not read first. */
static void
copy_past_caches(uint8_t *to, const uint8_t *from, size_t size)
{
    __m128i *end = (__m128i *)(void *)(to + size);

    for (__m128i *at = (__m128i *)(void *)to; at != end; at++, from += 16)
        _mm_stream_si128(
            at, _mm_loadu_si128((const __m128i *)(const void *)from));
    _mm_sfence();
}
#endif

void
pool__segment_copy(void *to, const void *from, size_t size)
{
    size_t past = 0;

#if defined __SSE2__
    if (size >= PAST_CACHES && (uintptr_t)to % sizeof(__m128i) == 0) {
        past = size / sizeof(__m128i) * sizeof(__m128i);
        copy_past_caches(to, from, past);
    }
#endif
    memcpy((uint8_t *)to + past, (const uint8_t *)from + past, size - past);
}

void
pool__segment_give_back(uint8_t *area)
{
    (void)madvise(area, POOL__AREA, MADV_REMOVE);
}
