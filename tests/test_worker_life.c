/* A worker's life: initializer, finalizer and state, random bits, the limit of
 * its memory. */
#define _GNU_SOURCE
#include "lines.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "call.h"
#include "spawn.h"

/* ---- initializer, state, finalizer ------------------------------------ */

static struct {
    int started, finished, freed;
} * shared;

struct state {
    double factor;
    int calls;
};

/* "sad" a name that shifts what follows, and numbers; "t" a count to keep. */
static int
initialize(pool_call_t *call)
{
    const char *name;
    const double *numbers;
    size_t n;
    int rc = pool_call_args(call, "sad", &name, &numbers, &n);

    if (rc < 0)
        return rc;
    if (strcmp(name, "fail") == 0)
        return pool_call_fail(call, 3, "no model\ntoday");
    if (strcmp(name, "fail once") == 0 &&
        __atomic_fetch_add(&shared->started, 1, __ATOMIC_SEQ_CST) == 0)
        return 9;
    if (strcmp(name, "crash") == 0)
        raise(SIGKILL);
    if (strcmp(name, "exit") == 0)
        exit(0);
    if (*pool_call_state(call) != NULL || (uintptr_t)numbers % 8 != 0)
        return 1;
    struct state *state = malloc(sizeof *state);
    if (state == NULL)
        return 2;
    *state = (struct state){numbers[n - 1], 0};
    *pool_call_state(call) = state;
    if (strcmp(name, "log") == 0)
        pool_call_log(call, "ready %d of %d", pool_call_rank(call) + 1,
            pool_call_size(call));
    (void)pool_call_return(call, "s", "an initializer's value is dropped");
    return 0;
}

static void
finalize(void *data)
{
    struct state *state = data;

    if (state != NULL && state->factor == 2.5)
        __atomic_add_fetch(&shared->finished, 1, __ATOMIC_SEQ_CST);
    free(state);
}

static int
task_scaled(pool_call_t *call)
{
    struct state *state = *pool_call_state(call);
    double x;
    int rc = pool_call_args(call, "d", &x);

    return rc < 0 ? rc
                  : pool_call_return(
                        call, "di", x * state->factor, ++state->calls);
}

static unsigned char setup_arguments[200];

static void
set_initializer(pool_options_t *options, const char *name)
{
    static const double numbers[] = {1, 2, 2.5};

    ck_assert_int_eq(pool_encode(setup_arguments, sizeof setup_arguments,
                         &options->initializer_arguments_size, "sad", name,
                         numbers, (size_t)3),
        0);
    options->initializer = initialize;
    options->initializer_arguments = setup_arguments;
    options->finalizer = finalize;
    shared = test_shared(sizeof *shared);
}

static void
state_is_kept(int unused)
{
    pool_future_t *f;
    double y;
    int calls;

    (void)unused;
    test_begin();
    pool_options_t options = with_log(1);
    set_initializer(&options, "log");
    pool_t *pool = make(&options);
    memset(setup_arguments, 0xff, sizeof setup_arguments); /* copied */
    for (int i = 1; i <= 3; i++) {
        ck_assert_int_eq(pool_submit(pool, &f, task_scaled, "d", 2.0), 0);
        ck_assert_int_eq(
            pool_future_result(f, PATIENCE_MS, "di", &y, &calls), 0);
        ck_assert_double_eq(y, 5);
        ck_assert_int_eq(calls, i);
        pool_future_free(f);
    }
    const pool_log_t *line = find_line(&lines, "ready 1 of 1");
    ck_assert_ptr_nonnull(line);
    ck_assert_int_eq(line->kind, POOL_LOG_TASK);
    ck_assert_uint_eq(line->task_id, 0);
    ck_assert_int_gt(line->pid, 0);
    ck_assert_int_eq(shared->finished, 0);
    pool_destroy(pool);
    ck_assert_int_eq(shared->finished, 1);
    test_end();
}

/* Each worker has a state of its own, and one that is killed no finalizer. */
static void
finalizers_of_those_that_retire(int unused)
{
    (void)unused;
    test_begin();
    pool_options_t options = with_log(3);
    set_initializer(&options, "many");
    pool_t *pool = make(&options);
    run(pool, task_kill_self, POOL_EDIED);
    run(pool, task_pid, 0);
    ck_assert_int_eq(shared->finished, 0);
    ck_assert_int_eq(pool_shutdown(pool, POOL_SHUTDOWN_WAIT), 0);
    ck_assert_int_ge(shared->finished, 2);
    ck_assert_int_le(shared->finished, 3); /* one may be starting again */
    pool_destroy(pool);
    test_end();
}

