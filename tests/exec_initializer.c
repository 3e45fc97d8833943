/* Initializers and finalizers under every drive: they run in every worker, and
 * one that fails, hangs or crashes is told; nothing hangs, nothing is left. */
#include "drives.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What initializers and finalizers tell, and what they shall do. */
struct plan {
    int initialized, finalized;
    int bad;  /* how many initializers go the bad way */
    int way;  /* which way */
    int seen; /* the last argument */
};

enum { FAIL = 1, HANG, CRASH, EXIT, STOP };

static struct plan *plan; /* set before the workers are made */

/* "is": a number, that the state keeps, and a text. */
static int
initialize(pool_call_t *call)
{
    int32_t number;
    const char *text;
    int rc = pool_call_args(call, "is", &number, &text);

    if (rc < 0)
        return rc;
    int run = raise_word(&plan->initialized, 1);
    if (run <= plan->bad) {
        if (plan->way == FAIL)
            return pool_call_fail(call, 9, "no %s today", text);
        if (plan->way == HANG)
            return task_hang(call);
        if (plan->way == EXIT)
            _exit(11);
        raise(plan->way == STOP ? SIGSTOP : SIGKILL);
    }
    int *state = malloc(sizeof *state);
    if (state == NULL || *pool_call_state(call) != NULL)
        return 1;
    *state = number;
    *pool_call_state(call) = state;
    return 0;
}

static void
finalize(void *state)
{
    if (state != NULL && *(int *)state == 77)
        raise_word(&plan->finalized, 1);
    free(state);
}

/* What the initializer left in this worker. */
static int
task_state(pool_call_t *call)
{
    int *state = *pool_call_state(call);

    return pool_call_return(call, "i", state != NULL ? *state : -1);
}

static pool_options_t
options_with(int workers, int least)
{
    static unsigned char bytes[64]; /* the library copies them */
    pool_options_t options = POOL_OPTIONS_INIT;
    size_t size = 0;

    ck_assert_int_eq(
        pool_encode(bytes, sizeof bytes, &size, "is", 77, "bread"), 0);
    options.initializer_arguments = bytes;
    options.initializer_arguments_size = size;
    options.initializer = initialize;
    options.finalizer = finalize;
    options.workers = workers;
    options.min_workers = least;
    options.kill_grace_ms = 20;
    plan = test_shared(sizeof *plan);
    return options;
}

/* ---- that succeed ------------------------------------------------------- */

static void
fill(const struct drive *d, pool_t *pool, int n)
{
    struct gate *gate = gate_new();
    pool_future_t *f[8];

    for (int i = 0; i < n; i++)
        f[i] = gate_submit(pool, gate);
    drive_until_word(d, &gate->begun, n);
    gate_open(gate);
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
}

static void
expect_state(const struct drive *d, pool_t *pool)
{
    pool_future_t *f = submit(pool, task_state);
    int value = 0;

    ck_assert_int_eq(drive_result(d, f, "i", &value), 0);
    ck_assert_int_eq(value, 77);
    pool_future_free(f);
}

static void
in_every_worker(const struct drive *d)
{
    pool_options_t options = options_with(4, 1);
    pool_t *pool = drive_open(d, &options);

    memset((void *)(uintptr_t)options.initializer_arguments, 0xff, 8);
    fill(d, pool, 4);
    ck_assert_int_eq(read_word(&plan->initialized), 4);
    for (int i = 0; i < 20; i++)
        expect_state(d, pool);
    ck_assert_int_eq(read_word(&plan->finalized), 0);
    drive_shutdown(d, pool, 0);
    ck_assert_int_eq(read_word(&plan->finalized), 4);
    drive_destroy(d, pool);
    ck_assert_int_eq(read_word(&plan->initialized), 4);
    ck_assert_int_eq(read_word(&plan->finalized), 4);
}

/* At retirement yes, at a kill no. */
static void
finalizer_at_retirement(const struct drive *d)
{
    pool_options_t options = options_with(1, 1);

    options.max_tasks_per_worker = 2;
    pool_t *pool = drive_open(d, &options);
    for (int i = 0; i < 6; i++)
        expect_state(d, pool);
    drive_until_word(d, &plan->finalized, 2);
    ck_assert_int_le(read_word(&plan->finalized), 3);
    drive_destroy(d, pool);
}

static void
no_finalizer_at_a_kill(const struct drive *d)
{
    pool_options_t options = options_with(1, 1);
    pool_t *pool = drive_open(d, &options);
    pool_future_t *f;

    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(
            drive_end(d, submit(pool, task_kill_self)), POOL_EDIED);
    expect_state(d, pool);
    f = submit(pool, task_hang);
    while (!pool_future_running(f))
        d->turn();
    ck_assert_int_eq(pool_kill_workers(pool), 0);
    ck_assert_int_eq(drive_end(d, f), POOL_EDIED);
    drive_destroy(d, pool);
    ck_assert_int_eq(read_word(&plan->initialized), 3);
    ck_assert_int_eq(read_word(&plan->finalized), 0);
}

/* The serial backend has one too: once, in this process. */
static void
in_the_serial_backend(const struct drive *d)
{
    pool_options_t options = options_with(1, 1);

    options.backend = POOL_SERIAL;
    pool_t *pool = drive_open(d, &options);
    for (int i = 0; i < 3; i++)
        expect_state(d, pool);
    ck_assert_int_eq(plan->initialized, 1);
    drive_destroy(d, pool);
    ck_assert_int_eq(plan->finalized, 1);
}

