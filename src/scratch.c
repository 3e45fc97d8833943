/* Scratch: pages of its own, unreserved, behind a record that is allocated. */
#define _GNU_SOURCE
#include "scratch.h"

#include <sys/mman.h>

#include "mem.h"

#define KEPT ((size_t)4 << 20) /* bytes that may stay in memory */

struct pool__scratch *
pool__scratch_new(size_t size, size_t least)
{
    struct pool__scratch *scratch = pool__malloc(sizeof *scratch);
    void *bytes = MAP_FAILED;

    if (scratch == NULL)
        return NULL;
    for (; bytes == MAP_FAILED && size >= least; size /= 2) {
        bytes = mmap(NULL, size, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        *scratch = (struct pool__scratch){bytes, size};
    }
    if (bytes != MAP_FAILED)
        return scratch;
    pool__free(scratch);
    return NULL;
}

void
pool__scratch_free(struct pool__scratch *scratch)
{
    if (scratch == NULL)
        return;
    (void)munmap(scratch->bytes, scratch->size);
    pool__free(scratch);
}

void
pool__scratch_trim(struct pool__scratch *scratch, size_t used)
{
    if (used > KEPT)
        (void)madvise(scratch->bytes, scratch->size, MADV_DONTNEED);
}
