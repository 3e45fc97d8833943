/* Scatters whose ranks talk: a function runs in each rank with its group, and
 * returns 0 or the number of the line that it did not like. */
#ifndef FORKPOOL_TESTS_PEERS_H
#define FORKPOOL_TESTS_PEERS_H

#include "drives.h"

#include <string.h>

typedef int (*peer_fn)(pool_comm_t *comm, void *shared);

struct peer {
    uint64_t fn, shared;
};

/* In a rank: go on only where it holds. */
#define NEED(holds)                                                            \
    do {                                                                       \
        if (!(holds))                                                          \
            return __LINE__;                                                   \
    } while (0)

static inline int
peer_build(pool_call_t *call, void **model)
{
    static struct peer peer;

    *model = &peer;
    return pool_call_args(call, "tt", &peer.fn, &peer.shared);
}

static inline int
peer_execute(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    const struct peer *peer = model;
    pool_comm_t *comm = pool_call_comm(call);
    double first = rows->values[0];

    int line =
        ((peer_fn)(uintptr_t)peer->fn)(comm, (void *)(uintptr_t)peer->shared);
    if (line != 0)
        return pool_call_fail(call, line, "rank %d, line %d: %s",
            pool_comm_rank(comm), line, pool_errmsg());
    if (rows->values[0] != first || first != (double)rows->first)
        return pool_call_fail(call, __LINE__, "the rows have moved");
    return pool_call_return(call, "i", pool_comm_rank(comm));
}

/* A job of N rows, with flags; buffer: of 32 bytes, lives until it is given. */
static inline pool_job_t
peer_job(peer_fn fn, void *shared, size_t n, unsigned char *buffer)
{
    static const double values[] = {
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    pool_job_t job = POOL_JOB_INIT;

    ck_assert_int_eq(pool_encode(buffer, 32, &job.build_arguments_size, "tt",
                         ADDRESS(fn), ADDRESS(shared)),
        0);
    job.build = peer_build;
    job.build_arguments = buffer;
    job.execute = peer_execute;
    job.rows = n;
    job.columns = 1;
    job.values = values;
    job.flags = POOL_JOB_PEERS;
    return job;
}

static inline pool_scatter_t *
peers_start(pool_t *pool, peer_fn fn, void *shared, size_t n)
{
    unsigned char buffer[32];
    pool_job_t job = peer_job(fn, shared, n, buffer);
    pool_scatter_t *s = NULL;

    ck_assert_msg(pool_scatter(pool, &s, &job) == 0, "%s", pool_errmsg());
    return s;
}

/* The code of a rank, once it has settled. */
static inline int
peer_code(const struct drive *d, pool_scatter_t *s, int rank)
{
    pool_future_t *f = pool_scatter_future(s, rank);

    ck_assert_ptr_nonnull(f);
    return drive_error(d, f);
}

/* All ranks must succeed. */
static inline void
peers_end(const struct drive *d, pool_scatter_t *s)
{
    for (int i = 0; pool_scatter_future(s, i) != NULL; i++) {
        int rc = peer_code(d, s, i);
        const pool_failure_t *failure =
            pool_future_failure(pool_scatter_future(s, i));
        ck_assert_msg(rc == 0, "rank %d: %d: %s", i, rc,
            failure != NULL ? failure->message : "");
    }
    pool_scatter_free(s);
}

static inline void
peers_run(
    const struct drive *d, pool_t *pool, peer_fn fn, void *shared, size_t n)
{
    peers_end(d, peers_start(pool, fn, shared, n));
}

#endif
