/* What the tests of maps share: the drives, and numbers for inputs. */
#ifndef FORKPOOL_TESTS_MAP_CHECK_H
#define FORKPOOL_TESTS_MAP_CHECK_H

#include <string.h>
#include <uv.h>

#include "support.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define ITEMS 40

/* How a pool is driven: each test runs for each of them. */
struct drive {
    const char *name;
    int backend, drive, workers;
    bool host; /* in a loop of the test's */
};

static const struct drive drives[] = {
    {"serial", POOL_SERIAL, POOL_DRIVE_CALLER, 1, false},
    {"one worker", POOL_FORK, POOL_DRIVE_CALLER, 1, false},
    {"three workers", POOL_FORK, POOL_DRIVE_CALLER, 3, false},
    {"a thread", POOL_FORK, POOL_DRIVE_THREAD, 2, false},
    {"a host's loop", POOL_FORK, POOL_DRIVE_CALLER, 2, true},
};

static uv_loop_t host_loop;
static uv_timer_t host_tick;
static bool in_host;

static inline void
on_host_tick(uv_timer_t *timer)
{
    (void)timer;
}

/* Nothing may wait in host drive: the loop runs a little instead. */
static inline bool
host_turn(void)
{
    uv_timer_start(&host_tick, on_host_tick, 5, 0);
    uv_run(&host_loop, UV_RUN_ONCE);
    return true;
}

#define map_next(map, timeout_ms, ...)                                         \
    __extension__({                                                            \
        int next_rc, next_ms = (timeout_ms);                                   \
        do                                                                     \
            next_rc = pool_map_next(                                           \
                map, in_host && next_ms > 0 ? 0 : next_ms, __VA_ARGS__);       \
        while (next_rc == POOL_ETIMEDOUT && in_host &&                         \
               next_ms == PATIENCE_MS && host_turn());                         \
        next_rc;                                                               \
    })

static inline void
end_pool(pool_t *pool)
{
    pool_destroy(pool);
    if (!in_host)
        return;
    uv_close((uv_handle_t *)&host_tick, NULL);
    uv_run(&host_loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&host_loop), 0);
    in_host = false;
}

static inline pool_t *
make_with(const struct drive *drive, const pool_options_t *base)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool = NULL;

    if (base != NULL)
        options = *base;
    options.backend = drive->backend;
    options.drive = drive->drive;
    options.workers = drive->workers;
    in_host = drive->host;
    if (in_host) {
        ck_assert_int_eq(uv_loop_init(&host_loop), 0);
        uv_timer_init(&host_loop, &host_tick);
        options.loop = &host_loop;
    }
    int rc = pool_create(&pool, &options);
    ck_assert_msg(rc == 0, "%s: %s", drive->name, pool_errmsg());
    return pool;
}

static inline pool_t *
make(const struct drive *drive)
{
    return make_with(drive, NULL);
}

/* ---- inputs and functions --------------------------------------------- */

/* Numbers from 0: `count` of them, or for ever; failing at one of them. */
struct numbers {
    int taken; /* inputs given; calls that ended or failed do not count */
    int count; /* -1: for ever */
    int fail_at, code;
    int ends; /* how often the end was told */
};

static inline int
next_number(void *data, pool_enc_t *arguments)
{
    struct numbers *n = data;

    if (n->code != 0 && n->taken == n->fail_at) {
        n->ends++;
        return n->code;
    }
    if (n->taken == n->count) {
        n->ends++;
        return 0;
    }
    pool_enc_int(arguments, n->taken++);
    return 1;
}

static inline int
task_square(pool_call_t *call)
{
    int32_t x;
    int rc = pool_call_args(call, "i", &x);

    return rc < 0 ? rc : pool_call_return(call, "i", x * x);
}

static inline pool_map_t *
begin(pool_t *pool, pool_fn fn, struct numbers *numbers, int64_t chunksize,
    int64_t buffersize)
{
    pool_map_options_t options = POOL_MAP_OPTIONS_INIT;
    pool_map_t *map = NULL;

    options.chunksize = chunksize;
    options.buffersize = buffersize;
    int rc = pool_map(pool, &map, &options, fn, next_number, numbers);
    ck_assert_msg(rc == 0, "%s", pool_errmsg());
    return map;
}

static inline void
expect_number(pool_map_t *map, int32_t expected)
{
    int32_t x = -1;
    int rc = map_next(map, PATIENCE_MS, "i", &x);

    ck_assert_msg(rc == 0, "%s", pool_errmsg());
    ck_assert_int_eq(x, expected);
    ck_assert_ptr_null(pool_map_failure(map));
}

/* Some code, with a record that says the same. */
static inline const pool_failure_t *
expect_failure(pool_map_t *map, int code)
{
    int32_t x = -1;

    ck_assert_int_eq(map_next(map, PATIENCE_MS, "i", &x), code);
    ck_assert_int_eq(x, -1);
    const pool_failure_t *failure = pool_map_failure(map);
    ck_assert_ptr_nonnull(failure);
    ck_assert_int_eq(failure->code, code);
    ck_assert_ptr_nonnull(failure->message);
    ck_assert_msg(strstr(pool_errmsg(), failure->message) != NULL, "%s and %s",
        pool_errmsg(), failure->message);
    return failure;
}

static inline void
expect_end(pool_map_t *map)
{
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(map_next(map, PATIENCE_MS, NULL), POOL_ENOENT);
        ck_assert_ptr_null(pool_map_failure(map));
    }
}

static inline void
each_drive(void (*run)(const struct drive *drive))
{
    test_begin();
    for (size_t i = 0; i < COUNT(drives); i++)
        run(&drives[i]);
    test_end();
}

#endif
