/* Collectives that fail: on all ranks alike, at once, and the group goes on
 * where it can. */
#include "peers.h"

#include <signal.h>
#include <unistd.h>

static const size_t groups[] = {2, 3, 8};

static void
in_groups(const struct drive *d, peer_fn fn, const pool_options_t *options)
{
    pool_options_t o = POOL_OPTIONS_INIT;

    if (options != NULL)
        o = *options;
    o.workers = o.min_workers = 8;
    pool_t *pool = drive_open(d, &o);
    for (size_t i = 0; i < COUNT(groups); i++)
        peers_run(d, pool, fn, test_shared(4096), groups[i]);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

static bool
says(const char *text)
{
    return strstr(pool_errmsg(), text) != NULL;
}

/* ---- calls that do not fit together -------------------------------------- */

static int
rank_mismatch(pool_comm_t *comm, void *shared)
{
    int last = pool_comm_size(comm) - 1, rank = pool_comm_rank(comm);
    bool odd = rank == last;
    int64_t one[4] = {1, 1, 1, 1}, to[4] = {7, 7, 7, 7};
    char bytes[9] = "12345678", all[64];
    const pool_part_t *parts;
    size_t sizes[8] = {8, 8, 8, 8, 8, 8, 8, 8};

    (void)shared;
    memset(all, 7, sizeof all);
    NEED(
        (odd ? pool_barrier(comm) : pool_bcast(comm, bytes, 8)) == POOL_EINVAL);
    NEED(says("different calls: rank 0 pool_bcast, rank") &&
         says("pool_barrier"));
    NEED(pool_barrier(comm) == 0);
    NEED(pool_bcast(comm, bytes, odd ? 7 : 8) == POOL_EINVAL);
    NEED(says("pool_bcast: rank 0 gave 8 bytes, rank") && says(" 7 bytes"));
    NEED(strcmp(bytes, "12345678") == 0);
    NEED(pool_allreduce(comm, one, to, odd ? 3 : 4, POOL_INT64, POOL_SUM) ==
         POOL_EINVAL);
    NEED(says("the sum of 4 int64s, rank"));
    NEED(pool_allreduce(comm, one, to, 4, odd ? POOL_DOUBLE : POOL_INT64,
             POOL_SUM) == POOL_EINVAL);
    NEED(pool_allreduce(comm, one, to, 4, POOL_INT64,
             odd ? POOL_MAX : POOL_SUM) == POOL_EINVAL);
    NEED(says("the max of 4 int64s"));
    for (int i = 0; i < 4; i++)
        NEED(to[i] == 7);
    NEED(pool_gatherv(comm, bytes, odd ? 5 : 8, all,
             8 * (size_t)pool_comm_size(comm), sizes) == POOL_EINVAL);
    NEED(says("sent 5 bytes, rank 0 expected 8"));
    for (size_t i = 0; i < sizeof all; i++)
        NEED(all[i] == 7);
    NEED((odd ? pool_allgather(comm, bytes, 8, &parts)
              : pool_gatherv(comm, bytes, 8, all,
                    8 * (size_t)pool_comm_size(comm), sizes)) == POOL_EINVAL);
    return pool_barrier(comm) == 0 ? 0 : __LINE__;
}

static void
mismatches(const struct drive *d)
{
    in_groups(d, rank_mismatch, NULL);
}

/* ---- bad arguments on one rank ------------------------------------------- */

static int
rank_bad(pool_comm_t *comm, void *shared)
{
    int n = pool_comm_size(comm), rank = pool_comm_rank(comm);
    bool odd = rank == n - 1, root = rank == 0;
    double x[2] = {1, 2}, y[2] = {7, 7};
    char bytes[64] = "";
    unsigned char broken = 0x81; /* an array of one, and no element */
    const pool_part_t *parts = (const pool_part_t *)bytes;
    const void *out = bytes;
    size_t size = 77, sizes[8] = {8, 8, 8, 8, 8, 8, 8, 8};
    size_t huge[8] = {SIZE_MAX, 9, 8, 8, 8, 8, 8, 8};

    (void)shared;
    NEED(pool_bcast(comm, odd ? NULL : bytes, 8) == POOL_EINVAL);
    NEED(says("pool_bcast: rank") && says("data is NULL"));
    NEED(pool_bcast(comm, odd ? bytes : NULL, 8) == POOL_EINVAL);
    NEED(says("rank 0: data is NULL") && (n == 2 || says("; rank 1: data")));
    NEED(pool_bcast_value(comm, &broken, 1, &out, &size) == POOL_EINVAL);
    NEED(says("rank 0: value: byte 0 is not well-formed"));
    NEED(pool_bcast_value(comm, NULL, 1, &out, &size) == POOL_EINVAL);
    NEED(
        pool_bcast_value(comm, "", 1, odd ? NULL : &out, &size) == POOL_EINVAL);
    NEED(says("out is NULL"));
    NEED(
        pool_bcast_value(comm, "", 1, &out, odd ? NULL : &size) == POOL_EINVAL);
    NEED(out == bytes && size == 77);
    NEED(pool_allgather(comm, odd ? NULL : bytes, 8, &parts) == POOL_EINVAL);
    NEED(pool_allgather(comm, bytes, 8, odd ? NULL : &parts) == POOL_EINVAL);
    NEED(parts == (const pool_part_t *)bytes);
    NEED(pool_allreduce(comm, odd ? NULL : x, y, 2, POOL_DOUBLE, POOL_SUM) ==
         POOL_EINVAL);
    NEED(pool_allreduce(comm, x, odd ? NULL : y, 2, POOL_DOUBLE, POOL_SUM) ==
         POOL_EINVAL);
    NEED(pool_allreduce(comm, x, y, 2, odd ? 2 : POOL_DOUBLE, POOL_SUM) ==
         POOL_EINVAL);
    NEED(says("type is unknown"));
    NEED(pool_allreduce(comm, x, y, 2, POOL_DOUBLE, odd ? -1 : POOL_SUM) ==
         POOL_EINVAL);
    NEED(says("op is unknown"));
    NEED(y[0] == 7 && y[1] == 7);
    NEED(pool_gatherv(comm, odd ? NULL : x, 8, bytes, 8 * (size_t)n, sizes) ==
         POOL_EINVAL);
    NEED(pool_gatherv(comm, x, 8, root ? NULL : bytes, 8 * (size_t)n, sizes) ==
         POOL_EINVAL);
    NEED(pool_gatherv(comm, x, 8, bytes, 8 * (size_t)n, root ? NULL : sizes) ==
         POOL_EINVAL);
    NEED(says("rank 0: sizes is NULL"));
    NEED(pool_gatherv(comm, x, 8, bytes, 8 * (size_t)n - 1, sizes) ==
         POOL_EINVAL);
    NEED(says("the sum of sizes is not recv_size"));
    NEED(pool_gatherv(comm, x, 8, bytes, 8, huge) == POOL_EINVAL);
    NEED(pool_gatherv(comm, x, root ? 7 : 8, bytes, 8 * (size_t)n, sizes) ==
         POOL_EINVAL);
    NEED(says("sizes[0] is not send_size") && bytes[0] == '\0');
    NEED(pool_barrier(NULL) == POOL_EINVAL);
    return pool_barrier(comm) == 0 ? 0 : __LINE__;
}

static void
bad_arguments(const struct drive *d)
{
    in_groups(d, rank_bad, NULL);
}

/* ---- limits -------------------------------------------------------------- */

static int
rank_too_big(pool_comm_t *comm, void *shared)
{
    static char bytes[2000001];
    const pool_part_t *parts;
    bool odd = pool_comm_rank(comm) == pool_comm_size(comm) - 1;

    (void)shared;
    NEED(
        pool_allgather(comm, bytes, odd ? 1000001 : 1, &parts) == POOL_ETOOBIG);
    NEED(pool_bcast(comm, bytes, 2000001) == POOL_ETOOBIG);
    NEED(pool_allreduce(comm, bytes, bytes, SIZE_MAX / 4, POOL_INT64,
             POOL_SUM) == POOL_ETOOBIG);
    NEED(pool_allgather(comm, bytes, odd ? 1000000 : 1, &parts) == 0);
    return pool_barrier(comm) == 0 ? 0 : __LINE__;
}

static void
too_big(const struct drive *d)
{
    pool_options_t o = POOL_OPTIONS_INIT;

    o.max_result = 1000000;
    in_groups(d, rank_too_big, &o);
    o.max_result = 0;
    o.max_argument = 1000000;
    in_groups(d, rank_too_big, &o);
}

/* ---- ranks that are gone ------------------------------------------------- */

static int
rank_returns(pool_comm_t *comm, void *shared)
{
    const pool_part_t *parts;

    (void)shared;
    if (pool_comm_is_root(comm))
        return 0;
    NEED(pool_allgather(comm, "x", 1, &parts) == POOL_EDIED);
    NEED(says("rank 0 has returned") || pool_comm_size(comm) > 2);
    NEED(pool_barrier(comm) == POOL_EDIED);
    return 0;
}

static void
a_rank_returns(const struct drive *d)
{
    in_groups(d, rank_returns, NULL);
}

enum { FAIL = 1, EXIT, KILL };

struct loss {
    int how, told;
};

static int
rank_is_lost(pool_comm_t *comm, void *shared)
{
    struct loss *loss = shared;

    NEED(pool_barrier(comm) == 0);
    if (pool_comm_rank(comm) == 1 && loss->how == FAIL)
        return 4711;
    if (pool_comm_rank(comm) == 1 && loss->how == EXIT)
        _exit(3);
    if (pool_comm_rank(comm) == 1)
        raise(SIGKILL);
    NEED(pool_barrier(comm) == POOL_EDIED);
    NEED(says("rank 1 failed: "));
    NEED(pool_barrier(comm) == POOL_EDIED);
    raise_word(&loss->told, 1);
    return 0;
}

static void
a_rank_is_lost(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 3);

    for (int how = FAIL; how <= KILL; how++) {
        struct loss *loss = test_shared(sizeof *loss);
        loss->how = how;
        pool_scatter_t *s = peers_start(pool, rank_is_lost, loss, 3);
        ck_assert_int_eq(peer_code(d, s, 0), 0);
        ck_assert_int_eq(
            peer_code(d, s, 1), how == FAIL ? POOL_ETASK : POOL_EDIED);
        ck_assert_int_eq(peer_code(d, s, 2), 0);
        ck_assert_int_eq(loss->told, 2);
        pool_scatter_free(s);
    }
    drive_works(d, pool);
    drive_destroy(d, pool);
}

