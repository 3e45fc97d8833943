/* The functions that were submitted to a pool, numbered. */
#ifndef POOL_SRC_FUNCTION_H
#define POOL_SRC_FUNCTION_H

#include "forkpool.h"
#include "modules.h"
#include "util.h"

struct pool__function {
    pool_fn fn;
    bool known;       /* to the workers */
    uint32_t mean_ns; /* of its run time; 0: not measured */
};

struct pool__functions {
    struct pool__function *list;
    size_t count, capacity;
    uint32_t *index;   /* a hash table of number + 1 by address */
    size_t index_size; /* a power of two, or 0 */
    size_t unknown;    /* of them to the workers */
    pool_fn last;      /* that was looked up last */
    uint16_t last_number;
};

#define POOL__FUNCTIONS_MAX 65536u /* a frame's flags number them */

/* The number of fn, not NULL; asks `modules` about one that is new.
 * POOL_ENOMEM; POOL_ETOOBIG where there are too many. */
static inline int pool__function_number(struct pool__functions *functions,
    const struct pool__modules *modules, pool_fn fn);
void pool__functions_fini(struct pool__functions *functions);

/* Whether the workers know it. */
static inline bool
pool__function_known(const struct pool__functions *functions, int number)
{
    return functions->unknown == 0 || functions->list[number].known;
}

/* One that was not looked up last. */
int pool__function_find(struct pool__functions *functions,
    const struct pool__modules *modules, pool_fn fn);

static inline int
pool__function_number(
    struct pool__functions *f, const struct pool__modules *modules, pool_fn fn)
{
    return pool__likely(f->last == fn) ? f->last_number
                                       : pool__function_find(f, modules, fn);
}

#endif
