/* What is said before a job ends, for MPI only says that it ends. */
#ifndef POOL_SRC_MPI_WORDS_H
#define POOL_SRC_MPI_WORDS_H

#include <mpi.h>
#include <stdint.h>

#include "forkpool_error.h"

/* Hear of exit(3) and of deadly signals in this process, until removed. */
void pool__words_install(MPI_Comm comm);
void pool__words_remove(void);

/* Functions of the pool's tasks run from here on, to end. */
void pool__words_begin(void);
void pool__words_end(void);
/* The number of the task that runs from now on. */
void pool__words_task(uint64_t number);

/* Say why on standard error, with rank and host, and end the job. */
_Noreturn void pool__words_abort(const char *format, ...) POOL_PRINTF(1, 2);

#endif
