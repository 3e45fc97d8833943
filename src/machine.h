/* What this process may use of the machine. */
#ifndef POOL_SRC_MACHINE_H
#define POOL_SRC_MACHINE_H

#include <stdbool.h>

/* CPUs by affinity and cgroup quota; at least 1. */
int pool__usable_cpus(void);

/* 0, or POOL_EMFILE where the descriptors of a pool with so many workers do
 * not fit under RLIMIT_NOFILE beside those that are open. */
int pool__check_descriptors(int workers);

/* How many threads this process has; 1 where that can't be told. */
int pool__thread_count(void);

/* Whether the kernel has killed for want of memory in this process's cgroup
 * since it was asked last. The first answer is false. */
bool pool__oom_kill_seen(void);

#endif