/* Arguments that no pipe holds at once. */
static void
large_arguments(int unused)
{
    enum { N = 300000 };
    double *numbers = calloc(N, sizeof *numbers), y = 0;
    unsigned char *bytes = malloc(N * sizeof *numbers + 100);
    pool_future_t *f;
    int calls = 0;

    (void)unused;
    ck_assert(numbers != NULL && bytes != NULL);
    test_begin();
    pool_options_t options = with_log(2);
    set_initializer(&options, "large");
    numbers[N - 1] = 2.5;
    ck_assert_int_eq(pool_encode(bytes, N * sizeof *numbers + 100,
                         &options.initializer_arguments_size, "sad", "large",
                         numbers, (size_t)N),
        0);
    options.initializer_arguments = bytes;
    pool_t *pool = make(&options);
    ck_assert_int_eq(pool_submit(pool, &f, task_scaled, "d", 2.0), 0);
    ck_assert_int_eq(pool_future_result(f, PATIENCE_MS, "di", &y, &calls), 0);
    ck_assert_double_eq(y, 5);
    pool_future_free(f);
    pool_destroy(pool);
    ck_assert_int_eq(shared->finished, 2);
    test_end();
    free(numbers);
    free(bytes);
}

static void
a_finalizer_alone(int unused)
{
    (void)unused;
    test_begin();
    pool_options_t options = with_log(1);
    set_initializer(&options, "not called");
    options.initializer = NULL;
    options.initializer_arguments_size = 0;
    pool_t *pool = make(&options);
    run(pool, task_pid, 0);
    pool_destroy(pool); /* with NULL for a state */
    ck_assert_int_eq(shared->finished, 0);
    test_end();
}

static void
initializers_that_fail(int unused)
{
    static const struct {
        const char *name, *message;
    } cases[] = {{"fail", "no model?today"}, {"crash", ""}, {"exit", ""}};

    (void)unused;
    test_begin();
    for (int i = 0; i < 3; i++) {
        pool_options_t options = with_log(2);
        pool_t *pool = NULL;
        set_initializer(&options, cases[i].name);
        options.max_start_failures = 2;
        ck_assert_int_eq(pool_create(&pool, &options), POOL_EBROKEN);
        ck_assert_msg(strstr(pool_errmsg(), cases[i].message) != NULL, "%s",
            pool_errmsg());
        ck_assert_ptr_null(pool);
        ck_assert_int_eq(shared->finished, 0);
    }
    test_end();
}

static void
an_initializer_that_fails_once(int unused)
{
    (void)unused;
    test_begin();
    pool_options_t options = with_log(2);
    set_initializer(&options, "fail once");
    pool_t *pool = make(&options);
    run(pool, task_pid, 0);
    pool_destroy(pool);
    ck_assert_int_eq(shared->started, 3);
    test_end();
}

/* ---- random bits ------------------------------------------------------ */

static int
task_seed(pool_call_t *call)
{
    return pool_call_return(call, "t", pool_call_seed(call));
}

static int
execute_seed(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    (void)model;
    (void)rows;
    return pool_call_return(call, "t", pool_call_seed(call));
}

enum { SEEDS = 20 };

/* The bits of SEEDS tasks, and of a scatter's first chunk. */
static void
collect_seeds(const pool_options_t *options, uint64_t seeds[SEEDS + 1])
{
    static const double rows[4];
    pool_job_t job = POOL_JOB_INIT;
    const pool_local_results_t *ranks;
    pool_future_t *f[SEEDS];
    pool_scatter_t *scatter;
    pool_results_t *results;
    size_t n;
    pool_t *pool = make(options);

    for (int i = 0; i < SEEDS; i++)
        ck_assert_int_eq(pool_submit(pool, &f[i], task_seed, ""), 0);
    for (int i = 0; i < SEEDS; i++) {
        ck_assert_int_eq(
            pool_future_result(f[i], PATIENCE_MS, "t", &seeds[i]), 0);
        pool_future_free(f[i]);
    }
    job.execute = execute_seed;
    job.rows = 4;
    job.columns = 1;
    job.values = rows;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    ck_assert_int_eq(pool_gather(scatter, PATIENCE_MS, &results), 0);
    ck_assert_int_eq(pool_local_results(pool, results, &ranks, &n), 0);
    ck_assert_int_eq(pool_decode(ranks[0].results, ranks[0].results_size, "t",
                         &seeds[SEEDS]),
        0);
    pool_scatter_free(scatter);
    pool_destroy(pool);
}

