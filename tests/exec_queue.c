/* Retries, priorities and the bounded queue, under every drive. */
#include "drives.h"

#include <signal.h>
#include <string.h>

static pool_t *
open_pool(const struct drive *d, int grace_ms)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.workers = 1;
    options.kill_grace_ms = grace_ms;
    return drive_open(d, &options);
}

static pool_future_t *
submit_with(pool_t *pool, const pool_task_options_t *options, pool_fn fn,
    const void *address)
{
    pool_future_t *f = NULL;
    int rc = pool_submit_opts(pool, &f, options, fn, "t", ADDRESS(address));

    ck_assert_msg(rc == 0, "%s", pool_errmsg());
    return f;
}

/* ---- retries ------------------------------------------------------------ */

enum { DIE = 1, HANG, FAIL };

/* "tii": counts itself; so often it goes a bad way, then returns the count. */
static int
task_unsteady(pool_call_t *call)
{
    uint64_t address;
    int32_t way, times;
    int rc = pool_call_args(call, "tii", &address, &way, &times);

    if (rc < 0)
        return rc;
    int run = raise_word((int *)(uintptr_t)address, 1);
    if (run <= times && way == DIE)
        raise(SIGKILL);
    if (run <= times && way == HANG)
        return task_hang(call);
    if (run <= times)
        return pool_call_fail(call, 5, "run %d", run);
    return pool_call_return(call, "it", run, pool_call_seed(call));
}

struct retry {
    int way, times, retries;
    unsigned on;
    int code, runs;
};

static const struct retry retries[] = {
    {DIE, 2, 0, 0, POOL_EDIED, 1},
    {DIE, 2, 1, 0, POOL_EDIED, 2},
    {DIE, 2, 2, 0, 0, 3},
    {DIE, 1, 10, POOL_RETRY_TASK | POOL_RETRY_DEADLINE, 0, 2},
    {DIE, 99, 4, 0, POOL_EDIED, 5}, /* fault 56: it ends */
    {HANG, 2, 5, 0, POOL_EDEADLINE, 1},
    {HANG, 2, 1, POOL_RETRY_DEADLINE, POOL_EDEADLINE, 2},
    {HANG, 2, 2, POOL_RETRY_DEADLINE, 0, 3},
    {FAIL, 2, 5, POOL_RETRY_DEADLINE, POOL_ETASK, 1},
    {FAIL, 3, 2, POOL_RETRY_TASK, POOL_ETASK, 3},
    {FAIL, 3, 3, POOL_RETRY_TASK, 0, 4},
};

