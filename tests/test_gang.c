/* How ranks that are peers start: all together, or none. */
#include "support.h"

#include <string.h>

#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))

/* In shared memory. */
struct meeting {
    int arrived;  /* ranks that run now */
    int leave;    /* they may end */
    int ordinary; /* tasks that ran */
};

static int
execute_meet(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    struct meeting *meeting = *(struct meeting **)model;

    (void)rows;
    __atomic_add_fetch(&meeting->arrived, 1, __ATOMIC_SEQ_CST);
    if (!test_await(&meeting->arrived, pool_call_size(call)) ||
        !test_await(&meeting->leave, 1))
        return 1;
    return pool_call_return(call, "i", pool_call_rank(call));
}

static int
build_meeting(pool_call_t *call, void **model)
{
    static struct meeting *meeting;
    uint64_t address;
    int rc = pool_call_args(call, "t", &address);

    meeting = (struct meeting *)(uintptr_t)address;
    *model = &meeting;
    return rc;
}

static int
task_count(pool_call_t *call)
{
    uint64_t address;
    int rc = pool_call_args(call, "t", &address);

    if (rc == 0)
        __atomic_add_fetch((int *)(uintptr_t)address, 1, __ATOMIC_SEQ_CST);
    return rc;
}

static pool_scatter_t *
scatter(pool_t *pool, struct meeting *meeting, size_t ranks)
{
    static const double values[16];
    unsigned char buffer[16];
    pool_job_t job = POOL_JOB_INIT;
    pool_scatter_t *s;

    ck_assert_int_eq(pool_encode(buffer, sizeof buffer,
                         &job.build_arguments_size, "t", ADDRESS(meeting)),
        0);
    job.build = build_meeting;
    job.build_arguments = buffer;
    job.execute = execute_meet;
    job.rows = ranks;
    job.columns = 1;
    job.values = values;
    job.flags = POOL_JOB_PEERS;
    ck_assert_msg(pool_scatter(pool, &s, &job) == 0, "%s", pool_errmsg());
    return s;
}

static void
gather(pool_scatter_t *s, size_t failed)
{
    pool_results_t *results;

    ck_assert_int_eq(pool_gather(s, PATIENCE_MS, &results), 0);
    ck_assert_uint_eq(pool_results_failed(results), failed);
    pool_scatter_free(s);
}

static void
all_at_once(int unused)
{
    (void)unused;
    test_begin();
    pool_options_t options = POOL_OPTIONS_INIT;
    options.workers = 8; /* they start on demand */
    pool_t *pool;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    for (size_t n = 1; n <= 8; n++) {
        struct meeting *meeting = test_shared(sizeof *meeting);
        meeting->leave = 1;
        gather(scatter(pool, meeting, n), 0);
        ck_assert_int_eq(meeting->arrived, (int)n);
    }
    pool_destroy(pool);
    test_end();
}

/* Two of three ranks on four workers: one after the other, and the fourth
 * worker runs other tasks meanwhile. */
static void
two_that_do_not_fit(int unused)
{
    struct meeting *first, *second;
    pool_future_t *f;

    (void)unused;
    test_begin();
    pool_t *pool = test_pool(4);
    first = test_shared(sizeof *first);
    second = test_shared(sizeof *second);
    pool_scatter_t *a = scatter(pool, first, 3);
    ck_assert_int_eq(
        pool_submit(pool, &f, task_count, "t", ADDRESS(&first->ordinary)), 0);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), 0);
    pool_future_free(f);
    pool_scatter_t *b = scatter(pool, second, 3);
    ck_assert(test_await(&first->arrived, 3));
    ck_assert_int_eq(second->arrived, 0);
    first->leave = second->leave = 1;
    gather(a, 0);
    gather(b, 0);
    pool_destroy(pool);
    test_end();
}

static const struct test tests[] = {
    {"all_at_once", all_at_once},
    {"two_that_do_not_fit", two_that_do_not_fit},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("gang", tests, argc, argv);
}