/* ---- cancelled, freed, ended --------------------------------------------- */

struct waiters {
    int inside, told;
};

/* All but rank 0 are in a barrier; rank 0 sleeps until it is killed, or told to
 * come by the gate. */
static int
rank_waits(pool_comm_t *comm, void *shared)
{
    struct waiters *w = shared;

    raise_word(&w->inside, 1);
    if (pool_comm_is_root(comm))
        for (;;)
            pause();
    NEED(pool_barrier(comm) == POOL_EDIED);
    raise_word(&w->told, 1);
    return 0;
}

static void
a_running_rank_is_cancelled(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 3);
    struct waiters *w = test_shared(sizeof *w);
    pool_scatter_t *s = peers_start(pool, rank_waits, w, 3);

    drive_until_word(d, &w->inside, 3);
    ck_assert_int_eq(pool_future_cancel_running(pool_scatter_future(s, 0)), 0);
    ck_assert_int_eq(peer_code(d, s, 0), POOL_ECANCELED);
    ck_assert_int_eq(peer_code(d, s, 1), 0);
    ck_assert_int_eq(peer_code(d, s, 2), 0);
    ck_assert_int_eq(w->told, 2);
    pool_scatter_free(s);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

static void
a_rank_past_its_deadline(const struct drive *d)
{
    pool_options_t o = POOL_OPTIONS_INIT;
    struct waiters *w = test_shared(sizeof *w);
    unsigned char buffer[32];
    pool_scatter_t *s;

    o.workers = o.min_workers = 3;
    o.kill_grace_ms = POOL_NONE;
    pool_t *pool = drive_open(d, &o);
    pool_job_t job = peer_job(rank_waits, w, 3, buffer);
    job.deadline_ms = 300;
    ck_assert_int_eq(pool_scatter(pool, &s, &job), 0);
    ck_assert_int_eq(peer_code(d, s, 0), POOL_EDEADLINE);
    for (int i = 1; i < 3; i++) { /* late itself, or told in time */
        int rc = peer_code(d, s, i);
        ck_assert(rc == 0 || rc == POOL_EDEADLINE);
    }
    pool_scatter_free(s);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

static int
rank_alone(pool_comm_t *comm, void *shared)
{
    int *told = shared;

    NEED(pool_barrier(comm) == POOL_EDIED && says("rank 1 was cancelled"));
    raise_word(told, 1);
    return 0;
}

/* One that waits to start is cancelled: the others start without it. */
static void
a_waiting_rank_is_cancelled(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 2);
    struct gate *gate = gate_new();
    pool_future_t *busy = gate_submit(pool, gate);
    int *told = test_shared(sizeof *told);

    drive_until_word(d, &gate->begun, 1);
    pool_scatter_t *s = peers_start(pool, rank_alone, told, 2);
    ck_assert_int_eq(pool_future_cancel(pool_scatter_future(s, 1)), 0);
    ck_assert_int_eq(peer_code(d, s, 1), POOL_ECANCELED);
    ck_assert_int_eq(peer_code(d, s, 0), 0); /* one idle worker is enough */
    ck_assert_int_eq(*told, 1);
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, busy), 0);
    pool_scatter_free(s);
    drive_destroy(d, pool);
}

