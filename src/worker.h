/* The child's whole life. */
#ifndef POOL_SRC_WORKER_H
#define POOL_SRC_WORKER_H

#include "forkserver.h"

/* Serve until told to stop, then _exit: does not return. */
void pool__worker_main(const struct pool__worker_config *config,
    const struct pool__worker_fds *fds);

#endif
