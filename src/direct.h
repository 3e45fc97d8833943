/* Workers without a forkserver: children of this process, which forks, signals
 * and reaps them itself. */
#ifndef POOL_SRC_DIRECT_H
#define POOL_SRC_DIRECT_H

#include "forkserver.h"

/* Make SERVER the hand on no process: a lifeline, the modules of now, and RUN
 * for workers that pool__direct_spawn makes. POOL_ENOTSUP without pidfds. On
 * failure nothing is left. */
int pool__direct_open(struct pool__forkserver *server, pool__worker_fn run);

/* Fork a worker; *pidfd is the caller's to close. 0 or -errno. */
int pool__direct_spawn(const struct pool__forkserver *server,
    const struct pool__worker_config *config, const int *fds, int nfds,
    pid_t *pid, int *pidfd);

/* Signal its process group, or it alone where its number may be another's. */
void pool__direct_signal(pid_t pid, int pidfd, int signal);

/* Where it has died: end what is left of its group and reap it. 0, and *status
 * is as of waitpid(2); -ECHILD: somebody else has reaped it; -EAGAIN: it lives
 * (or a debugger hasn't let go of it). */
int pool__direct_reap(pid_t pid, int pidfd, int *status);

#endif
