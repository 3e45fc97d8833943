/* Segments: mapped, and their pages given back.
 *
 * Shared memory for which the kernel can't find a page raises SIGBUS where it
 * is touched, in the host too where a worker has thrown its pages away. That
 * happens where memory is never promised twice: there, no segment. Elsewhere
 * it is like memory of the process's own. */
#define _GNU_SOURCE
#include "segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "fdio.h"

#define BOTH (2 * POOL__AREA)

static bool
unlimited(int resource, rlim_t needed)
{
    struct rlimit limit;

    return getrlimit((__rlimit_resource_t)resource, &limit) == 0 &&
           limit.rlim_cur >= needed;
}

/* Whether the kernel promises memory only once; also where it doesn't say. */
static bool
strict_commit(void)
{
    char mode = '2';
    int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return true;
    if (pool__read(fd, &mode, 1) != 1)
        mode = '2';
    pool__close(&fd);
    return mode == '2';
}

/* A program that has a limit of address space counts on what it has left; the
 * limit of files would raise a signal when one is made so large. */
bool
pool__segment_affordable(void)
{
    return sizeof(void *) >= 8 && unlimited(RLIMIT_AS, RLIM_INFINITY) &&
           unlimited(RLIMIT_FSIZE, POOL__SEGMENT_END) && !strict_commit();
}

bool
pool__segment_map(struct pool__segment *segment, int fd, bool host)
{
    uint8_t *at = mmap(NULL, BOTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
        (off_t)POOL__SEGMENT_AT);

    *segment = (struct pool__segment){0};
    if (at == MAP_FAILED)
        return false;
    if (host)
        (void)madvise(at, BOTH, MADV_DONTFORK);
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

void
pool__segment_give_back(const struct pool__segment *segment)
{
    (void)madvise(segment->arguments, BOTH, MADV_REMOVE);
}
