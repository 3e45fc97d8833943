/* The one place that allocates, and cells of one size. */
#ifndef POOL_SRC_MEM_H
#define POOL_SRC_MEM_H

#include <stddef.h>

#include "util.h"

/* malloc, calloc, realloc and free of the library. Tests make the nth
 * allocation fail through pool__mem_fail_after: -1 never, 0 the next one and
 * all after it. */
POOL__SHARED void *pool__malloc(size_t size);
POOL__SHARED void *pool__zalloc(size_t size);
void *pool__realloc(void *old, size_t size);
POOL__SHARED void pool__free(void *block);
extern long pool__mem_fail_after;
/* Blocks that are allocated and not freed: what a test compares. */
extern long pool__mem_live;

/* Large buffers: like pool__malloc, but aligned to 2 MiB and offered huge pages
 * where they are that large. Freed by pool__free. */
void *pool__malloc_large(size_t size);
/* The same in small pages, where touching a huge one would take too long. */
void *pool__malloc_paged(size_t size);

/* Have the pages of a block there before they are used, where the kernel can
 * do that. */
void pool__populate(void *block, size_t size);
/* What they hold is no longer wanted: the kernel may have them. */
void pool__unpopulate(void *block, size_t size);

/* Cells of one size, carved from slabs; a freed cell is the next one given
 * out. Slabs go back all together. */
struct pool__cells {
    void *free;  /* first free cell; each holds the next one's address */
    void *slabs; /* newest slab; each begins with the previous one's address */
    size_t cell_size;
    char *fresh, *fresh_end; /* part of the newest slab never given out */
};

void pool__cells_init(struct pool__cells *cells, size_t cell_size);
void pool__cells_fini(struct pool__cells *cells);
void *pool__cells_refill(struct pool__cells *cells);

static inline void *
pool__cell_alloc(struct pool__cells *cells)
{
    void *cell = cells->free;

    if (cell == NULL)
        return pool__cells_refill(cells);
    cells->free = *(void **)cell;
    return cell;
}

static inline void
pool__cell_free(struct pool__cells *cells, void *cell)
{
    *(void **)cell = cells->free;
    cells->free = cell;
}

#endif
