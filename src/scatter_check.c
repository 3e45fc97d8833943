/* Whether a job can be what it says, before anything is made of it. */
#include <string.h>

#include "error.h"
#include "scatter_host.h"

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
check_rows(const pool_job_t *job)
{
    if ((job->values != NULL) == (job->items != NULL))
        return bad("one of job.values and job.items must be given");
    if ((job->values != NULL) != (job->columns != 0))
        return bad("job.columns must be 0 for a list, and for that alone");
    if (job->values != NULL &&
        job->rows > SIZE_MAX / sizeof(double) / job->columns)
        return pool__fail(POOL_ETOOBIG, "pool_scatter: %zu x %zu doubles",
            job->rows, job->columns);
    return job->items != NULL ? check_list(job) : check_names(job);
}

static int
check_build(const pool_job_t *job)
{
    size_t offset;

    if (job->build_arguments == NULL && job->build_arguments_size != 0)
        return bad("job.build_arguments is NULL with a size");
    if (pool_check(job->build_arguments, job->build_arguments_size,
            POOL_DEPTH_DEFAULT, &offset) < 0)
        return pool__fail(POOL_EFORMAT,
            "pool_scatter: build_arguments: byte %zu is not well-formed",
            offset);
    return 0;
}

static int
bad_number(const char *member, long value)
{
    return pool__fail(
        POOL_EINVAL, "pool_scatter: job.%s is %ld", member, value);
}

static int
check_schedule(const pool_job_t *job)
{
    if (job->schedule < POOL_STATIC || job->schedule > POOL_GUIDED)
        return pool__fail(POOL_EINVAL,
            "pool_scatter: job.schedule is %d, unknown", job->schedule);
    if (job->schedule == POOL_STATIC && job->chunk != 0)
        return pool__fail(POOL_EINVAL,
            "pool_scatter: job.chunk is %zu with a static schedule",
            job->chunk);
    if ((job->flags & ~(unsigned)POOL_JOB_PEERS) != 0)
        return pool__fail(POOL_EINVAL,
            "pool_scatter: job.flags is 0x%x, unknown", job->flags);
    if ((job->flags & POOL_JOB_PEERS) == 0)
        return 0;
    if (job->schedule != POOL_STATIC)
        return bad("POOL_JOB_PEERS needs a static schedule");
    return job->retries == 0
               ? 0
               : bad("POOL_JOB_PEERS does not go with job.retries");
}

/* What each chunk is given as a task. */
static int
check_options(const pool_job_t *job)
{
    if (job->deadline_ms < POOL_NONE)
        return bad_number("deadline_ms", job->deadline_ms);
    if (job->retries < 0 || job->retries > POOL_MAX_RETRIES)
        return bad_number("retries", job->retries);
    if (job->retry_on & ~(unsigned)(POOL_RETRY_DEADLINE | POOL_RETRY_TASK))
        return bad_number("retry_on", (long)job->retry_on);
    if (job->priority < POOL_MIN_PRIORITY || job->priority > POOL_MAX_PRIORITY)
        return bad_number("priority", job->priority);
    if (job->progress_ms < 0)
        return bad_number("progress_ms", job->progress_ms);
    return 0;
}

int
pool__job_check(const pool_job_t *job)
{
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
    int rc = check_schedule(job);
    if (rc == 0)
        rc = check_options(job);
    if (rc == 0)
        rc = check_rows(job);
    return rc == 0 ? check_build(job) : rc;
}
