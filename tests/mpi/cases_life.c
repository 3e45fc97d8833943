/* Workers over MPI: their life, what ends a task, what is refused. */
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mpi_check.h"

static int
nothing(pool_call_t *call)
{
    (void)call;
    return 0;
}

/* A task on every worker has run: all of them serve. */
static void
all_serve(pool_t *pool, int workers)
{
    for (int i = 0; i < 4 * workers; i++) {
        pool_future_t *future;
        CHECK_OK(pool_submit(pool, &future, nothing, ""));
        CHECK_OK(pool_future_error(future, PATIENCE_MS));
        pool_future_free(future);
    }
}

/* ---- initializer and finalizer ------------------------------------------ */

static uint8_t arguments[32];

static int
initialize(pool_call_t *call)
{
    int *state = malloc(sizeof *state);
    int rc = pool_call_args(call, "i", state);

    mpi_touch("initialized");
    *pool_call_state(call) = state;
    return rc;
}

static void
finalize(void *state)
{
    mpi_touch(*(int *)state == 17 ? "finalized" : "wrong");
    free(state);
}

static int
read_state(pool_call_t *call)
{
    return pool_call_return(call, "i", *(int *)*pool_call_state(call));
}

static void
with_state(pool_options_t *options, int rank)
{
    size_t size;

    (void)rank;
    pool_encode(arguments, sizeof arguments, &size, "i", 17);
    options->initializer = initialize;
    options->initializer_arguments = arguments;
    options->initializer_arguments_size = size;
    options->finalizer = finalize;
}

static void
state(pool_t *pool, int workers)
{
    pool_future_t *future;
    int value;

    (void)workers;
    CHECK_OK(pool_submit(pool, &future, read_state, ""));
    CHECK_OK(pool_future_result(future, PATIENCE_MS, "i", &value));
    CHECK(value == 17);
    pool_future_free(future);
}

/* What the case before has left: each that began has ended. */
static void
state_is_over(pool_t *pool, int workers)
{
    (void)pool;
    (void)workers;
    CHECK(mpi_size("initialized") > 0 && mpi_size("wrong") == 0);
    CHECK(mpi_size("finalized") == mpi_size("initialized"));
}

static int
fail_to_start(pool_call_t *call)
{
    return pool_call_fail(call, 3, "no licence here");
}

static void
failing_start(pool_options_t *options, int rank)
{
    (void)rank;
    options->initializer = fail_to_start;
    options->max_start_failures = 2;
}

/* ---- deadlines, cancelling ---------------------------------------------- */

static int
wait_for_file(pool_call_t *call)
{
    const char *name;
    int rc = pool_call_args(call, "s", &name);

    if (rc == 0)
        mpi_await(name);
    return rc;
}

static void
deadline(pool_t *pool, int workers)
{
    pool_task_options_t options = POOL_TASK_OPTIONS_INIT;
    pool_future_t *futures[64];

    options.deadline_ms = 20;
    for (int i = 0; i < workers; i++)
        CHECK_OK(pool_submit_opts(
            pool, &futures[i], &options, wait_for_file, "s", "deadline"));
    for (int i = 0; i < workers; i++) { /* all ranks are stuck meanwhile */
        CHECK_CODE(POOL_EDEADLINE, pool_future_error(futures[i], PATIENCE_MS));
        pool_future_free(futures[i]);
    }
    mpi_touch("deadline");
    all_serve(pool, workers);
}

static int
touch_in_time(pool_call_t *call)
{
    (void)call;
    mpi_touch("in time");
    return 0;
}

/* The program comes back after the deadline of a task that was in time, unless
 * the machine was slow: then it is tried again. */
static void
in_time(pool_t *pool, int workers)
{
    pool_task_options_t options = POOL_TASK_OPTIONS_INIT;
    pool_future_t *future;
    int rc = POOL_EDEADLINE;

    all_serve(pool, workers);
    options.deadline_ms = 500;
    for (long i = 1; i <= 10 && rc == POOL_EDEADLINE; i++) {
        CHECK_OK(pool_submit_opts(pool, &future, &options, touch_in_time, ""));
        for (int ms = 0; mpi_size("in time") < i && ms < PATIENCE_MS; ms++)
            nanosleep(&(struct timespec){0, 1000000}, NULL);
        nanosleep(&(struct timespec){0, 600000000}, NULL);
        rc = pool_future_error(future, PATIENCE_MS);
        pool_future_free(future);
    }
    CHECK_CODE(0, rc);
}

static int
until_cancelled(pool_call_t *call)
{
    mpi_touch("running");
    for (int ms = 0; ms < PATIENCE_MS; ms++) {
        if (pool_call_cancelled(call)) {
            mpi_touch("heard");
            return pool_call_return(call, "i", 42);
        }
        usleep(1000);
    }
    return 1;
}

static void
await_running(pool_t *pool, long count)
{
    for (int i = 0; i < PATIENCE_MS && mpi_size("running") < count; i++)
        CHECK_OK(pool_poll(pool, 1));
    CHECK(mpi_size("running") == count);
}

