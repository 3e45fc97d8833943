/* What this process may use of the machine. */
#ifndef POOL_SRC_MACHINE_H
#define POOL_SRC_MACHINE_H

/* CPUs by affinity and cgroup quota; at least 1. */
int pool__usable_cpus(void);

/* 0, or POOL_EMFILE where the descriptors of a pool with so many workers do
 * not fit under RLIMIT_NOFILE beside those that are open. */
int pool__check_descriptors(int workers);

#endif
