/* The child's whole life. */
#ifndef POOL_SRC_WORKER_H
#define POOL_SRC_WORKER_H

#include "forkserver.h"

/* How many pools this process is a worker of, one in the other; 0 in the
 * program. */
extern int pool__depth;

/* Serve until told to stop, then _exit: does not return. */
void pool__worker_main(const struct pool__worker_config *config,
    const struct pool__worker_fds *fds);

#endif
