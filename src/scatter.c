/* Scatter and gather: rows dealt to ranks, LocalResults collected in rank
 * order. A rank is an ordinary task.
 *
 * Invariants: the scatter owns a copy of all parameters, so what LocalResults
 * point to lives as long as it does. Its models are released once, when every
 * rank has settled or the scatter is freed. */
#include "scatter.h"

#include <math.h>
#include <string.h>

#include "error.h"
#include "mem.h"
#include "pool.h"

struct pool_results {
    pool_local_results_t *ranks;
    size_t count, failed;
    size_t rows; /* of all ranks */
};

struct pool_scatter {
    struct pool__core *core;
    uint64_t number;
    bool released; /* its models, as far as it is up to us */
    pool_future_t **futures;
    struct pool_results results;
    double *values; /* copies of the job's */
    void *items;
    char *name_text;
    const char **names;
};

/* ---- checking a job --------------------------------------------------- */

static int
bad(const char *what)
{
    return pool__fail(POOL_EINVAL, "pool_scatter: %s", what);
}

static int
check_list(const pool_job_t *job)
{
    pool_dec_t dec;
    size_t count = 0;
    int rc = 0;

    pool_dec_init(&dec, job->items, job->items_size);
    while (rc == 0 && pool_dec_peek(&dec) != POOL_ITEM_END) {
        rc = pool_dec_skip(&dec);
        count += rc == 0;
    }
    if (rc < 0)
        return pool__fail(POOL_EFORMAT,
            "pool_scatter: items: byte %zu is not well-formed",
            pool_dec_offset(&dec));
    if (count != job->rows)
        return pool__fail(POOL_EINVAL,
            "pool_scatter: items holds %zu values, rows is %zu", count,
            job->rows);
    return 0;
}

static int
check_names(const pool_job_t *job)
{
    for (size_t i = 0; job->names != NULL && i < job->columns; i++) {
        const char *name = job->names[i];
        if (name == NULL)
            return pool__fail(
                POOL_EINVAL, "pool_scatter: the name of column %zu is NULL", i);
        if (pool_check_utf8(name, strlen(name)) != 0)
            return pool__fail(POOL_EFORMAT,
                "pool_scatter: the name of column %zu is not UTF-8", i);
    }
    return 0;
}

static int
check_job(const pool_job_t *job)
{
    size_t offset;

    if (job == NULL)
        return bad("job is NULL");
    if (job->size != sizeof *job)
        return pool__fail(POOL_EINVAL,
            "pool_scatter: job.size is %zu, not %zu: use POOL_JOB_INIT",
            job->size, sizeof *job);
    if (job->execute == NULL)
        return bad("job.execute is NULL");
    if (job->rows == 0)
        return bad("job.rows is 0");
    if (job->schedule != POOL_STATIC)
        return pool__fail(POOL_EINVAL,
            "pool_scatter: job.schedule is %d, unknown", job->schedule);
    if ((job->flags & ~(unsigned)POOL_JOB_PEERS) != 0)
        return pool__fail(POOL_EINVAL,
            "pool_scatter: job.flags is 0x%x, unknown", job->flags);
    if (job->chunk != 0 || job->deadline_ms != 0 || job->retries != 0 ||
        job->retry_on != 0 || job->priority != 0 || job->progress_ms != 0 ||
        job->progress != NULL || job->settled != NULL || job->restore != NULL)
        return pool__fail(
            POOL_ENOTSUP, "pool_scatter: a member that is not served yet");
    if ((job->values != NULL) == (job->items != NULL))
        return bad("one of job.values and job.items must be given");
    if ((job->values != NULL) != (job->columns != 0))
        return bad("job.columns must be 0 for a list, and for that alone");
    if (job->values != NULL &&
        job->rows > SIZE_MAX / sizeof(double) / job->columns)
        return pool__fail(POOL_ETOOBIG, "pool_scatter: %zu x %zu doubles",
            job->rows, job->columns);
    if (job->build_arguments == NULL && job->build_arguments_size != 0)
        return bad("job.build_arguments is NULL with a size");
    if (pool_check(job->build_arguments, job->build_arguments_size,
            POOL_DEPTH_DEFAULT, &offset) < 0)
        return pool__fail(POOL_EFORMAT,
            "pool_scatter: build_arguments: byte %zu is not well-formed",
            offset);
    return job->items != NULL ? check_list(job) : check_names(job);
}

