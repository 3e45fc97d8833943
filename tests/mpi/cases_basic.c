/* Submitting over MPI: values, errors, functions of libraries, maps. */
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

#include "mpi_check.h"

static int
square(pool_call_t *call)
{
    double x;
    int rc = pool_call_args(call, "d", &x);

    return rc < 0 ? rc : pool_call_return(call, "d", x * x);
}

static int
who(pool_call_t *call)
{
    return pool_call_return(call, "ii", (int)getpid(), pool_call_size(call));
}

static void
submit(pool_t *pool, int workers)
{
    pool_future_t *futures[200];
    double y;

    CHECK(pool_worker_count(pool) == workers);
    for (int i = 0; i < 200; i++)
        CHECK_OK(pool_submit(pool, &futures[i], square, "d", (double)i));
    for (int i = 0; i < 200; i++) {
        CHECK_OK(pool_future_result(futures[i], PATIENCE_MS, "d", &y));
        CHECK(y == (double)i * i);
        pool_future_free(futures[i]);
    }
}

/* As many tasks as there are ranks, all at once: each in another process. */
static int
meet(pool_call_t *call)
{
    mpi_touch("meeting");
    for (int ms = 0; mpi_size("meeting") < pool_call_size(call); ms++) {
        if (ms == PATIENCE_MS)
            return 1;
        usleep(1000);
    }
    return who(call);
}

static void
every_rank(pool_t *pool, int workers)
{
    pool_future_t *futures[64];
    int pids[64], size;

    for (int i = 0; i < workers; i++)
        CHECK_OK(pool_submit(pool, &futures[i], meet, ""));
    for (int i = 0; i < workers; i++) {
        CHECK_OK(
            pool_future_result(futures[i], PATIENCE_MS, "ii", &pids[i], &size));
        CHECK(size == workers && (workers == 1 || pids[i] != (int)getpid()));
        for (int j = 0; j < i; j++)
            CHECK(pids[j] != pids[i]);
        pool_future_free(futures[i]);
    }
}

static int
fail(pool_call_t *call)
{
    return pool_call_fail(call, 7, "not today");
}

static int
wrong_format(pool_call_t *call)
{
    int i;

    return pool_call_args(call, "i", &i);
}

static void
errors(pool_t *pool, int workers)
{
    pool_future_t *future;

    (void)workers;
    CHECK_OK(pool_submit(pool, &future, fail, ""));
    CHECK_CODE(POOL_ETASK, pool_future_error(future, PATIENCE_MS));
    const pool_failure_t *failure = pool_future_failure(future);
    CHECK(
        failure->task_code == 7 && strcmp(failure->message, "not today") == 0);
    pool_future_free(future);
    CHECK_OK(pool_submit(pool, &future, wrong_format, "d", 1.5));
    CHECK_CODE(POOL_EFORMAT, pool_future_error(future, PATIENCE_MS));
    pool_future_free(future);
}

/* ---- payloads ----------------------------------------------------------- */

static int
echo(pool_call_t *call)
{
    const void *data;
    size_t size;

    pool_call_bytes(call, &data, &size);
    return pool_call_return_bytes(call, data, size);
}

static void
large(pool_t *pool, int workers)
{
    static const size_t sizes[] = {
        0, 1, 7, 8, 65535, 65536, 262144, 1048576, 9000001, 20000000};
    enum { N = sizeof sizes / sizeof sizes[0] };
    pool_future_t *futures[N];
    uint8_t *bytes = malloc(20000000);

    (void)workers;
    for (size_t i = 0; i < 20000000; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    for (int i = 0; i < N; i++)
        CHECK_OK(
            pool_submit_bytes(pool, &futures[i], NULL, echo, bytes, sizes[i]));
    for (int i = 0; i < N; i++) {
        const void *data;
        size_t size;
        CHECK_OK(pool_future_bytes(futures[i], PATIENCE_MS, &data, &size));
        CHECK(
            size == sizes[i] && (size == 0 || memcmp(data, bytes, size) == 0));
        pool_future_free(futures[i]);
    }
    free(bytes);
}

/* ---- functions ---------------------------------------------------------- */

static void *plugin;

static void
load_plugin(pool_options_t *options, int rank)
{
    (void)options;
    (void)rank;
    plugin = dlopen(getenv("MPI_TEST_PLUGIN"), RTLD_NOW);
}

static void
load_plugin_here(pool_options_t *options, int rank)
{
    if (rank == 0)
        load_plugin(options, rank);
}

static pool_fn
plugin_function(void)
{
    CHECK(plugin != NULL);
    return (pool_fn)(uintptr_t)dlsym(plugin, "plugin_task");
}

static void
plugin_known(pool_t *pool, int workers)
{
    pool_future_t *future;

    (void)workers;
    CHECK_OK(pool_submit(pool, &future, plugin_function(), ""));
    CHECK_CODE(POOL_ETASK, pool_future_error(future, PATIENCE_MS));
    CHECK(pool_future_failure(future)->task_code == 4711);
    pool_future_free(future);
}

static void
plugin_unknown(pool_t *pool, int workers)
{
    pool_future_t *future;

    (void)workers;
    if (plugin == NULL)
        load_plugin(NULL, 0);
    CHECK_OK(pool_submit(pool, &future, plugin_function(), ""));
    CHECK_CODE(POOL_ENOFUNC, pool_future_error(future, PATIENCE_MS));
    pool_future_free(future);
    submit(pool, pool_worker_count(pool)); /* it goes on */
}

static int
in_libc(pool_call_t *call)
{
    return abs((int)(intptr_t)call | 1) == 0; /* has a relocation */
}

static void
library(pool_t *pool, int workers)
{
    pool_future_t *future;

    (void)workers;
    CHECK_OK(pool_submit(pool, &future, in_libc, ""));
    CHECK_OK(pool_future_error(future, PATIENCE_MS));
    pool_future_free(future);
}

/* ---- maps --------------------------------------------------------------- */

static int
next_input(void *data, pool_enc_t *arguments)
{
    int *i = data;

    if (*i == 100)
        return 0;
    pool_enc_put_double(arguments, (double)(*i)++);
    return 1;
}

static void
map(pool_t *pool, int workers)
{
    pool_map_options_t options = POOL_MAP_OPTIONS_INIT;
    pool_map_t *m;
    int next = 0;
    double y;

    (void)workers;
    options.chunksize = 7;
    CHECK_OK(pool_map(pool, &m, &options, square, next_input, &next));
    for (int i = 0; i < 100; i++) {
        CHECK_OK(pool_map_next(m, PATIENCE_MS, "d", &y));
        CHECK(y == (double)i * i);
    }
    CHECK_CODE(POOL_ENOENT, pool_map_next(m, PATIENCE_MS, "d", &y));
    pool_map_free(m);
}

const struct mpi_case mpi_cases_basic[] = {
    {"submit", submit, NULL, 0},
    {"every_rank", every_rank, NULL, 0},
    {"errors", errors, NULL, 0},
    {"large", large, NULL, 0},
    {"plugin_later", plugin_unknown, NULL, 0},
    {"plugin_here", plugin_unknown, load_plugin_here, 0},
    {"plugin_known", plugin_known, load_plugin, 0},
    {"library", library, NULL, 0},
    {"map", map, NULL, 0},
    {NULL, NULL, NULL, 0},
};