/* ---- that go wrong ------------------------------------------------------ */

static const int ways[] = {FAIL, CRASH, EXIT, HANG, STOP};

/* The first worker never gets ready; the next does. */
static void
going_wrong_once(const struct drive *d)
{
    for (size_t i = 0; i < COUNT(ways); i++) {
        pool_options_t options = options_with(1, 1);
        options.ready_deadline_ms =
            ways[i] == HANG || ways[i] == STOP ? 300 : PATIENCE_MS;
        plan->bad = 1;
        plan->way = ways[i];
        pool_t *pool = drive_open(d, &options);
        expect_state(d, pool);
        ck_assert_int_ge(read_word(&plan->initialized), 2);
        ck_assert_uint_ge(test_stats(pool).start_failures, 1);
        ck_assert_uint_eq(test_stats(pool).failed, 0);
        drive_destroy(d, pool);
    }
}

/* In caller and thread drive pool_create waits for the least, and says why
 * there is none. */
static void
create_fails(const struct drive *d)
{
    for (size_t i = 0; i < COUNT(ways); i++) {
        pool_options_t options = options_with(2, 1);
        pool_t *pool = NULL;
        options.max_start_failures = 3;
        options.ready_deadline_ms =
            ways[i] == HANG || ways[i] == STOP ? 60 : PATIENCE_MS;
        plan->bad = 1000000;
        plan->way = ways[i];
        ck_assert_int_eq(drive_try_open(d, &pool, &options), POOL_EBROKEN);
        ck_assert_ptr_null(pool);
        if (ways[i] == FAIL)
            ck_assert_msg(strstr(pool_errmsg(), "no bread today") != NULL, "%s",
                pool_errmsg());
        ck_assert_int_ge(read_word(&plan->initialized), 1);
    }
}

/* Faults 54 and 55, where the workers turn bad later, or nobody waits for the
 * first: the pool ends broken, and no future hangs. */
static void
always_breaks_the_pool(const struct drive *d)
{
    enum { N = 10 };
    for (size_t i = 0; i < COUNT(ways); i++) {
        pool_options_t options = options_with(2, 1);
        pool_future_t *f[N], *late = NULL;
        options.max_start_failures = 3;
        options.ready_deadline_ms =
            ways[i] == HANG || ways[i] == STOP ? 200 : PATIENCE_MS;
        plan->way = ways[i];
        plan->bad = d->bit == IN_HOST ? 1000000 : 0;
        pool_t *pool = drive_open(d, &options);
        plan->bad = 1000000;
        if (d->bit != IN_HOST) /* the good one goes */
            ck_assert_int_eq(
                drive_end(d, submit(pool, task_kill_self)), POOL_EDIED);
        for (int k = 0; k < N; k++) {
            int rc = pool_submit(pool, &f[k], task_state, "");
            if (rc != 0)
                f[k] = NULL;
            ck_assert(rc == 0 || rc == POOL_EBROKEN);
        }
        for (int k = 0; k < N; k++) {
            if (f[k] == NULL)
                continue;
            ck_assert_int_eq(drive_error(d, f[k]), POOL_EBROKEN);
            const char *message = pool_future_failure(f[k])->message;
            if (ways[i] == FAIL)
                ck_assert_msg(
                    strstr(message, "no bread today") != NULL, "%s", message);
            pool_future_free(f[k]);
        }
        ck_assert_int_eq(
            pool_submit(pool, &late, task_state, ""), POOL_EBROKEN);
        ck_assert_uint_ge(test_stats(pool).start_failures, 3);
        ck_assert_int_le(read_word(&plan->initialized), 12); /* it backs off */
        drive_destroy(d, pool);
    }
}

/* Its arguments are read like a task's. */
static int
initialize_wrongly(pool_call_t *call)
{
    double x;

    return pool_call_args(call, "d", &x);
}

static void
wrong_arguments(const struct drive *d)
{
    pool_options_t options = options_with(1, 1);
    pool_t *pool = NULL;

    options.initializer = initialize_wrongly;
    options.max_start_failures = 1;
    ck_assert_int_eq(drive_try_open(d, &pool, &options), POOL_EBROKEN);
    ck_assert_msg(
        strstr(pool_errmsg(), "argument 1") != NULL, "%s", pool_errmsg());
    options.initializer_arguments = "\xff\xff"; /* not well-formed */
    options.initializer_arguments_size = 2;
    int rc = drive_try_open(d, &pool, &options);
    ck_assert(rc == POOL_EINVAL || rc == POOL_EFORMAT || rc == POOL_EBROKEN);
    ck_assert_ptr_null(pool);
}

static const struct drive_case cases[] = {
    {"in_every_worker", in_every_worker, IN_ALL},
    {"finalizer_at_retirement", finalizer_at_retirement, IN_ALL},
    {"no_finalizer_at_a_kill", no_finalizer_at_a_kill, IN_ALL},
    {"in_the_serial_backend", in_the_serial_backend, IN_ALL},
    {"going_wrong_once", going_wrong_once, IN_ALL},
    {"create_fails", create_fails, IN_CALLER | IN_THREAD},
    {"always_breaks_the_pool", always_breaks_the_pool, IN_ALL},
    {"wrong_arguments", wrong_arguments, IN_CALLER | IN_THREAD},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_initializer", cases, argc, argv);
}
