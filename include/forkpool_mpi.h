/* forkpool over MPI: the same pool, with its workers on many machines.
 *
 * Link with libforkpool-mpi (pkg-config forkpool-mpi) and start the program
 * with `mpirun -n K`: rank 0 runs the program, the other ranks are its
 * workers. Every rank must run the same build on machines of one kind.
 *
 * What differs from a pool of forked workers
 * - A rank that dies, or a task that calls exit, ends the whole job: MPI
 *   aborts it. The library says on standard error what happened first.
 * - No rank can be killed. A task past its deadline, or one that was
 *   cancelled while it runs, settles at once; its rank is used again when the
 *   function has returned (models are given back then, and the finalizer
 *   runs). A function that is still running a kill_grace_ms after pool_destroy
 *   began (at least 100 ms) ends the job, with a word about it.
 * - The pool is driven by the caller. POOL_ENOTSUP: host and thread drive,
 *   POOL_START_FORK, pool_fd, captured output, limits on a worker's memory,
 *   more than one pool at a time.
 * - A rank is given one task at a time. A failure's pid is that of the rank's
 *   process, on its own machine.
 * - MPI belongs to the thread that created the pool. */
#ifndef FORKPOOL_MPI_H
#define FORKPOOL_MPI_H

#include "forkpool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Called by every rank: rank 0 returns with a pool of K - 1 workers (of K = 1:
 * a serial one); on the others it serves until that pool has been destroyed
 * and then returns 0 with NULL in *pool. MPI is initialised where the program
 * has not done so, and then finalised when the pool ends; that can happen only
 * once in a process.
 * pool:    out; NULL on ranks that have served.
 * options: rank 0's count; workers may be 0 or at most K - 1 (of K = 1: 1).
 * Errors: those of pool_create; POOL_EINVAL on every rank, where one runs
 *   another build of the program (the message names the rank, its host and
 *   the program), or workers is above K - 1; POOL_ENOTSUP (see above; MPI was
 *   finalised before).
 * Ownership: rank 0 ends it with pool_destroy; until then the other ranks do
 * not return. Thread: the calling one. Blocks: until all ranks are there; on
 * the others until the end. Semantics: mpi4py.futures' MPICommExecutor. */
POOL_API int pool_mpi_create(pool_t **pool, const pool_options_t *options);

#ifdef __cplusplus
}
#endif
#endif