static int
check_functions(struct pool *pool, const pool_job_t *job)
{
    int rc = pool__check_known(
        pool, (pool_fn)(void (*)(void))job->build, "pool_scatter: job.build");

    if (rc == 0)
        rc = pool__check_known(pool, (pool_fn)(void (*)(void))job->execute,
            "pool_scatter: job.execute");
    if (rc == 0)
        rc = pool__check_known(pool, (pool_fn)(void (*)(void))job->release,
            "pool_scatter: job.release");
    return rc;
}

/* ---- a scatter -------------------------------------------------------- */

static void
scatter_delete(struct pool_scatter *s)
{
    pool__free(s->futures);
    pool__free(s->results.ranks);
    pool__free(s->values);
    pool__free(s->items);
    pool__free(s->name_text);
    pool__free(s->names);
    pool__free(s);
}

static int
copy_names(struct pool_scatter *s, const pool_job_t *job)
{
    size_t total = 0;

    for (size_t i = 0; i < job->columns; i++)
        total += strlen(job->names[i]) + 1;
    s->name_text = pool__malloc(total);
    s->names = pool__malloc(job->columns * sizeof *s->names);
    if (s->name_text == NULL || s->names == NULL)
        return POOL_ENOMEM;
    char *to = s->name_text;
    for (size_t i = 0; i < job->columns; i++) {
        size_t n = strlen(job->names[i]) + 1;
        s->names[i] = memcpy(to, job->names[i], n);
        to += n;
    }
    return 0;
}

static int
copy_parameters(struct pool_scatter *s, const pool_job_t *job)
{
    size_t size = job->values != NULL
                      ? job->rows * job->columns * sizeof(double)
                      : job->items_size;
    void *copy = pool__malloc_large(size);

    if (copy == NULL)
        return POOL_ENOMEM;
    if (job->values != NULL)
        s->values = memcpy(copy, job->values, size);
    else
        s->items = memcpy(copy, job->items, size);
    return job->names != NULL && job->values != NULL ? copy_names(s, job) : 0;
}

static struct pool_scatter *
scatter_new(struct pool *pool, const pool_job_t *job, size_t ranks)
{
    static uint64_t last;
    struct pool_scatter *s = pool__zalloc(sizeof *s);

    if (s == NULL)
        return NULL;
    s->core = pool->core;
    s->number = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
    s->released = job->build == NULL;
    s->results.rows = job->rows;
    s->futures = pool__zalloc(ranks * sizeof s->futures[0]);
    s->results.ranks = pool__zalloc(ranks * sizeof s->results.ranks[0]);
    if (s->futures == NULL || s->results.ranks == NULL ||
        copy_parameters(s, job) < 0) {
        scatter_delete(s);
        return NULL;
    }
    return s;
}

/* array_split: the first rows % ranks ranks have one row more. */
static void
deal_rows(struct pool_scatter *s, const pool_job_t *job, size_t ranks)
{
    size_t least = job->rows / ranks, more = job->rows % ranks, first = 0;
    pool_dec_t dec;

    pool_dec_init(&dec, s->items, job->items_size);
    for (size_t i = 0; i < ranks; i++) {
        pool_local_results_t *local = &s->results.ranks[i];
        size_t count = least + (i < more), begin = pool_dec_offset(&dec);
        for (size_t row = 0; s->items != NULL && row < count; row++)
            (void)pool_dec_skip(&dec); /* checked before */
        local->process_number = (int)i;
        local->parameters = (pool_rows_t){.first = first,
            .count = count,
            .columns = job->columns,
            .values =
                s->values != NULL ? s->values + first * job->columns : NULL,
            .names = s->names,
            .items = s->items != NULL ? (char *)s->items + begin : NULL,
            .items_size = pool_dec_offset(&dec) - begin};
        first += count;
    }
    s->results.count = ranks;
}