static void
cancel(pool_t *pool, int workers)
{
    pool_future_t *running[64], *pending;
    int value;

    for (int i = 0; i < workers; i++)
        CHECK_OK(pool_submit(pool, &running[i], until_cancelled, ""));
    CHECK_OK(pool_submit(pool, &pending, nothing, ""));
    await_running(pool, workers);
    CHECK_OK(pool_future_cancel(pending));
    CHECK_CODE(POOL_ECANCELED, pool_future_error(pending, 0));
    pool_future_free(pending);
    CHECK_CODE(POOL_EBUSY, pool_future_cancel(running[0]));
    CHECK_OK(pool_future_cancel_request(running[0]));
    CHECK_OK(pool_future_result(running[0], PATIENCE_MS, "i", &value));
    CHECK(value == 42 && mpi_size("heard") == 1);
    pool_future_free(running[0]);
    for (int i = 1; i < workers; i++) {
        CHECK_OK(pool_future_cancel_running(running[i]));
        CHECK_CODE(POOL_ECANCELED, pool_future_error(running[i], 0));
        pool_future_free(running[i]);
    }
    all_serve(pool, workers);
}

/* It is asked to stop, its rank serves again. */
static void
cancel_running(pool_t *pool, int workers)
{
    pool_future_t *future;
    long before = mpi_size("running"), heard = mpi_size("heard");

    CHECK_OK(pool_submit(pool, &future, until_cancelled, ""));
    await_running(pool, before + 1);
    CHECK_OK(pool_future_cancel_running(future));
    pool_future_free(future);
    all_serve(pool, workers);
    for (int i = 0; i < PATIENCE_MS && mpi_size("heard") == heard; i++)
        CHECK_OK(pool_poll(pool, 1));
    CHECK(mpi_size("heard") == heard + 1);
}

static int
succeed_third(pool_call_t *call)
{
    mpi_touch("tries");
    (void)call;
    return mpi_size("tries") % 3 == 0 ? 0 : 5;
}

static void
retries(pool_t *pool, int workers)
{
    pool_task_options_t options = POOL_TASK_OPTIONS_INIT;
    pool_future_t *future;

    (void)workers;
    options.retries = 2;
    options.retry_on = POOL_RETRY_TASK;
    CHECK_OK(pool_submit_opts(pool, &future, &options, succeed_third, ""));
    CHECK_OK(pool_future_error(future, PATIENCE_MS));
    CHECK(mpi_size("tries") == 3);
    pool_future_free(future);
}

/* The program submits and stays away from the pool: the task runs. */
static int
touch_file(pool_call_t *call)
{
    (void)call;
    mpi_touch("away");
    return 0;
}

static void
stay_away(pool_t *pool, int workers)
{
    pool_future_t *future;

    all_serve(pool, workers);
    CHECK_OK(pool_submit(pool, &future, touch_file, ""));
    mpi_await("away");
    CHECK(mpi_size("away") == 1);
    CHECK_OK(pool_future_error(future, PATIENCE_MS));
    pool_future_free(future);
}

/* Killed workers' sessions end when their tasks return. */
static void
kill_workers(pool_t *pool, int workers)
{
    pool_future_t *future;

    (void)workers;
    CHECK_OK(pool_submit(pool, &future, wait_for_file, "s", "kill"));
    while (!pool_future_running(future))
        CHECK_OK(pool_poll(pool, 1));
    CHECK_OK(pool_kill_workers(pool));
    mpi_touch("kill");
    CHECK_CODE(POOL_EDIED, pool_future_error(future, PATIENCE_MS));
    CHECK(pool_future_failure(future)->signal == SIGKILL);
    pool_future_free(future);
}

/* Tasks that run are cancelled, their ranks waited for. */
static void
destroy_busy(pool_t *pool, int workers)
{
    long before = mpi_size("running");

    for (int i = 0; i < 3 * workers; i++)
        CHECK_OK(pool_submit(pool, NULL, until_cancelled, ""));
    await_running(pool, before + workers);
}

/* ---- life --------------------------------------------------------------- */

static void
short_lives(pool_options_t *options, int rank)
{
    (void)rank;
    options->max_tasks_per_worker = 3;
    options->min_workers = 1;
}

static void
retire(pool_t *pool, int workers)
{
    pool_stats_t stats = POOL_STATS_INIT;

    all_serve(pool, 5 * workers);
    CHECK_OK(pool_stats(pool, &stats));
    CHECK(stats.workers_retired >= 5 && stats.start_failures == 0);
}

static void
old_age(pool_options_t *options, int rank)
{
    (void)rank;
    options->max_worker_age_ms = 1;
}

static void
grow_old(pool_t *pool, int workers)
{
    pool_stats_t stats = POOL_STATS_INIT;

    for (int i = 0; i < PATIENCE_MS && stats.workers_retired < 3; i++) {
        all_serve(pool, workers);
        CHECK_OK(pool_stats(pool, &stats));
    }
    CHECK(stats.workers_retired >= 3);
}

static void
resize(pool_t *pool, int workers)
{
    CHECK_CODE(POOL_EINVAL, pool_resize(pool, workers + 1));
    CHECK_OK(pool_resize(pool, 1));
    all_serve(pool, workers);
    CHECK_OK(pool_resize(pool, workers));
    all_serve(pool, workers);
}

