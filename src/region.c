/* Regions: made, mapped, unmapped. */
#define _GNU_SOURCE
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fdio.h"

int
pool__region_create(int *fd, size_t size)
{
    int made = memfd_create("forkpool", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (made < 0)
        return -errno;
    *fd = pool__fd_above_standard(made);
    if (*fd < 0)
        return *fd;
    if (ftruncate(*fd, (off_t)size) == 0 &&
        fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return 0;
    int error = errno;
    pool__close(fd);
    return -error;
}

/* The region and, behind it, its ring once more. */
#define MAPPED (sizeof(struct pool__region) + POOL__REPLY_BUFFER)

static int
map_at(uint8_t *at, size_t size, int fd, size_t offset)
{
    return mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
               (off_t)offset) == MAP_FAILED
               ? -errno
               : 0;
}

struct pool__region *
pool__region_map(int fd)
{
    size_t size = sizeof(struct pool__region);
    uint8_t *at =
        mmap(NULL, MAPPED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        return NULL;
    int rc = map_at(at, size, fd, 0);
    if (rc == 0)
        rc = map_at(at + size, POOL__REPLY_BUFFER, fd,
            offsetof(struct pool__region, replies));
    if (rc < 0) {
        munmap(at, MAPPED);
        errno = -rc;
        return NULL;
    }
    (void)madvise(at, MAPPED, MADV_DONTFORK);
    return (struct pool__region *)(void *)at;
}

void
pool__region_unmap(struct pool__region *region)
{
    if (region != NULL)
        munmap(region, MAPPED);
}
