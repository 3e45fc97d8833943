/* Numbers of several ranks made one, element by element. */
#ifndef POOL_SRC_FOLD_H
#define POOL_SRC_FOLD_H

#include "proto.h"

/* into[i] = into[i] op with[i] for n numbers, as offer says; neither need be
 * aligned, and they do not overlap. */
void pool__fold(
    const struct pool__offer *offer, void *into, const void *with, size_t n);

#endif
