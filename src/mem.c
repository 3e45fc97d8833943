/* The one place that allocates, and cells of one size.
 *
 * Invariant: a cell is in use, on the free list, or between fresh and
 * fresh_end of the newest slab; the free list is empty whenever a fresh cell
 * is given out. */
#define _GNU_SOURCE
#include "mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SLAB_SIZE 65536u
#define SLAB_HEAD POOL__CACHE_LINE /* keeps cells on cache lines */
#define HUGE_SIZE (2u << 20)

long pool__mem_fail_after = -1;
long pool__mem_live;

static bool
injected_failure(void)
{
    if (pool__mem_fail_after < 0)
        return false;
    if (pool__mem_fail_after == 0)
        return true;
    pool__mem_fail_after--;
    return false;
}

static void
count(long change)
{
    __atomic_add_fetch(&pool__mem_live, change, __ATOMIC_RELAXED);
}

static void *
counted(void *block)
{
    if (block != NULL)
        count(1);
    return block;
}

void *
pool__malloc(size_t size)
{
    return injected_failure() ? NULL : counted(malloc(size != 0 ? size : 1));
}

void *
pool__zalloc(size_t size)
{
    return injected_failure() ? NULL : counted(calloc(1, size != 0 ? size : 1));
}

void *
pool__realloc(void *old, size_t size)
{
    if (old == NULL)
        return pool__malloc(size);
    return injected_failure() ? NULL : realloc(old, size != 0 ? size : 1);
}

void
pool__free(void *block)
{
    if (block != NULL)
        count(-1);
    free(block);
}

static void *
aligned(size_t alignment, size_t size)
{
    return injected_failure() ? NULL : counted(aligned_alloc(alignment, size));
}

static void *
malloc_advised(size_t size, int advice)
{
    if (size < HUGE_SIZE || size > SIZE_MAX - HUGE_SIZE)
        return pool__malloc(size);
    size = (size + HUGE_SIZE - 1) / HUGE_SIZE * HUGE_SIZE;
    void *block = aligned(HUGE_SIZE, size);
    if (block != NULL)
        (void)madvise(block, size, advice); /* a wish, not a need */
    return block;
}

void *
pool__malloc_large(size_t size)
{
    return malloc_advised(size, MADV_HUGEPAGE);
}

void *
pool__malloc_paged(size_t size)
{
    return malloc_advised(size, MADV_NOHUGEPAGE);
}

/* ADVICE on the whole pages of a block. */
static void
advise(void *block, size_t size, int advice)
{
    uintptr_t page = 4096, begin = ((uintptr_t)block + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)block + size) / page * page;

    if (begin < end)
        (void)madvise((void *)begin, end - begin, advice);
}

void
pool__populate(void *block, size_t size)
{
#ifdef MADV_POPULATE_WRITE
    advise(block, size, MADV_POPULATE_WRITE);
#else
    (void)block;
    (void)size;
#endif
}

void
pool__unpopulate(void *block, size_t size)
{
    advise(block, size, MADV_FREE);
}

void
pool__cells_init(struct pool__cells *cells, size_t cell_size)
{
    memset(cells, 0, sizeof *cells);
    cells->cell_size = cell_size;
}

void
pool__cells_fini(struct pool__cells *cells)
{
    while (cells->slabs != NULL) {
        void *older = *(void **)cells->slabs;
        pool__free(cells->slabs);
        cells->slabs = older;
    }
}

void *
pool__cells_refill(struct pool__cells *cells)
{
    if (cells->fresh == NULL ||
        (size_t)(cells->fresh_end - cells->fresh) < cells->cell_size) {
        char *slab = aligned(SLAB_HEAD, SLAB_SIZE);
        if (slab == NULL)
            return NULL;
        if (cells->slabs != NULL) /* more than a few: sixteen faults less */
            pool__populate(slab, SLAB_SIZE);
        *(void **)(void *)slab = cells->slabs;
        cells->slabs = slab;
        cells->fresh = slab + SLAB_HEAD;
        cells->fresh_end = slab + SLAB_SIZE;
    }
    void *cell = cells->fresh;
    cells->fresh += cells->cell_size;
    return cell;
}
