/* Functions by number. Invariant: a function keeps its number for the life of
 * the pool; the index is at most half full. */
#include "function.h"

#include <string.h>

#include "error.h"
#include "mem.h"
#include "util.h"

static size_t
hash(pool_fn fn, size_t size)
{
    uint64_t h = (uint64_t)(uintptr_t)fn * UINT64_C(0x9e3779b97f4a7c15);

    return (size_t)(h >> 32) & (size - 1);
}

/* Where fn is, or the empty place where it belongs. */
static uint32_t *
place(const struct pool__functions *f, pool_fn fn)
{
    size_t i = hash(fn, f->index_size);

    while (f->index[i] != 0 && f->list[f->index[i] - 1].fn != fn)
        i = (i + 1) & (f->index_size - 1);
    return &f->index[i];
}

static int
grow(struct pool__functions *f)
{
    size_t capacity = f->capacity != 0 ? 2 * f->capacity : 16;
    struct pool__function *list =
        pool__realloc(f->list, capacity * sizeof *list);

    if (list == NULL)
        return POOL_ENOMEM;
    f->list = list;
    uint32_t *index = pool__zalloc(2 * capacity * sizeof *index);
    if (index == NULL)
        return POOL_ENOMEM;
    pool__free(f->index);
    f->index = index;
    f->index_size = 2 * capacity;
    f->capacity = capacity;
    for (size_t i = 0; i < f->count; i++)
        *place(f, list[i].fn) = (uint32_t)i + 1;
    return 0;
}

int
pool__function_find(
    struct pool__functions *f, const struct pool__modules *modules, pool_fn fn)
{
    uint32_t *at = f->index_size != 0 ? place(f, fn) : NULL;
    if (at == NULL || *at == 0) {
        if (f->count == POOL__FUNCTIONS_MAX)
            return pool__fail(
                POOL_ETOOBIG, "more than %u functions", POOL__FUNCTIONS_MAX);
        if (f->count == f->capacity && grow(f) < 0)
            return pool__fail(POOL_ENOMEM, "the table of functions");
        at = place(f, fn);
        bool known = pool__modules_know(modules, (uintptr_t)fn);
        f->list[f->count] = (struct pool__function){fn, known, 0};
        f->unknown += known ? 0 : 1;
        *at = (uint32_t)++f->count;
    }
    f->last = fn;
    f->last_number = (uint16_t)(*at - 1);
    return f->last_number;
}

void
pool__functions_fini(struct pool__functions *f)
{
    pool__free(f->list);
    pool__free(f->index);
    memset(f, 0, sizeof *f);
}
