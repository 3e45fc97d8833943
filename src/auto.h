/* What pool_create_auto chooses from beside fork and serial. */
#ifndef POOL_SRC_AUTO_H
#define POOL_SRC_AUTO_H

#include "forkpool.h"
#include "util.h"

struct pool__auto {
    /* Whether the program was started for this backend. */
    bool (*fits)(void);
    int (*create)(pool_t **pool, const pool_options_t *options);
};

POOL__SHARED void pool__auto_register(const struct pool__auto *other);

#endif
