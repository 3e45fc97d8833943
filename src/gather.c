/* Gather: waiting for the chunks of a scatter, and their results in rank order.
 *
 * Invariant: results are written by these functions alone, so they stand still
 * between two of them, also where another thread drives the pool. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "owner.h"
#include "scatter_host.h"

/* ---- waiting ------------------------------------------------------------ */

/* Whether this thread is in a hook of the scatter. */
static bool
in_own_hook(const struct pool_scatter *s)
{
    return s->in_hook && s->core->thread == pool__thread();
}

/* All have settled and the program has heard so, or hears the last of it. */
static bool
is_complete(void *scatter)
{
    struct pool_scatter *s = scatter;

    return s->freed || (pool__scatter_settled(s) && !pool__scatter_untold(s) &&
                           (!s->in_hook || in_own_hook(s)));
}

/* Write what has come since the last time. */
static void
collect(struct pool_scatter *s)
{
    struct pool_results *r = &s->results;

    for (; s->gathered < s->settled; s->gathered++) {
        size_t rank = s->order[s->gathered];
        pool__scatter_fill(s, rank, &r->ranks[rank]);
        r->failed += r->ranks[rank].error != 0;
    }
}

static int
gather(struct pool_scatter *s, int timeout_ms, pool_results_t **results)
{
    static const char who[] = "pool_gather";
    int rc = pool__check_timeout(timeout_ms, who);

    if (rc == 0 && s->core->pool != NULL)
        rc = pool__drive(s->core->pool, is_complete, s, timeout_ms, who);
    if (rc < 0 && rc != POOL_ETIMEDOUT)
        return rc;
    if (s->freed)
        return pool__fail(
            POOL_ECANCELED, "%s: the scatter was freed meanwhile", who);
    collect(s);
    *results = &s->results;
    if (rc == 0 && s->stop != 0)
        rc = pool__fail(s->stop, "%s: job.settled returned %d", who, s->stop);
    return rc;
}

int
pool_gather(pool_scatter_t *s, int timeout_ms, pool_results_t **results)
{
    if (s == NULL || results == NULL)
        return pool__fail(POOL_EINVAL, "pool_gather: %s is NULL",
            s == NULL ? "scatter" : "results");
    int rc = pool__enter(s->core, "pool_gather");
    if (rc < 0)
        return rc;
    struct pool__core *core = s->core;
    s->job.extra.refs++; /* a hook may free it */
    rc = gather(s, timeout_ms, results);
    pool__extra_unref(&s->job.extra);
    pool__leave(core);
    return rc;
}

/* ---- results --------------------------------------------------------------
 */

int
pool_local_results(pool_t *pool, const pool_results_t *results,
    const pool_local_results_t **array, size_t *count)
{
    int rc = pool__enter_pool(pool, "pool_local_results");

    if (rc < 0)
        return rc;
    pool__leave(pool->core);
    if (results == NULL || array == NULL || count == NULL)
        return pool__fail(POOL_EINVAL, "pool_local_results: %s is NULL",
            results == NULL ? "results"
            : array == NULL ? "array"
                            : "count");
    *array = results->ranks;
    *count = results->count;
    return 0;
}

size_t
pool_results_failed(const pool_results_t *results)
{
    return results != NULL ? results->failed : 0;
}

/* ---- concatenation ---------------------------------------------------- */

/* What a rank returned that is no matrix of its rows; the first one is told of,
 * the others are counted. */
struct misfit {
    size_t count;
    char first[160];
};

/* The doubles that a rank returned; NULL where there are not N of them. */
static const double *
doubles_of(const pool_local_results_t *local, size_t n, struct misfit *misfit)
{
    const double *values = NULL;
    size_t count = 0;

    if (local->error != 0)
        return NULL;
    int rc =
        pool_decode(local->results, local->results_size, "ad", &values, &count);
    if (rc == 0 && count == n)
        return values;
    if (misfit->count++ != 0)
        return NULL;
    int at = snprintf(misfit->first, sizeof misfit->first,
        "rank %d: %zu doubles expected, ", local->process_number, n);
    size_t room = sizeof misfit->first - (size_t)at;
    if (rc == 0)
        snprintf(misfit->first + at, room, "%zu came", count);
    else
        snprintf(
            misfit->first + at, room, "no array of them (%s)", pool_errmsg());
    return NULL;
}

static bool
whole_row(const double *row, size_t columns)
{
    for (size_t i = 0; i < columns; i++)
        if (isnan(row[i]))
            return false;
    return true;
}

int
pool_results_matrix(const pool_results_t *results, size_t columns,
    double *matrix, bool *success)
{
    struct misfit misfit = {0};

    if (results == NULL || matrix == NULL || columns == 0)
        return pool__fail(POOL_EINVAL, "pool_results_matrix: %s",
            results == NULL  ? "results is NULL"
            : matrix == NULL ? "matrix is NULL"
                             : "columns is 0");
    for (size_t r = 0; r < results->count; r++) {
        const pool_local_results_t *local = &results->ranks[r];
        size_t n = local->parameters.count * columns;
        double *to = matrix + local->parameters.first * columns;
        const double *from = doubles_of(local, n, &misfit);
        for (size_t i = 0; i < n && from == NULL; i++)
            to[i] = NAN;
        if (from != NULL)
            memcpy(to, from, n * sizeof *to);
        for (size_t i = 0; i < local->parameters.count && success; i++)
            success[local->parameters.first + i] =
                from != NULL && whole_row(to + i * columns, columns);
    }
    if (misfit.count > 1)
        return pool__fail(POOL_EFORMAT,
            "pool_results_matrix: %s; %zu of %zu ranks do not fit",
            misfit.first, misfit.count, results->count);
    if (misfit.count == 1)
        return pool__fail(
            POOL_EFORMAT, "pool_results_matrix: %s", misfit.first);
    return 0;
}