/* Make the task of a rank; it does not start before all are made. */
static int
prepare_rank(
    struct pool *pool, struct pool_scatter *s, const struct pool__chunk *chunk)
{
    pool_enc_t enc;
    size_t size;
    struct pool_future *task = NULL;

    pool_enc_init(&enc, NULL, 0);
    int rc = pool__chunk_encode(&enc, chunk);
    if (rc == 0)
        rc = pool_enc_finish(&enc, &size);
    if (rc == 0)
        rc = pool__task_prepare(
            pool, "pool_scatter", pool__scatter_run, size, NULL, NULL, &task);
    if (rc < 0)
        return rc;
    pool_enc_init(&enc, pool__task_data(task), size);
    (void)pool__chunk_encode(&enc, chunk); /* as it did before */
    s->futures[chunk->rank] = task;
    return 0;
}

/* Not all could be made: none is to run. */
static void
drop_ranks(struct pool_scatter *s)
{
    for (size_t i = 0; i < s->results.count && s->futures[i] != NULL; i++) {
        pool__task_unmake(s->futures[i]);
        s->futures[i] = NULL;
    }
}

static int
start_ranks(struct pool *pool, struct pool_scatter *s, const pool_job_t *job)
{
    struct pool__chunk chunk = {.scatter = s->number,
        .build = job->build,
        .execute = job->execute,
        .release = job->release,
        .build_arguments = job->build_arguments,
        .build_arguments_size = job->build_arguments_size,
        .ranks = (int)s->results.count,
        .peers = (job->flags & POOL_JOB_PEERS) != 0};
    int rc = 0;

    for (size_t i = 0; i < s->results.count && rc == 0; i++) {
        chunk.rank = (int)i;
        chunk.rows = s->results.ranks[i].parameters;
        chunk.residue = (uintptr_t)chunk.rows.items % 8;
        rc = prepare_rank(pool, s, &chunk);
    }
    if (rc == 0 && (job->flags & POOL_JOB_PEERS) != 0 &&
        pool->drive != POOL__DRIVE_SERIAL)
        rc = pool__group_make(&pool->sched, s->futures, s->results.count);
    if (rc < 0)
        drop_ranks(s);
    for (size_t i = 0; i < s->results.count && rc == 0; i++)
        pool__task_start(
            pool, s->futures[i], pool__scatter_run, &s->futures[i]);
    return rc;
}

static int
scatter(struct pool *pool, pool_scatter_t **out, const pool_job_t *job)
{
    int rc = check_job(job);

    if (rc == 0)
        rc = check_functions(pool, job);
    if (rc < 0)
        return rc;
    size_t ranks = pool__min((size_t)pool->workers, job->rows);
    struct pool_scatter *s = scatter_new(pool, job, ranks);
    if (s == NULL)
        return pool__fail(POOL_ENOMEM, "pool_scatter: %zu rows", job->rows);
    deal_rows(s, job, ranks);
    rc = start_ranks(pool, s, job);
    if (rc < 0) {
        scatter_delete(s);
        return rc;
    }
    pool->last_ranks = job->rows;
    *out = s;
    return 0;
}

int
pool_scatter(pool_t *pool, pool_scatter_t **out, const pool_job_t *job)
{
    if (out == NULL)
        return bad("scatter is NULL");
    int rc = pool__enter_pool(pool, "pool_scatter");
    if (rc < 0)
        return rc;
    struct pool__core *core = pool->core;
    rc = scatter(pool, out, job);
    pool__leave(core);
    return rc;
}

/* Tell every process that built for this scatter to release. */
static void
release_models(struct pool_scatter *s)
{
    struct pool *pool = s->core->pool;

    if (s->released || pool == NULL)
        return;
    s->released = true;
    if (pool->drive == POOL__DRIVE_SERIAL)
        pool__model_release(&pool->models, s->number, true);
    else
        pool__sched_end_scatter(&pool->sched, s->number);
}

