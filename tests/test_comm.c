/* Groups of one: the owner of a pool, and the one rank of a serial pool. */
#include "support.h"

#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem.h"

static pool_t *
make(int backend)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool = NULL;

    options.backend = backend;
    options.workers = 2;
    if (backend == POOL_SERIAL)
        options.workers = 1;
    options.max_result = 1000000;
    ck_assert_msg(pool_create(&pool, &options) == 0, "%s", pool_errmsg());
    return pool;
}

/* The number of the line that was wrong; 0: none. Run in tasks too. */
#define NEED(holds)                                                            \
    do {                                                                       \
        if (!(holds))                                                          \
            return __LINE__;                                                   \
    } while (0)

/* What the parallel manager's own tests expect of a group of one. */
static int
values_of_one(pool_comm_t *comm)
{
    int64_t numbers[3] = {1, 2, 3}, to[3] = {0};
    double x = 0.1, y = 0;
    unsigned char value[32];
    const pool_part_t *parts;
    const char *text;
    const void *out;
    size_t size, sizes[1] = {24};

    NEED(comm != NULL && pool_comm_is_root(comm));
    NEED(pool_comm_rank(comm) == 0 && pool_comm_size(comm) == 1);
    NEED(pool_barrier(comm) == 0);
    NEED(pool_bcast(comm, numbers, sizeof numbers) == 0 && numbers[2] == 3);
    NEED(pool_bcast(comm, NULL, 0) == 0);
    NEED(pool_encode(value, sizeof value, &size, "s", "test_data") == 0);
    NEED(pool_bcast_value(comm, value, size, &out, &size) == 0);
    NEED(out != value && pool_decode(out, size, "s", &text) == 0);
    NEED(strcmp(text, "test_data") == 0);
    NEED(pool_allgather(comm, "test_data", 10, &parts) == 0);
    NEED(parts[0].size == 10 && strcmp(parts[0].data, "test_data") == 0);
    NEED(pool_allgather(comm, NULL, 0, &parts) == 0);
    NEED(parts[0].size == 0 && parts[0].data == NULL);
    NEED(pool_allgather(comm, "passed on", 10, &parts) == 0);
    for (int i = 0; i < 3; i++) /* what one has given, to the next */
        NEED(pool_allgather(comm, parts[0].data, parts[0].size, &parts) == 0);
    NEED(parts[0].size == 10 && strcmp(parts[0].data, "passed on") == 0);
    NEED(pool_allreduce(comm, numbers, to, 3, POOL_INT64, POOL_SUM) == 0);
    NEED(memcmp(to, numbers, sizeof to) == 0);
    NEED(pool_allreduce(comm, numbers, numbers, 3, POOL_INT64, POOL_MAX) == 0);
    NEED(pool_allreduce(comm, &x, &y, 1, POOL_DOUBLE, POOL_PROD) == 0);
    NEED(y == x);
    memset(to, 0, sizeof to);
    NEED(pool_gatherv(comm, numbers, 24, to, 24, sizes) == 0);
    NEED(memcmp(to, numbers, sizeof to) == 0);
    return 0;
}

static int
errors_of_one(pool_comm_t *comm)
{
    static char large[1000001];
    const pool_part_t *parts = NULL;
    int64_t from[2] = {1, 2}, to[2] = {7, 7};
    const void *out = NULL;
    size_t size = 0, sizes[1] = {8};

    NEED(pool_bcast(comm, NULL, 1) == POOL_EINVAL);
    NEED(pool_bcast_value(comm, "\x81", 1, &out, &size) == POOL_EINVAL);
    NEED(pool_bcast_value(comm, "", 1, NULL, &size) == POOL_EINVAL);
    NEED(pool_bcast_value(comm, "", 1, &out, NULL) == POOL_EINVAL);
    NEED(pool_allgather(comm, NULL, 1, &parts) == POOL_EINVAL);
    NEED(pool_allgather(comm, large, 1, NULL) == POOL_EINVAL);
    NEED(pool_allgather(comm, large, sizeof large, &parts) == POOL_ETOOBIG);
    NEED(
        pool_allreduce(comm, NULL, to, 2, POOL_INT64, POOL_SUM) == POOL_EINVAL);
    NEED(pool_allreduce(comm, from, NULL, 2, POOL_INT64, POOL_SUM) ==
         POOL_EINVAL);
    NEED(pool_allreduce(comm, from, to, 2, 2, POOL_SUM) == POOL_EINVAL);
    NEED(pool_allreduce(comm, from, to, 2, POOL_INT64, 4) == POOL_EINVAL);
    NEED(pool_gatherv(comm, from, 16, to, 16, sizes) == POOL_EINVAL);
    NEED(pool_gatherv(comm, from, 16, to, 8, sizes) == POOL_EINVAL);
    NEED(strstr(pool_errmsg(), "sizes[0] is not send_size") != NULL);
    NEED(to[0] == 7 && to[1] == 7 && out == NULL && parts == NULL);
    return 0;
}