/* A scatter is freed while its ranks talk: they end in peace, detached. */
static int
rank_long(pool_comm_t *comm, void *shared)
{
    struct gate *gate = shared;

    for (int i = 0; i < 200; i++) {
        NEED(pool_barrier(comm) == 0);
        if (i == 0)
            raise_word(&gate->begun, 1);
        if (i == 100 && pool_comm_is_root(comm))
            NEED(test_await(&gate->leave, 1));
    }
    raise_word(&gate->ended, 1);
    return 0;
}

static void
freed_while_ranks_talk(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 3);
    struct gate *gate = test_shared(sizeof *gate);
    pool_scatter_t *s = peers_start(pool, rank_long, gate, 3);

    drive_until_word(d, &gate->begun, 3);
    pool_scatter_free(s);
    raise_word(&gate->leave, 1);
    drive_until_word(d, &gate->ended, 3);
    peers_run(d, pool, rank_returns, NULL, 3);
    drive_destroy(d, pool);
}

/* The pool ends while a group talks and another one waits to start. */
static void
the_pool_ends(const struct drive *d)
{
    for (int way = 0; way < 3; way++) {
        struct waiters *w = test_shared(sizeof *w);
        pool_options_t o = POOL_OPTIONS_INIT;
        o.workers = o.min_workers = 3;
        o.kill_grace_ms = POOL_NONE;
        pool_t *pool = drive_open(d, &o);
        pool_scatter_t *s = peers_start(pool, rank_waits, w, 3);
        drive_until_word(d, &w->inside, 3);
        pool_scatter_t *t = peers_start(pool, rank_waits, w, 2);
        if (way == 1)
            ck_assert_int_eq(
                pool_shutdown(pool, POOL_SHUTDOWN_CANCEL_FUTURES), 0);
        if (way == 2)
            ck_assert_int_eq(pool_kill_workers(pool), 0);
        if (way != 0)
            ck_assert_int_eq(peer_code(d, t, 1), POOL_ECANCELED);
        drive_destroy(d, pool);
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(pool_future_error(pool_scatter_future(t, i), 0),
                POOL_ECANCELED);
        pool_scatter_free(s);
        pool_scatter_free(t);
    }
}