void
pool_scatter_free(pool_scatter_t *s)
{
    if (s == NULL || pool__enter(s->core, "pool_scatter_free") < 0)
        return;
    struct pool__core *core = s->core;
    struct pool *pool = core->pool;
    for (size_t i = 0; i < s->results.count; i++) {
        struct pool_future *f = s->futures[i];
        if (!pool__task_settled(f) && pool__sched_take(&pool->sched, f))
            pool__task_cancelled(f);
    }
    release_models(s);
    for (size_t i = 0; i < s->results.count; i++)
        pool__task_unref(s->futures[i]);
    scatter_delete(s);
    pool__leave(core);
}

/* ---- gather ----------------------------------------------------------- */

static void
fill_local(pool_local_results_t *local, struct pool_future *future)
{
    local->results = NULL;
    local->results_size = 0;
    local->failure = NULL;
    local->error = POOL_EAGAIN;
    if (!pool__task_settled(future))
        return;
    local->error = future->code;
    local->failure = pool__task_failure(future);
    if (future->code != 0)
        return;
    local->results = pool__task_data(future);
    local->results_size = future->size;
}

int
pool_gather(pool_scatter_t *s, int timeout_ms, pool_results_t **results)
{
    if (s == NULL || results == NULL)
        return pool__fail(POOL_EINVAL, "pool_gather: %s is NULL",
            s == NULL ? "scatter" : "results");
    struct pool_results *r = &s->results;
    int rc =
        pool_wait(s->futures, r->count, POOL_ALL_COMPLETED, timeout_ms, NULL);
    if ((rc < 0 && rc != POOL_ETIMEDOUT) ||
        pool__enter(s->core, "pool_gather") < 0)
        return rc;
    r->failed = 0;
    for (size_t i = 0; i < r->count; i++) {
        fill_local(&r->ranks[i], s->futures[i]);
        r->failed += r->ranks[i].error != 0 && r->ranks[i].error != POOL_EAGAIN;
    }
    if (rc == 0)
        release_models(s);
    *results = r;
    pool__leave(s->core);
    return rc;
}

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

pool_future_t *
pool_scatter_future(pool_scatter_t *s, int rank)
{
    if (s == NULL || rank < 0 || (size_t)rank >= s->results.count)
        return NULL;
    return s->futures[rank];
}

/* ---- concatenation ---------------------------------------------------- */

/* The doubles that a rank returned; NULL where there are not N of them. */
static const double *
doubles_of(const pool_local_results_t *local, size_t n, int *rc)
{
    const double *values = NULL;
    size_t count = 0;

    if (local->error != 0)
        return NULL;
    if (pool_decode(
            local->results, local->results_size, "ad", &values, &count) == 0 &&
        count == n)
        return values;
    *rc = pool__fail(POOL_EFORMAT,
        "pool_results_matrix: rank %d: %zu doubles expected, %zu came",
        local->process_number, n, count);
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
    int rc = 0;

    if (results == NULL || matrix == NULL || columns == 0)
        return pool__fail(POOL_EINVAL, "pool_results_matrix: %s",
            results == NULL  ? "results is NULL"
            : matrix == NULL ? "matrix is NULL"
                             : "columns is 0");
    for (size_t r = 0; r < results->count; r++) {
        const pool_local_results_t *local = &results->ranks[r];
        size_t n = local->parameters.count * columns;
        double *to = matrix + local->parameters.first * columns;
        const double *from = doubles_of(local, n, &rc);
        for (size_t i = 0; i < n && from == NULL; i++)
            to[i] = NAN;
        if (from != NULL)
            memcpy(to, from, n * sizeof *to);
        for (size_t i = 0; i < local->parameters.count && success; i++)
            success[local->parameters.first + i] =
                from != NULL && whole_row(to + i * columns, columns);
    }
    return rc;
}
