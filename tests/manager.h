/* What the two halves of the manager's matrix share: manager_matrix.c, the
 * sweeps, and manager_peers.c, the methods of the reference. Public functions
 * alone, so that the same source is linked with and without MPI. */
#ifndef FORKPOOL_TESTS_MANAGER_H
#define FORKPOOL_TESTS_MANAGER_H

#include <stdbool.h>

#include "forkpool.h"

#define PATIENCE_MS 60000 /* a loaded machine does not fail a test */
#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A backend, as the program was told to use it. */
struct manager {
    const char *backend; /* serial, fork, auto, mpi */
    bool serial;         /* one rank, whatever number is asked for */
    pool_t *only;        /* the one pool that there may be; NULL: as many as
                            are made */
    int most;            /* workers of that one */
};

/* A pool with so many workers, to be given back; how many ranks it makes of
 * so many rows. */
pool_t *manager_open(const struct manager *m, int workers);
void manager_close(const struct manager *m, pool_t *pool);
size_t manager_ranks(const struct manager *m, int workers, size_t rows);

/* A case is good until a claim in it fails; the program goes on with the next
 * one. */
void case_begin(const char *format, ...) POOL_PRINTF(1, 2);
void case_end(void);
void case_claim(bool holds, const char *claim, const char *file, int line);
#define CLAIM(claim) case_claim((claim), #claim, __FILE__, __LINE__)

/* manager_peers.c: a case for each method of the reference. */
void manager_methods(const struct manager *m, int workers);

#endif
