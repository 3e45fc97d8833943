/* Forkservers made ahead, for pools to come. */
#ifndef POOL_SRC_PREPARE_H
#define POOL_SRC_PREPARE_H

#include "worker.h"

/* The oldest prepared forkserver that lives, or a new one. 0 or -errno. */
int pool__prepared_take(struct pool__forkserver *server);

#endif