static void
at_the_root(int unused)
{
    (void)unused;
    test_begin();
    for (int backend = POOL_FORK; backend <= POOL_SERIAL; backend++) {
        pool_t *pool = make(backend);
        pool_comm_t *comm = pool_comm(pool);
        ck_assert_ptr_eq(comm, pool_comm(pool));
        ck_assert_int_eq(values_of_one(comm), 0);
        ck_assert_int_eq(errors_of_one(comm), 0);
        pool_destroy(pool);
    }
    ck_assert_ptr_null(pool_comm(NULL));
    test_end();
}

static int
execute_alone(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    (void)model;
    (void)rows;
    int line = values_of_one(pool_call_comm(call));
    return line != 0 ? line : errors_of_one(pool_call_comm(call));
}

static void
one_rank(int unused)
{
    static const double rows[3] = {1, 2, 3};

    (void)unused;
    test_begin();
    for (int backend = POOL_FORK; backend <= POOL_SERIAL; backend++) {
        pool_t *pool = make(backend);
        pool_job_t job = POOL_JOB_INIT;
        pool_scatter_t *s;
        pool_results_t *results;
        const pool_local_results_t *ranks;
        size_t count;
        job.execute = execute_alone;
        job.rows = backend == POOL_FORK ? 1 : 3;
        job.columns = 1;
        job.values = rows;
        job.flags = POOL_JOB_PEERS;
        ck_assert_msg(pool_scatter(pool, &s, &job) == 0, "%s", pool_errmsg());
        ck_assert_int_eq(pool_gather(s, PATIENCE_MS, &results), 0);
        ck_assert_int_eq(pool_local_results(pool, results, &ranks, &count), 0);
        ck_assert_uint_eq(count, 1);
        ck_assert_msg(ranks[0].error == 0, "line %d",
            ranks[0].failure != NULL ? ranks[0].failure->task_code : 0);
        pool_scatter_free(s);
        pool_destroy(pool);
    }
    test_end();
}

static void *
elsewhere(void *pool)
{
    pool_comm_t *comm = pool_comm(pool);

    return comm == NULL && strstr(pool_errmsg(), "thread") != NULL ? pool
                                                                   : NULL;
}

static void *
elsewhere_inside(void *comm)
{
    return pool_barrier(comm) == POOL_EPERM ? comm : NULL;
}

static void
wrong_threads_and_processes(int unused)
{
    pthread_t thread;
    void *fine;
    int status;

    (void)unused;
    test_begin();
    pool_t *pool = make(POOL_FORK);
    pool_comm_t *comm = pool_comm(pool);
    ck_assert_int_eq(pthread_create(&thread, NULL, elsewhere, pool), 0);
    ck_assert_int_eq(pthread_join(thread, &fine), 0);
    ck_assert_ptr_eq(fine, pool);
    ck_assert_int_eq(pthread_create(&thread, NULL, elsewhere_inside, comm), 0);
    ck_assert_int_eq(pthread_join(thread, &fine), 0);
    ck_assert_ptr_eq(fine, comm);
    pid_t child = fork();
    if (child == 0)
        _exit(pool_comm(pool) == NULL && pool_barrier(comm) == POOL_EFORKED
                  ? 0
                  : 1);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    pool_destroy(pool);
    test_end();
}

/* Out of memory: an error each time, and then it works. */
static void
without_memory(int unused)
{
    const pool_part_t *parts;
    const void *out;
    size_t size;

    (void)unused;
    test_begin();
    pool_t *pool = make(POOL_SERIAL);
    pool_comm_t *comm = pool_comm(pool);
    for (int nth = 0; nth < 3; nth++) {
        pool__mem_fail_after = nth;
        ck_assert_int_eq(pool_allgather(comm, "abc", 3, &parts), POOL_ENOMEM);
        pool__mem_fail_after = nth;
        ck_assert_int_eq(
            pool_bcast_value(comm, "\x01", 1, &out, &size), POOL_ENOMEM);
    }
    pool__mem_fail_after = 0;
    ck_assert_int_eq(pool_gatherv(comm, "abc", 3, NULL, 0, &size), POOL_ENOMEM);
    pool__mem_fail_after = -1;
    ck_assert_int_eq(values_of_one(comm), 0);
    pool_destroy(pool);
    test_end();
}

static const struct test tests[] = {
    {"at_the_root", at_the_root},
    {"one_rank", one_rank},
    {"wrong_threads_and_processes", wrong_threads_and_processes},
    {"without_memory", without_memory},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("comm", tests, argc, argv);
}