/* Fewer workers than ranks: what waits can't start any more. */
static void
resized_below_a_group(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 3);
    struct gate *gate = gate_new();
    pool_future_t *busy = gate_submit(pool, gate);

    drive_until_word(d, &gate->begun, 1);
    pool_scatter_t *s = peers_start(pool, rank_returns, NULL, 3);
    pool_scatter_t *t = peers_start(pool, rank_returns, NULL, 2);
    ck_assert_int_eq(pool_resize(pool, 2), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(peer_code(d, s, i), POOL_EBROKEN);
        ck_assert_ptr_nonnull(
            strstr(pool_future_failure(pool_scatter_future(s, i))->message,
                "resized to 2 workers"));
    }
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, busy), 0);
    peers_end(d, t);
    pool_scatter_free(s);
    drive_destroy(d, pool);
}

/* ---- without peers ------------------------------------------------------- */

static int
refused(pool_comm_t *comm)
{
    const pool_part_t *parts;
    const void *out;
    size_t size;
    int64_t x = 1;

    NEED(comm != NULL && pool_barrier(comm) == POOL_ENOTSUP);
    NEED(says("POOL_JOB_PEERS"));
    NEED(pool_bcast(comm, &x, 8) == POOL_ENOTSUP);
    NEED(pool_bcast_value(comm, "", 1, &out, &size) == POOL_ENOTSUP);
    NEED(pool_allgather(comm, &x, 8, &parts) == POOL_ENOTSUP);
    NEED(pool_allreduce(comm, &x, &x, 1, POOL_INT64, POOL_SUM) == POOL_ENOTSUP);
    NEED(pool_gatherv(comm, &x, 8, &x, 8, &size) == POOL_ENOTSUP);
    return 0;
}

