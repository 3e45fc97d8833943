/* The host's loop is given back in time: a debug build measures each turn and
 * aborts where the library takes more than a millisecond of CPU time. These
 * are the loads that would; in other builds they check the outcomes alone. */
#define _GNU_SOURCE
#include "support.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#define MEGABYTE ((size_t)1 << 20)

static uv_loop_t loop;

static pool_t *
host_pool(int workers)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool = NULL;

    options.workers = options.min_workers = workers;
    options.loop = &loop;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_msg(pool_create(&pool, &options) == 0, "%s", pool_errmsg());
    return pool;
}

static void
end(pool_t *pool)
{
    pool_stats_t stats = POOL_STATS_INIT;

    ck_assert_int_eq(pool_stats(pool, &stats), 0);
#ifdef POOL_DEBUG
    ck_assert_uint_gt(stats.longest_turn_ns, 0);
#else
    ck_assert_uint_eq(stats.longest_turn_ns, 0);
#endif
    pool_destroy(pool);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static void
await(pool_future_t *f)
{
    while (pool_future_error(f, 0) == POOL_ETIMEDOUT)
        uv_run(&loop, UV_RUN_ONCE);
}

/* Workers die and are replaced beside a host of much memory. */
static void
respawns_beside_much_memory(int unused)
{
    size_t size = (test_full() ? 1024 : 128) * MEGABYTE;

    (void)unused;
    test_begin();
    pool_t *pool = host_pool(2);
    char *memory = malloc(size);
    ck_assert_ptr_nonnull(memory);
    memset(memory, 1, size);
    for (int i = 0; i < 10; i++) {
        pool_future_t *f;
        ck_assert_int_eq(pool_submit(pool, &f, task_kill_self, ""), 0);
        await(f);
        ck_assert_int_eq(pool_future_error(f, 0), POOL_EDIED);
        pool_future_free(f);
    }
    free(memory);
    end(pool);
    test_end();
}

static int freed;

static void
free_payload(void *data)
{
    free(data);
    freed++;
}

/* Large payloads come, go and are freed in slices. */
static void
large_payloads_in_slices(int unused)
{
    size_t size = 100 * MEGABYTE;

    (void)unused;
    test_begin();
    pool_t *pool = host_pool(1);
    freed = 0;
    for (int i = 0; i < 2; i++) {
        char *bytes = malloc(size);
        const void *data;
        pool_future_t *f;
        size_t n = 0;
        ck_assert_ptr_nonnull(bytes);
        memset(bytes, i + 1, size);
        ck_assert_int_eq(pool_submit_owned(pool, &f, NULL, task_echo, bytes,
                             size, free_payload),
            0);
        await(f);
        ck_assert_int_eq(pool_future_bytes(f, 0, &data, &n), 0);
        ck_assert_uint_eq(n, size);
        ck_assert_int_eq(((const char *)data)[n - 1], i + 1);
        pool_future_free(f);
    }
    ck_assert_int_eq(freed, 2);
    end(pool);
    test_end();
}

static int
task_nothing(pool_call_t *call)
{
    (void)call;
    return 0;
}

static void
count(pool_future_t *future, void *data)
{
    *(int *)data += pool_future_error(future, 0) == 0;
    pool_future_free(future);
}

/* Replies come faster than they are read. */
static void
a_flood_of_replies(int unused)
{
    int n = test_full() ? 1000000 : 100000, done = 0;

    (void)unused;
    test_begin();
    pool_t *pool = host_pool(2);
    for (int i = 0; i < n; i++) {
        pool_future_t *f;
        require(pool_submit(pool, &f, task_nothing, "") == 0);
        require(pool_future_add_done_callback(f, count, &done) == 0);
    }
    while (done < n)
        uv_run(&loop, UV_RUN_ONCE);
    end(pool);
    test_end();
}

/* Many pending futures are cancelled at once. */
static void
many_are_cancelled(int unused)
{
    int n = test_full() ? 1000000 : 100000;
    pool_future_t **f = malloc((size_t)n * sizeof *f), *first;

    (void)unused;
    ck_assert_ptr_nonnull(f);
    test_begin();
    pool_t *pool = host_pool(1);
    ck_assert_int_eq(pool_submit(pool, &first, task_hang, ""), 0);
    for (int i = 0; i < n; i++)
        require(pool_submit(pool, &f[i], task_nothing, "") == 0);
    ck_assert_int_eq(pool_shutdown(pool, POOL_SHUTDOWN_CANCEL_FUTURES), 0);
    ck_assert(pool_future_cancelled(f[n - 1])); /* whoever asks sees it */
    await(f[n / 2]);
    while (pool_future_cancel(first) != 0 && !pool_future_running(first))
        uv_run(&loop, UV_RUN_ONCE);
    end(pool);
    for (int i = 0; i < n; i++) {
        require(pool_future_cancelled(f[i]));
        pool_future_free(f[i]);
    }
    pool_future_free(first);
    free(f);
    test_end();
}

/* A debug build says who frees a future twice. */
static void
freed_twice(int unused)
{
    (void)unused;
#ifdef POOL_DEBUG
    pid_t child = fork();
    if (child == 0) {
        pool_t *pool = test_pool(1);
        pool_future_t *f;
        (void)pool_submit(pool, &f, task_nothing, "");
        (void)pool_future_error(f, PATIENCE_MS);
        pool_future_free(f);
        pool_future_free(f);
        _exit(0);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGABRT);
#endif
}

static const struct test tests[] = {
    {"respawns_beside_much_memory", respawns_beside_much_memory},
    {"large_payloads_in_slices", large_payloads_in_slices},
    {"a_flood_of_replies", a_flood_of_replies},
    {"many_are_cancelled", many_are_cancelled},
    {"freed_twice", freed_twice},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("budget", tests, argc, argv);
}
