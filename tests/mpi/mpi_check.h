/* What the programs under mpirun share. A check that fails ends the job. */
#ifndef FORKPOOL_TESTS_MPI_CHECK_H
#define FORKPOOL_TESTS_MPI_CHECK_H

#include <mpi.h>
#include <stdio.h>
#include <string.h>

#include "forkpool_mpi.h"

#define PATIENCE_MS 60000 /* a loaded machine does not fail a test */

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__,            \
                #condition, pool_errmsg());                                    \
            MPI_Abort(MPI_COMM_WORLD, 1);                                      \
        }                                                                      \
    } while (0)

#define CHECK_CODE(code, call)                                                 \
    do {                                                                       \
        int got_ = (call);                                                     \
        if (got_ != (code)) {                                                  \
            fprintf(stderr, "%s:%d: %s is %s, not %s (%s)\n", __FILE__,        \
                __LINE__, #call, pool_err_name(got_), pool_err_name(code),     \
                pool_errmsg());                                                \
            MPI_Abort(MPI_COMM_WORLD, 1);                                      \
        }                                                                      \
    } while (0)

#define CHECK_OK(call) CHECK_CODE(0, call)
#define CHECK_SAYS(text) CHECK(strstr(pool_errmsg(), text) != NULL)

/* A case: every rank prepares the options and creates; rank 0 runs it. */
struct mpi_case {
    const char *name;
    void (*run)(pool_t *pool, int workers);
    void (*prepare)(pool_options_t *options, int rank); /* NULL: defaults */
    int code; /* what creating gives, on every rank */
};

extern const struct mpi_case mpi_cases_basic[], mpi_cases_life[],
    mpi_cases_limits[], mpi_cases_sweep[], mpi_cases_comm[];

/* A file that tells ranks of one machine apart from the next: made by touch,
 * waited for by ranks and by rank 0. */
void mpi_touch(const char *name);
void mpi_await(const char *name);
/* How many bytes were appended to it. */
long mpi_size(const char *name);
void mpi_path(char *to, size_t size, const char *name);

#endif
