/* Workers without a forkserver: children of this process, which forks, signals
 * and reaps them itself. */
#ifndef POOL_SRC_DIRECT_H
#define POOL_SRC_DIRECT_H

#include "forkserver.h"

/* Make SERVER the hand on no process: a lifeline, the modules of now, and a
 * maker whose workers run RUN. POOL_ENOTSUP without pidfds. On failure nothing
 * is left. */
int pool__direct_open(struct pool__forkserver *server, pool__worker_fn run);

#endif