static int
say(pool_call_t *call)
{
    return pool_call_log(call, "half way on rank %d", pool_call_rank(call));
}

static int lines;

static void
on_line(const pool_log_t *line, void *data)
{
    (void)data;
    if (line->kind == POOL_LOG_TASK && line->pid > 0 &&
        strncmp(line->text, "half way on rank ", 17) == 0)
        lines++;
}

static void
with_log(pool_options_t *options, int rank)
{
    (void)rank;
    lines = 0;
    options->log = on_line;
    options->worker_stdout = POOL_OUTPUT_NULL;
    options->strict = 1;
    options->idle_timeout_ms = 1;
}

static int
print(pool_call_t *call)
{
    (void)call;
    printf("WORKER PRINTED\n");
    return 0;
}

static void
log_lines(pool_t *pool, int workers)
{
    pool_future_t *future;

    (void)workers;
    CHECK_OK(pool_submit(pool, &future, print, ""));
    CHECK_OK(pool_future_error(future, PATIENCE_MS));
    pool_future_free(future);
    CHECK_OK(pool_submit(pool, &future, say, ""));
    CHECK_OK(pool_future_error(future, PATIENCE_MS));
    pool_future_free(future);
    CHECK(lines == 1);
}

/* A child of rank 0's gives back its copy and disturbs nobody. */
static void
foreign_child(pool_t *pool, int workers)
{
    int status;

    all_serve(pool, workers);
    pid_t pid = fork();
    if (pid == 0) {
        bool refused = pool_submit(pool, NULL, nothing, "") == POOL_EFORKED;
        pool_destroy(pool);
        _exit(!refused);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    all_serve(pool, workers);
}

static int
nest(pool_call_t *call)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *future;
    pool_t *pool;
    int rc = pool_mpi_create(&pool, NULL);

    if (rc != POOL_ENOTSUP)
        return 1;
    options.workers = 2;
    rc = pool_create_auto(&pool, &options);
    if (rc < 0)
        return 2;
    rc = pool_submit(pool, &future, nothing, "");
    if (rc == 0)
        rc = pool_future_error(future, PATIENCE_MS);
    pool_future_free(future);
    pool_destroy(pool);
    return rc == 0 ? pool_call_return(call, "i", 5) : 3;
}

static void
nested(pool_t *pool, int workers)
{
    pool_future_t *future;
    int value;

    (void)workers;
    CHECK_OK(pool_submit(pool, &future, nest, ""));
    CHECK_OK(pool_future_result(future, PATIENCE_MS, "i", &value));
    CHECK(value == 5);
    pool_future_free(future);
}

/* A child of a task's may exit; it is no rank. */
static int
fork_and_exit(pool_call_t *call)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        exit(4);
    if (waitpid(pid, &status, 0) != pid)
        return 1;
    return pool_call_return(call, "i", WEXITSTATUS(status));
}

static void
child_exits(pool_t *pool, int workers)
{
    pool_future_t *future;
    int value;

    (void)workers;
    CHECK_OK(pool_submit(pool, &future, fork_and_exit, ""));
    CHECK_OK(pool_future_result(future, PATIENCE_MS, "i", &value));
    CHECK(value == 4);
    pool_future_free(future);
}

/* A wait for futures of this pool and of one of forked workers. */
static void
two_pools(pool_t *pool, int workers)
{
    pool_future_t *futures[2];
    pool_t *other;
    size_t done;

    (void)workers;
    CHECK_OK(pool_create(&other, NULL));
    CHECK_OK(pool_submit(pool, &futures[0], nothing, ""));
    CHECK_OK(pool_submit(other, &futures[1], nothing, ""));
    CHECK_OK(pool_wait(futures, 2, POOL_ALL_COMPLETED, PATIENCE_MS, &done));
    CHECK(done == 2);
    pool_future_free(futures[0]);
    pool_future_free(futures[1]);
    pool_destroy(other);
}

const struct mpi_case mpi_cases_life[] = {
    {"state", state, with_state, 0},
    {"state_is_over", state_is_over, NULL, 0},
    {"failing_start", NULL, failing_start, POOL_EBROKEN},
    {"deadline", deadline, NULL, 0},
    {"in_time", in_time, NULL, 0},
    {"cancel", cancel, NULL, 0},
    {"cancel_running", cancel_running, NULL, 0},
    {"retries", retries, NULL, 0},
    {"stay_away", stay_away, NULL, 0},
    {"kill_workers", kill_workers, NULL, 0},
    {"destroy_busy", destroy_busy, NULL, 0},
    {"retire", retire, short_lives, 0},
    {"grow_old", grow_old, old_age, 0},
    {"resize", resize, NULL, 0},
    {"log_lines", log_lines, with_log, 0},
    {"foreign_child", foreign_child, NULL, 0},
    {"nested", nested, NULL, 0},
    {"child_exits", child_exits, NULL, 0},
    {"two_pools", two_pools, NULL, 0},
    {NULL, NULL, NULL, 0},
};
