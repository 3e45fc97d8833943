/* Regions: made, mapped, unmapped. */
#define _GNU_SOURCE
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fdio.h"

/* What the host writes has its pages now: later, where memory is out, to touch
 * one would be SIGBUS. */
#define WRITTEN (POOL__PAGE_MAX + POOL__TASK_BUFFER)

static int
make_written(int fd)
{
    int rc;

    do
        rc = fallocate(fd, 0, 0, WRITTEN);
    while (rc < 0 && errno == EINTR);
    return rc;
}

int
pool__region_create(int *fd, size_t size)
{
    int made = memfd_create("forkpool", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (made < 0)
        return -errno;
    *fd = pool__fd_above_standard(made);
    if (*fd < 0)
        return *fd;
    if (ftruncate(*fd, (off_t)size) == 0 && make_written(*fd) == 0 &&
        fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return 0;
    int error = errno != ENOSPC ? errno : ENOMEM; /* it is no disk */
    pool__close(fd);
    return -error;
}

static int
map_at(void *at, size_t size, int fd, size_t offset)
{
    return mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
               (off_t)offset) == MAP_FAILED
               ? -errno
               : 0;
}

/* A ring of SIZE bytes, and once more behind it. */
static int
map_ring(uint8_t *at, size_t size, int fd, size_t offset)
{
    int rc = map_at(at, size, fd, offset);

    return rc == 0 ? map_at(at + size, size, fd, offset) : rc;
}

struct pool__region *
pool__region_map(int fd)
{
    struct pool__region *region = mmap(
        NULL, sizeof *region, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (region == MAP_FAILED)
        return NULL;
    int rc = map_at(region, POOL__PAGE_MAX, fd, 0);
    if (rc == 0)
        rc = map_ring(region->tasks, POOL__TASK_BUFFER, fd, POOL__PAGE_MAX);
    if (rc == 0)
        rc = map_ring(region->replies, POOL__REPLY_BUFFER, fd,
            POOL__PAGE_MAX + POOL__TASK_BUFFER);
    if (rc < 0) {
        pool__region_unmap(region);
        errno = -rc;
        return NULL;
    }
    (void)madvise(region, sizeof *region, MADV_DONTFORK);
    return region;
}

void
pool__region_unmap(struct pool__region *region)
{
    if (region != NULL)
        munmap(region, sizeof *region);
}
