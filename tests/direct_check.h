/* Pools whose workers the host forks itself, for the tests of them. */
#ifndef FORKPOOL_TESTS_DIRECT_CHECK_H
#define FORKPOOL_TESTS_DIRECT_CHECK_H

#include "support.h"

#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))

static inline pool_t *
direct_opts(pool_options_t *options, int workers)
{
    pool_t *pool = NULL;

    options->start = POOL_START_FORK;
    options->workers = options->min_workers = workers;
    int rc = pool_create(&pool, options);
    ck_assert_msg(rc == 0, "%s", pool_errmsg());
    return pool;
}

static inline pool_t *
direct(int workers)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    return direct_opts(&options, workers);
}

static inline int
ask(pool_t *pool, pool_fn fn)
{
    pool_future_t *f;
    int value = -1;

    ck_assert_int_eq(pool_submit(pool, &f, fn, ""), 0);
    int rc = pool_future_result(f, PATIENCE_MS, "i", &value);
    ck_assert_msg(rc == 0, "%s", pool_errmsg());
    pool_future_free(f);
    return value;
}

static inline void
works(pool_t *pool)
{
    pool_future_t *f;
    double y = 0;

    ck_assert_int_eq(pool_submit(pool, &f, task_double, "d", 4.0), 0);
    ck_assert_int_eq(pool_future_result(f, PATIENCE_MS, "d", &y), 0);
    ck_assert_double_eq(y, 8.0);
    pool_future_free(f);
}

/* Its worker dies; how is told. */
static inline pool_failure_t
crash(pool_t *pool, pool_fn fn)
{
    pool_future_t *f;

    ck_assert_int_eq(pool_submit(pool, &f, fn, ""), 0);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), POOL_EDIED);
    pool_failure_t failure = *pool_future_failure(f);
    pool_future_free(f);
    failure.message = NULL;
    return failure;
}

#endif
