/* pool_create_auto: the backend that fits.
 *
 * A library that is linked beside this one, libforkpool-mpi, registers itself
 * in its constructor, before the program runs. */
#include "auto.h"

#include "worker.h"

static const struct pool__auto *registered;

void
pool__auto_register(const struct pool__auto *other)
{
    registered = other;
}

int
pool_create_auto(pool_t **pool, const pool_options_t *options)
{
    pool_options_t o = POOL_OPTIONS_INIT;

    if (options != NULL && options->size != sizeof o)
        return pool_create(pool, options); /* which says what is wrong */
    if (options != NULL)
        o = *options;
    o.backend = POOL_FORK;
    if (pool__depth == 0 && registered != NULL && registered->fits())
        return registered->create(pool, &o);
    if (o.workers == 1)
        o.backend = POOL_SERIAL;
    return pool_create(pool, &o);
}
