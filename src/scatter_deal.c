/* Dealing: how many rows a chunk has, and the bytes that each is sent.
 *
 * Invariants: chunks depend on the job and on the number of workers alone. The
 * parameters are copied once, to where the tasks send them from; what
 * LocalResults point to are the same bytes. */
#include <string.h>

#include "error.h"
#include "mem.h"
#include "scatter_host.h"

/* ---- schedules ------------------------------------------------------------
 */

#define LEAST_EACH 64 /* smallest chunks for a worker, guided, automatic */

struct deal {
    int schedule;
    size_t rows, left, workers, chunk, number;
};

static size_t
divide_up(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

static struct deal
deal_begin(const struct pool *pool, const pool_job_t *job)
{
    struct deal d = {.schedule = job->schedule,
        .rows = job->rows,
        .left = job->rows,
        .workers = (size_t)pool->workers,
        .chunk = job->chunk != 0 ? job->chunk : 1};

    if (d.schedule == POOL_GUIDED && job->chunk == 0)
        d.chunk = divide_up(d.rows, LEAST_EACH * d.workers);
    return d;
}

/* How many rows the next chunk has; 0: there is none. Static is array_split:
 * the first rows % ranks ranks have one row more. */
static size_t
deal_next(struct deal *d)
{
    size_t n = d->chunk;

    if (d->schedule == POOL_STATIC) {
        size_t ranks = pool__min(d->workers, d->rows);
        n = d->rows / ranks + (d->number < d->rows % ranks);
    } else if (d->schedule == POOL_GUIDED) {
        n = pool__max(n, divide_up(d->left, 2 * d->workers));
    }
    n = pool__min(n, d->left);
    d->left -= n;
    d->number++;
    return n;
}

size_t
pool__scatter_chunks(const struct pool *pool, const pool_job_t *job)
{
    struct deal d = deal_begin(pool, job);

    if (d.schedule == POOL_DYNAMIC)
        return divide_up(d.rows, d.chunk);
    while (d.left != 0)
        (void)deal_next(&d);
    return d.number;
}

/* ---- the record ------------------------------------------------------------
 */

static int
make_record(
    struct pool_scatter *s, const struct pool *pool, const pool_job_t *job)
{
    bool named = job->names != NULL && job->values != NULL;
    struct pool__record head = {
        .build = pool__refer(pool, (uintptr_t)job->build),
        .execute = pool__refer(pool, (uintptr_t)job->execute),
        .release = pool__refer(pool, (uintptr_t)job->release),
        .columns = job->columns,
        .names = named ? job->columns : 0,
        .arguments_size = job->build_arguments_size,
        .peers = (job->flags & POOL_JOB_PEERS) != 0};
    size_t padded = pool__round8(job->build_arguments_size);
    size_t size = sizeof head + padded;

    for (size_t i = 0; i < head.names; i++)
        size += strlen(job->names[i]) + 1;
    if (size > pool->max_argument)
        return pool__fail(POOL_ETOOBIG,
            "pool_scatter: %zu bytes of build_arguments and names, the limit "
            "is %zu",
            size, pool->max_argument);
    s->job.record = pool__zalloc(size);
    s->names = named ? pool__malloc(job->columns * sizeof *s->names) : NULL;
    if (s->job.record == NULL || (named && s->names == NULL))
        return pool__fail(POOL_ENOMEM, "pool_scatter: the record of a job");
    s->job.record_size = size;
    memcpy(s->job.record, &head, sizeof head);
    if (job->build_arguments_size != 0)
        memcpy(s->job.record + sizeof head, job->build_arguments,
            job->build_arguments_size);
    char *to = (char *)s->job.record + sizeof head + padded;
    for (size_t i = 0; i < head.names; i++) {
        size_t n = strlen(job->names[i]) + 1;
        s->names[i] = memcpy(to, job->names[i], n);
        to += n;
    }
    return 0;
}

/* ---- the chunks -------------------------------------------------------------
 */

static uint8_t *
align(uint8_t *at)
{
    return at + (8 - (uintptr_t)at % 8) % 8;
}

/* Write a chunk, whose rows are at data; where the next one begins. */
static uint8_t *
put_chunk(struct pool_scatter *s, size_t rank, uint8_t *to, const void *data,
    size_t size, size_t residue)
{
    pool_rows_t *rows = &s->results.ranks[rank].parameters;
    struct pool__chunk head = {.scatter = s->job.number,
        .rank = (uint32_t)rank,
        .ranks = (uint32_t)s->results.count,
        .first = rows->first,
        .count = rows->count,
        .residue = residue};

    memcpy(to, &head, sizeof head);
    memset(to + sizeof head, 0, residue);
    to += sizeof head + residue;
    memcpy(to, data, size);
    if (rows->columns != 0) {
        rows->values = (const double *)(const void *)to;
    } else {
        rows->items = to;
        rows->items_size = size;
    }
    return align(to + size);
}

/* The bytes of the next COUNT rows. */
static size_t
rows_size(const pool_job_t *job, pool_dec_t *dec, size_t count)
{
    size_t begin = pool_dec_offset(dec);

    if (job->values != NULL)
        return count * job->columns * sizeof(double);
    for (size_t i = 0; i < count; i++)
        (void)pool_dec_skip(dec); /* checked before */
    return pool_dec_offset(dec) - begin;
}

static int
make_block(struct pool_scatter *s, const pool_job_t *job)
{
    size_t rows = job->values != NULL
                      ? job->rows * job->columns * sizeof(double)
                      : job->items_size;
    size_t heads = s->results.count * (sizeof(struct pool__chunk) + 2 * 7);

    if (__builtin_add_overflow(rows, heads, &s->block_size) ||
        (s->block = pool__core_take(s->core, s->block_size)) == NULL)
        return pool__fail(POOL_ENOMEM, "pool_scatter: %zu rows", job->rows);
    return 0;
}

int
pool__scatter_deal(
    struct pool_scatter *s, const struct pool *pool, const pool_job_t *job)
{
    struct deal d = deal_begin(pool, job);
    const uint8_t *from =
        job->values != NULL ? (const uint8_t *)job->values : job->items;
    size_t at = 0;
    pool_dec_t dec;
    int rc = make_record(s, pool, job);

    if (rc == 0)
        rc = make_block(s, job);
    if (rc < 0)
        return rc;
    pool_dec_init(&dec, job->items, job->items_size);
    uint8_t *to = s->block;
    for (size_t rank = 0; rank < s->results.count; rank++) {
        pool_local_results_t *local = &s->results.ranks[rank];
        local->process_number = (int)rank;
        local->error = POOL_EAGAIN;
        local->parameters = (pool_rows_t){.first = d.rows - d.left,
            .columns = job->columns,
            .names = s->names};
        size_t count = local->parameters.count = deal_next(&d);
        size_t size = rows_size(job, &dec, count);
        to = put_chunk(
            s, rank, to, from + at, size, job->values != NULL ? 0 : at % 8);
        at += size;
    }
    return 0;
}

void *
pool__scatter_payload(const struct pool_scatter *s, size_t rank, size_t *size)
{
    const pool_rows_t *rows = &s->results.ranks[rank].parameters;
    bool matrix = rows->columns != 0;
    uintptr_t data = (uintptr_t)(matrix ? rows->values : rows->items);
    uintptr_t end =
        data + (matrix ? rows->count * rows->columns * sizeof(double)
                       : rows->items_size);
    uintptr_t head = data / 8 * 8 - sizeof(struct pool__chunk);

    *size = end - head;
    return (void *)head;
}
