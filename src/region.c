/* Regions: made, mapped, unmapped. */
#define _GNU_SOURCE
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fdio.h"

int
pool__region_create(int *fd)
{
    int made = memfd_create("forkpool", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (made < 0)
        return -errno;
    *fd = pool__fd_above_standard(made);
    if (*fd < 0)
        return *fd;
    if (ftruncate(*fd, (off_t)sizeof(struct pool__region)) == 0 &&
        fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return 0;
    int error = errno;
    pool__close(fd);
    return -error;
}

struct pool__region *
pool__region_map(int fd)
{
    void *region = mmap(NULL, sizeof(struct pool__region),
        PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (region == MAP_FAILED)
        return NULL;
    (void)madvise(region, sizeof(struct pool__region), MADV_DONTFORK);
    return region;
}

void
pool__region_unmap(struct pool__region *region)
{
    if (region != NULL)
        munmap(region, sizeof *region);
}