static void
retries_are_counted(const struct drive *d)
{
    pool_t *pool = open_pool(d, POOL_NONE);
    int *runs = test_shared(sizeof *runs);
    uint64_t again = 0;

    for (size_t i = 0; i < COUNT(retries); i++) {
        const struct retry *r = &retries[i];
        pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
        pool_future_t *f;
        task.retries = r->retries;
        task.retry_on = r->on;
        task.deadline_ms = r->way == HANG ? 200 : 0;
        *runs = 0;
        ck_assert_int_eq(pool_submit_opts(pool, &f, &task, task_unsteady, "tii",
                             ADDRESS(runs), r->way, r->times),
            0);
        ck_assert_int_eq(drive_error(d, f), r->code);
        if (r->way != HANG) /* a short deadline may come before it begins */
            ck_assert_int_eq(*runs, r->runs);
        if (r->code != 0)
            ck_assert_int_eq(pool_future_failure(f)->attempts, r->runs);
        again += (uint64_t)r->runs - 1;
        pool_future_free(f);
    }
    ck_assert_uint_eq(test_stats(pool).retried, again);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

/* A retry is the same task: its id and its random stream. */
static void
a_retry_is_the_same_task(const struct drive *d)
{
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_options_t options = POOL_OPTIONS_INIT;
    int *runs = test_shared(sizeof *runs), run;
    uint64_t seeds[2] = {0};

    options.workers = 1;
    options.seed = 99;
    task.retries = 3;
    for (int times = 0; times < 2; times++) {
        pool_t *pool = drive_open(d, &options);
        pool_future_t *f;
        *runs = 0;
        ck_assert_int_eq(pool_submit_opts(pool, &f, &task, task_unsteady, "tii",
                             ADDRESS(runs), DIE, times),
            0);
        ck_assert_int_eq(drive_result(d, f, "it", &run, &seeds[times]), 0);
        ck_assert_int_eq(run, times + 1);
        ck_assert_uint_eq(pool_future_id(f), 1);
        pool_future_free(f);
        drive_destroy(d, pool);
    }
    ck_assert_uint_eq(seeds[0], seeds[1]);
}

/* Cancelled between two attempts, or when the pool ends: not run again. */
static void
no_retry_after_a_cancel(const struct drive *d)
{
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_t *pool = open_pool(d, POOL_NONE);
    struct gate *gate = gate_new();

    task.retries = 5;
    task.retry_on = POOL_RETRY_DEADLINE | POOL_RETRY_TASK;
    pool_future_t *f = submit_with(pool, &task, task_gate, gate);
    drive_until_word(d, &gate->begun, 1);
    ck_assert_int_eq(pool_future_cancel_running(f), 0);
    ck_assert_int_eq(drive_end(d, f), POOL_ECANCELED);
    drive_works(d, pool);
    ck_assert_int_eq(gate->begun, 1);
    f = submit_with(pool, &task, task_gate, gate);
    drive_until_word(d, &gate->begun, 2);
    drive_destroy(d, pool);
    ck_assert_int_eq(pool_future_error(f, 0), POOL_ECANCELED);
    ck_assert_int_eq(gate->begun, 2);
    pool_future_free(f);
}

/* ---- priorities --------------------------------------------------------- */

/* "ti": appends its number to a list. */
static int
task_append(pool_call_t *call)
{
    uint64_t address;
    int32_t number;
    int rc = pool_call_args(call, "ti", &address, &number);
    int *list = (int *)(uintptr_t)address;

    if (rc < 0)
        return rc;
    list[raise_word(&list[0], 1)] = number;
    return 0;
}

/* While the one worker is blocked, tasks of all priorities come in: the
 * greater run first, in order of submission within one. Without options it is
 * 0. */
static void
priorities(const struct drive *d)
{
    enum { EACH = 3, LEVELS = POOL_MAX_PRIORITY - POOL_MIN_PRIORITY + 1 };
    int *list = test_shared((1 + EACH * LEVELS) * sizeof *list);
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_t *pool = open_pool(d, 0);
    struct gate *gate = gate_new();
    pool_future_t *blocker = gate_submit(pool, gate), *f[EACH * LEVELS];

    drive_until_word(d, &gate->begun, 1);
    for (int i = 0; i < EACH * LEVELS; i++) {
        int level = i * 7 % LEVELS; /* in no order */
        task.priority = POOL_MIN_PRIORITY + level;
        ck_assert_int_eq(
            pool_submit_opts(pool, &f[i], task.priority != 0 ? &task : NULL,
                task_append, "ti", ADDRESS(list), level * 100 + i),
            0);
    }
    gate_open(gate);
    for (int i = 0; i < EACH * LEVELS; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
    ck_assert_int_eq(list[0], EACH * LEVELS);
    for (int i = 1; i <= EACH * LEVELS; i++)
        ck_assert_int_eq(list[i] / 100, LEVELS - 1 - (i - 1) / EACH);
    for (int i = 2; i <= EACH * LEVELS; i++)
        if (list[i] / 100 == list[i - 1] / 100)
            ck_assert_int_gt(list[i], list[i - 1]);
    pool_future_free(blocker);
    drive_destroy(d, pool);
}

static void
task_options_are_checked(const struct drive *d)
{
    static const pool_task_options_t bad[] = {
        {.size = 1},
        {.size = sizeof(pool_task_options_t), .deadline_ms = -2},
        {.size = sizeof(pool_task_options_t), .retries = -1},
        {.size = sizeof(pool_task_options_t), .retries = POOL_MAX_RETRIES + 1},
        {.size = sizeof(pool_task_options_t), .retry_on = 8},
        {.size = sizeof(pool_task_options_t),
            .priority = POOL_MIN_PRIORITY - 1},
        {.size = sizeof(pool_task_options_t),
            .priority = POOL_MAX_PRIORITY + 1},
        {.size = sizeof(pool_task_options_t), .wait_ms = -2},
    };
    pool_t *pool = open_pool(d, 0);

    for (size_t i = 0; i < COUNT(bad); i++) {
        pool_future_t *f = NULL;
        ck_assert_int_eq(
            pool_submit_opts(pool, &f, &bad[i], task_nothing, ""), POOL_EINVAL);
        ck_assert_ptr_null(f);
        ck_assert(strstr(pool_errmsg(), "pool_submit_opts") != NULL);
    }
    drive_works(d, pool);
    drive_destroy(d, pool);
}

/* ---- the bounded queue -------------------------------------------------- */

static void
count_drain(pool_t *pool, void *data)
{
    (void)pool;
    raise_word(data, 1);
}

static void
a_full_queue(const struct drive *d)
{
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_options_t options = POOL_OPTIONS_INIT;
    struct gate *gate = gate_new();
    pool_future_t *f[3], *more = NULL;
    int drained = 0;

    options.workers = 1;
    options.max_pending = 3;
    options.drain = count_drain;
    options.drain_data = &drained;
    pool_t *pool = drive_open(d, &options);
    for (int i = 0; i < 3; i++)
        f[i] = gate_submit(pool, gate);
    drive_until_word(d, &gate->begun, 1);
    ck_assert_int_eq(read_word(&drained), 0);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(
            pool_submit(pool, &more, task_nothing, ""), POOL_EAGAIN);
    task.wait_ms = 50;
    ck_assert_int_eq(pool_submit_opts(pool, &more, &task, task_nothing, ""),
        d->bit == IN_HOST ? POOL_EDEADLK : POOL_ETIMEDOUT);
    ck_assert_ptr_null(more);
    ck_assert_int_eq(read_word(&drained), 0);
    gate_open(gate);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
    drive_until_word(d, &drained, 1);
    drive_works(d, pool);
    ck_assert_int_eq(read_word(&drained), 1); /* once for all refusals */
    ck_assert_uint_ge(test_stats(pool).rejected, 5);
    drive_destroy(d, pool);
    ck_assert_int_eq(drained, 1);
}

static void
waiting_for_room(const struct drive *d)
{
    enum { N = 60 };
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f[N];

    options.workers = 2;
    options.max_pending = 4;
    pool_t *pool = drive_open(d, &options);
    for (int i = 0; i < N; i++) {
        task.wait_ms = i % 2 == 0 ? PATIENCE_MS : POOL_NONE;
        ck_assert_int_eq(
            pool_submit_opts(pool, &f[i], &task, task_double, "d", 1.0), 0);
    }
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
    ck_assert_uint_eq(test_stats(pool).submitted, N);
    drive_destroy(d, pool);
}

struct feeder {
    pool_t *pool;
    int left, ended, wrong;
};

static void
feed(struct feeder *feeder)
{
    while (feeder->left > 0) {
        int rc = pool_submit(feeder->pool, NULL, task_nothing, "");
        if (rc == POOL_EAGAIN)
            return; /* drain calls again */
        if (rc != 0)
            feeder->wrong++;
        feeder->left--;
    }
    raise_word(&feeder->ended, 1);
}

static void
feed_again(pool_t *pool, void *data)
{
    (void)pool;
    feed(data);
}

/* A producer that lives on the drain callback: 500 tasks through a queue of
 * 8. */
static void
fed_by_drain(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    struct gate *gate = gate_new();
    struct feeder feeder = {NULL, 500, 0, 0};

    options.workers = 1;
    options.max_pending = 8;
    options.drain = feed_again;
    options.drain_data = &feeder;
    pool_t *pool = feeder.pool = drive_open(d, &options);
    pool_future_t *blocker = gate_submit(pool, gate);
    drive_until_word(d, &gate->begun, 1);
    feed(&feeder);
    ck_assert_int_eq(feeder.left, 500 - 7);
    gate_open(gate);
    drive_until_word(d, &feeder.ended, 1);
    ck_assert_int_eq(feeder.wrong, 0);
    ck_assert_int_eq(drive_end(d, blocker), 0);
    drive_shutdown(d, pool, 0);
    ck_assert_uint_eq(test_stats(pool).completed, 501);
    drive_destroy(d, pool);
}

static const struct drive_case cases[] = {
    {"retries_are_counted", retries_are_counted, IN_ALL},
    {"a_retry_is_the_same_task", a_retry_is_the_same_task, IN_ALL},
    {"no_retry_after_a_cancel", no_retry_after_a_cancel, IN_ALL},
    {"priorities", priorities, IN_ALL},
    {"task_options_are_checked", task_options_are_checked, IN_ALL},
    {"a_full_queue", a_full_queue, IN_ALL},
    {"waiting_for_room", waiting_for_room, IN_CALLER | IN_THREAD},
    {"fed_by_drain", fed_by_drain, IN_ALL},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_queue", cases, argc, argv);
}