static void
seeds_are_the_same_everywhere(int unused)
{
    uint64_t one[SEEDS + 1], three[SEEDS + 1], serial[SEEDS + 1],
        other[SEEDS + 1];

    (void)unused;
    test_begin();
    pool_options_t options = with_log(1);
    options.seed = 42;
    collect_seeds(&options, one);
    options.workers = options.min_workers = 3;
    collect_seeds(&options, three);
    options.workers = options.min_workers = 0;
    options.backend = POOL_SERIAL;
    collect_seeds(&options, serial);
    options.seed = 43;
    collect_seeds(&options, other);
    ck_assert_mem_eq(one, three, sizeof one);
    ck_assert_mem_eq(one, serial, sizeof one);
    for (int i = 0; i <= SEEDS; i++)
        for (int j = 0; j <= SEEDS; j++) {
            ck_assert(one[i] != other[j]);
            ck_assert(i == j || one[i] != one[j]);
        }
    test_end();
}

/* ---- limits ----------------------------------------------------------- */

static int
task_map_64_mib(pool_call_t *call)
{
    void *memory = mmap(NULL, 64u << 20, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int32_t mapped = memory != MAP_FAILED;

    if (mapped)
        munmap(memory, 64u << 20);
    return pool_call_return(call, "b", mapped != 0);
}

static void
memory_is_limited(int unused)
{
    static const int64_t limits[] = {POOL_NONE, 32 << 20, 256 << 20};

    (void)unused;
    test_begin();
    for (int i = 0; i < 3; i++) {
        pool_options_t options = with_log(1);
        pool_future_t *f;
        bool mapped = false;
        options.max_worker_memory = limits[i];
        pool_t *pool = make(&options);
        ck_assert_int_eq(pool_submit(pool, &f, task_map_64_mib, ""), 0);
        ck_assert_int_eq(pool_future_result(f, PATIENCE_MS, "b", &mapped), 0);
        ck_assert_int_eq(mapped, i != 1);
        pool_future_free(f);
        pool_destroy(pool);
    }
    test_end();
}

static void
resident_memory(int unused)
{
    enum { SIZE = 32 << 20 };
    uint64_t before = pool__memory_resident();
    char *memory = mmap(
        NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)unused;
    ck_assert_uint_gt(before, 0);
    ck_assert(memory != MAP_FAILED);
    memset(memory, 1, SIZE);
    ck_assert_uint_ge(pool__memory_resident(), before + SIZE / 2);
    munmap(memory, SIZE);
}

/* ---- what a call knows ------------------------------------------------- */

static void
asked_to_stop(int unused)
{
    uint64_t word = 0;
    struct pool_call call = {.cancel_word = &word};

    (void)unused;
    ck_assert(!pool_call_cancelled(&call)); /* 0 is no task */
    call.ordinal = 7;
    ck_assert(!pool_call_cancelled(&call));
    word = 6;
    ck_assert(!pool_call_cancelled(&call));
    word = 7;
    ck_assert(pool_call_cancelled(&call));
    call.cancel_word = NULL;
    ck_assert(!pool_call_cancelled(&call));
    ck_assert(!pool_call_cancelled(NULL));
    ck_assert_ptr_null(pool_call_state(NULL));
    ck_assert_uint_eq(pool_call_seed(NULL), 0);
}

static const struct test tests[] = {
    {"state_is_kept", state_is_kept},
    {"finalizers_of_those_that_retire", finalizers_of_those_that_retire},
    {"large_arguments", large_arguments},
    {"a_finalizer_alone", a_finalizer_alone},
    {"initializers_that_fail", initializers_that_fail},
    {"an_initializer_that_fails_once", an_initializer_that_fails_once},
    {"seeds_are_the_same_everywhere", seeds_are_the_same_everywhere},
    {"memory_is_limited", memory_is_limited},
    {"resident_memory", resident_memory},
    {"asked_to_stop", asked_to_stop},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("worker_life", tests, argc, argv);
}
