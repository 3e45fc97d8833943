/* Where a thread runs. */
#ifndef POOL_SRC_CPU_H
#define POOL_SRC_CPU_H

#include <sched.h>
#include <stdint.h>

/* Elsewhere it may take a system call, which a worker's seccomp may refuse. */
#if defined __x86_64__ || (__GLIBC__ == 2 && __GLIBC_MINOR__ >= 35)
#define POOL__CPU_KNOWN 1
#endif

/* The CPU that this thread is on, plus 1; 0: not known. */
static inline uint64_t
pool__cpu(void)
{
#ifdef POOL__CPU_KNOWN
    return (uint64_t)(sched_getcpu() + 1);
#else
    return 0;
#endif
}

#endif