static int
rank_refused(pool_comm_t *comm, void *shared)
{
    (void)shared;
    return refused(comm);
}

static int
task_refused(pool_call_t *call)
{
    return refused(pool_call_comm(call));
}

static void
without_peers(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 2);
    unsigned char buffer[32];
    pool_job_t job = peer_job(rank_refused, NULL, 4, buffer);
    pool_scatter_t *s;

    ck_assert_int_eq(drive_end(d, submit(pool, task_refused)), 0);
    job.flags = 0;
    ck_assert_int_eq(pool_scatter(pool, &s, &job), 0);
    peers_end(d, s);
    job.flags = POOL_JOB_PEERS;
    job.schedule = POOL_DYNAMIC;
    ck_assert_int_eq(pool_scatter(pool, &s, &job), POOL_EINVAL);
    job.schedule = POOL_GUIDED;
    ck_assert_int_eq(pool_scatter(pool, &s, &job), POOL_EINVAL);
    job.schedule = POOL_STATIC;
    job.retries = 1;
    ck_assert_int_eq(pool_scatter(pool, &s, &job), POOL_EINVAL);
    job.retries = 0;
    job.flags = 2;
    ck_assert_int_eq(pool_scatter(pool, &s, &job), POOL_EINVAL);
    ck_assert_ptr_null(pool_call_comm(NULL));
    ck_assert_int_eq(pool_comm_size(NULL), 0);
    ck_assert_int_eq(pool_comm_rank(NULL), 0);
    ck_assert(!pool_comm_is_root(NULL));
    drive_works(d, pool);
    drive_destroy(d, pool);
}

static const struct drive_case cases[] = {
    {"mismatches", mismatches, IN_ALL},
    {"bad_arguments", bad_arguments, IN_ALL},
    {"too_big", too_big, IN_ALL},
    {"a_rank_returns", a_rank_returns, IN_ALL},
    {"a_rank_is_lost", a_rank_is_lost, IN_ALL},
    {"a_running_rank_is_cancelled", a_running_rank_is_cancelled, IN_ALL},
    {"a_rank_past_its_deadline", a_rank_past_its_deadline, IN_ALL},
    {"a_waiting_rank_is_cancelled", a_waiting_rank_is_cancelled, IN_ALL},
    {"freed_while_ranks_talk", freed_while_ranks_talk, IN_ALL},
    {"the_pool_ends", the_pool_ends, IN_ALL},
    {"resized_below_a_group", resized_below_a_group, IN_ALL},
    {"without_peers", without_peers, IN_ALL},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("comm_errors", cases, argc, argv);
}
