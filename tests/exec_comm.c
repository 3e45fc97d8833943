/* Collectives between the ranks of a scatter, under every drive: what each
 * gives, with one to eight ranks. Their errors are in exec_comm_errors.c. */
#include "peers.h"

#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

static const size_t groups[] = {1, 2, 3, 8};

/* Run a function in groups of all sizes, on one pool. */
static void
in_all_groups(const struct drive *d, peer_fn fn)
{
    pool_t *pool = drive_pool(d, 8);

    for (size_t i = 0; i < COUNT(groups); i++)
        peers_run(d, pool, fn, test_shared(4096), groups[i]);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

/* A byte that depends on the rank and the place. */
static unsigned char
byte_of(int rank, size_t i)
{
    return (unsigned char)(i * 31 + i / 251 + (size_t)rank * 7 + 1);
}

static unsigned char *
bytes_of(int rank, size_t n)
{
    unsigned char *bytes = malloc(n + 1);

    for (size_t i = 0; bytes != NULL && i < n; i++)
        bytes[i] = byte_of(rank, i);
    return bytes;
}

static bool
are_bytes_of(const unsigned char *bytes, int rank, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != byte_of(rank, i))
            return false;
    return true;
}

static const size_t sizes[] = {0, 1, 7, 8, 100, 4096, 65519, 65520, 65535,
    65536, 65537, 200001, ((size_t)3 << 20) + 5};

/* ---- barrier ------------------------------------------------------------ */

static int
rank_barrier(pool_comm_t *comm, void *shared)
{
    int *words = shared, size = pool_comm_size(comm);

    NEED(pool_comm_is_root(comm) == (pool_comm_rank(comm) == 0));
    for (int i = 0; i < 50; i++) {
        raise_word(&words[i], 1);
        NEED(pool_barrier(comm) == 0);
        NEED(read_word(&words[i]) == size);
    }
    return 0;
}

static void
barrier(const struct drive *d)
{
    in_all_groups(d, rank_barrier);
}

/* ---- bcast ----------------------------------------------------------------
 */

static int
rank_bcast(pool_comm_t *comm, void *shared)
{
    (void)shared;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t n = sizes[i];
        unsigned char *bytes = bytes_of(pool_comm_rank(comm), n);
        NEED(bytes != NULL);
        bytes[n] = 0xaa;
        NEED(pool_bcast(comm, n != 0 ? bytes : NULL, n) == 0);
        NEED(are_bytes_of(bytes, 0, n) && bytes[n] == 0xaa);
        free(bytes);
    }
    return 0;
}

static void
bcast(const struct drive *d)
{
    in_all_groups(d, rank_bcast);
}

static int
rank_bcast_value(pool_comm_t *comm, void *shared)
{
    static double numbers[100000];
    static unsigned char value[900000];
    const void *out = NULL;
    const char *text;
    const double *got;
    size_t size = 0, n;
    bool root = pool_comm_is_root(comm);

    (void)shared;
    for (size_t count = 0; count <= COUNT(numbers); count += 50000) {
        for (size_t i = 0; i < count; i++)
            numbers[i] = (double)i / 7;
        if (root)
            NEED(pool_encode(value, sizeof value, &size, "sad", "one for all",
                     numbers, count) == 0);
        NEED(pool_bcast_value(
                 comm, root ? value : NULL, root ? size : 0, &out, &size) == 0);
        NEED((uintptr_t)out % 8 == 0 && out != value);
        NEED(pool_decode(out, size, "sad", &text, &got, &n) == 0);
        NEED(strcmp(text, "one for all") == 0 && n == count);
        NEED(memcmp(got, numbers, n * sizeof *got) == 0);
    }
    NEED(pool_bcast_value(comm, NULL, 0, &out, &size) == 0);
    NEED(size == 0);
    return 0;
}

static void
bcast_value(const struct drive *d)
{
    in_all_groups(d, rank_bcast_value);
}

/* ---- allgather ------------------------------------------------------------
 */

/* What a rank gives in the i'th round. */
static size_t
size_of(int rank, size_t i)
{
    return rank == 1 ? 0 : sizes[(i + (size_t)rank) % COUNT(sizes)];
}

static int
rank_allgather(pool_comm_t *comm, void *shared)
{
    const pool_part_t *parts = NULL;
    int rank = pool_comm_rank(comm);

    (void)shared;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t n = size_of(rank, i);
        unsigned char *bytes = bytes_of(rank, n);
        NEED(bytes != NULL);
        NEED(pool_allgather(comm, n != 0 ? bytes : NULL, n, &parts) == 0);
        memset(bytes, 0, n); /* what was given is the group's own copy */
        for (int r = 0; r < pool_comm_size(comm); r++) {
            NEED(parts[r].size == size_of(r, i));
            NEED((uintptr_t)parts[r].data % 8 == 0);
            NEED((parts[r].data == NULL) == (parts[r].size == 0));
            NEED(are_bytes_of(parts[r].data, r, parts[r].size));
        }
        free(bytes);
    }
    return 0;
}

static void
allgather(const struct drive *d)
{
    in_all_groups(d, rank_allgather);
}

/* ---- gatherv ----------------------------------------------------------------
 */

static int
rank_gatherv(pool_comm_t *comm, void *shared)
{
    int rank = pool_comm_rank(comm), size = pool_comm_size(comm);
    size_t told[8], total;

    (void)shared;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t n = size_of(rank, i);
        unsigned char *bytes = bytes_of(rank, n), *all = NULL, *at = NULL;
        total = 0;
        for (int r = 0; r < size; r++)
            total += told[r] = size_of(r, i);
        if (rank == 0)
            NEED((at = all = malloc(total + 1)) != NULL);
        NEED(pool_gatherv(comm, n != 0 ? bytes : NULL, n, all,
                 rank == 0 ? total : 77, rank == 0 ? told : NULL) == 0);
        for (int r = 0; r < size && rank == 0; at += told[r++])
            NEED(are_bytes_of(at, r, told[r]));
        free(bytes);
        free(all);
    }
    return 0;
}

static void
gatherv(const struct drive *d)
{
    in_all_groups(d, rank_gatherv);
}

/* ---- allreduce --------------------------------------------------------------
 */

enum { MOST = 150000 };

/* Doubles whose sum depends on the order. */
static double
double_of(int rank, size_t i)
{
    double x = (double)(i % 1000 + 1) / 3;

    if (i % 97 == 0)
        return rank % 2 ? 1e300 : -1e300; /* prod: inf */
    return rank % 3 == 0 ? x * 1e16 : rank % 3 == 1 ? -x : x * 1e-8;
}

static int64_t
int64_of(int rank, size_t i)
{
    return (int64_t)(i * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)rank * 12345);
}

static uint64_t
fold_ints(int op, uint64_t a, uint64_t b)
{
    switch (op) {
    case POOL_SUM:
        return a + b;
    case POOL_MIN:
        return (int64_t)a <= (int64_t)b ? a : b;
    case POOL_MAX:
        return (int64_t)a >= (int64_t)b ? a : b;
    default:
        return a * b;
    }
}

static double
fold_doubles(int op, double a, double b)
{
    switch (op) {
    case POOL_SUM:
        return a + b;
    case POOL_MIN:
        return a <= b ? a : b;
    case POOL_MAX:
        return a >= b ? a : b;
    default:
        return a * b;
    }
}

/* What a loop over all ranks gives, bit for bit. */
static bool
is_folded(const void *got, size_t n, int ranks, int type, int op)
{
    for (size_t i = 0; i < n; i++) {
        double x = double_of(0, i);
        uint64_t u = (uint64_t)int64_of(0, i);
        for (int r = 1; r < ranks; r++) {
            x = fold_doubles(op, x, double_of(r, i));
            u = fold_ints(op, u, (uint64_t)int64_of(r, i));
        }
        const void *want = type == POOL_DOUBLE ? (void *)&x : (void *)&u;
        if (memcmp((const char *)got + 8 * i, want, 8) != 0)
            return false;
    }
    return true;
}

static int
rank_allreduce(pool_comm_t *comm, void *shared)
{
    static const size_t counts[] = {0, 1, 5, 512, 513, MOST};
    static uint64_t send[MOST], recv[MOST];
    int rank = pool_comm_rank(comm), size = pool_comm_size(comm);

    (void)shared;
    for (int pass = 0; pass < (int)COUNT(counts) * 8; pass++) {
        size_t n = counts[pass / 8];
        int type = pass & 1, op = pass / 2 & 3;
        for (size_t i = 0; i < n; i++) {
            double x = double_of(rank, i);
            int64_t k = int64_of(rank, i);
            memcpy(&send[i], type == POOL_DOUBLE ? (void *)&x : (void *)&k, 8);
        }
        NEED(pool_allreduce(comm, send, recv, n, type, op) == 0);
        NEED(is_folded(recv, n, size, type, op));
        NEED(pool_allreduce(comm, send, send, n, type, op) == 0);
        NEED(memcmp(send, recv, 8 * n) == 0);
    }
    return 0;
}

static void
allreduce(const struct drive *d)
{
    in_all_groups(d, rank_allreduce);
}

/* A NaN wins, on every rank with the same bits; so does what gives one. */
static int
rank_nan(pool_comm_t *comm, void *shared)
{
    const double inf = 1e308 * 10, nan = inf - inf;
    uint64_t *bits = shared;
    int rank = pool_comm_rank(comm), size = pool_comm_size(comm);
    double x[3], y[3];

    for (int op = POOL_SUM; op <= POOL_PROD; op++) {
        x[0] = rank == size - 1 ? -nan : 1;
        x[1] = rank == 0 ? nan : rank;
        x[2] = rank == 0 ? inf : op == POOL_PROD ? 0 : -inf;
        NEED(pool_allreduce(comm, x, y, 3, POOL_DOUBLE, op) == 0);
        NEED(y[0] != y[0] && y[1] != y[1]);
        if (rank == 0)
            memcpy(bits, y, sizeof y);
        NEED(pool_barrier(comm) == 0);
        NEED(memcmp(bits, y, sizeof y) == 0);
        NEED(pool_barrier(comm) == 0);
    }
    return 0;
}

static void
not_a_number(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 8);

    peers_run(d, pool, rank_nan, test_shared(4096), 2);
    peers_run(d, pool, rank_nan, test_shared(4096), 8);
    drive_destroy(d, pool);
}

/* ---- all of them, mixed -------------------------------------------------- */

static int
rank_mixed(pool_comm_t *comm, void *shared)
{
    uint64_t random = 12345;
    int rank = pool_comm_rank(comm);
    const pool_part_t *parts;
    int64_t one = 1, sum = 0;
    static unsigned char bytes[300000];

    (void)shared;
    for (int i = 0; i < 150; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        size_t n = (size_t)(random >> 33) % (i % 10 == 0 ? 300000 : 3000);
        switch (random >> 61) {
        case 0:
        case 1:
            NEED(pool_barrier(comm) == 0);
            break;
        case 2:
        case 3:
            bytes[n / 2] = (unsigned char)(rank == 0 ? i : 0);
            NEED(pool_bcast(comm, bytes, n + 1) == 0);
            NEED(bytes[n / 2] == (unsigned char)i);
            break;
        case 4:
        case 5:
            NEED(pool_allgather(comm, bytes, n, &parts) == 0);
            NEED(parts[pool_comm_size(comm) - 1].size == n);
            break;
        default:
            NEED(
                pool_allreduce(comm, &one, &sum, 1, POOL_INT64, POOL_SUM) == 0);
            NEED(sum == pool_comm_size(comm));
            break;
        }
    }
    return 0;
}

static void
mixed(const struct drive *d)
{
    in_all_groups(d, rank_mixed);
}

/* Two groups at once, others that wait, and ordinary tasks between them. */
static void
many_groups_and_tasks(const struct drive *d)
{
    enum { GROUPS = 6, TASKS = 40 };
    pool_t *pool = drive_pool(d, 5);
    pool_scatter_t *s[GROUPS];
    pool_future_t *f[GROUPS * TASKS];

    for (int i = 0; i < GROUPS; i++) {
        s[i] = peers_start(pool, i % 2 ? rank_mixed : rank_barrier,
            test_shared(4096), (size_t)(2 + i % 4));
        for (int j = 0; j < TASKS; j++)
            f[i * TASKS + j] = submit(pool, task_nothing);
    }
    for (int i = 0; i < GROUPS * TASKS; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
    for (int i = 0; i < GROUPS; i++)
        peers_end(d, s[i]);
    drive_destroy(d, pool);
}

static int
task_millisecond(pool_call_t *call)
{
    (void)call;
    usleep(1000);
    return 0;
}

/* Groups start although there are always tasks that came later: the queue is
 * never empty. */
static void
later_tasks_do_not_starve_a_group(const struct drive *d)
{
    enum { WAITING = 64 };
    pool_future_t *f[WAITING];
    pool_t *pool = drive_pool(d, 2);
    struct gate *gate = gate_new();
    pool_future_t *busy = gate_submit(pool, gate);

    drive_until_word(d, &gate->begun, 1);
    pool_scatter_t *s = peers_start(pool, rank_barrier, test_shared(4096), 2);
    for (int i = 0; i < WAITING; i++)
        f[i] = submit(pool, task_millisecond);
    gate_open(gate);
    for (int i = 0; !pool_future_done(pool_scatter_future(s, 0)); i++) {
        ck_assert_int_eq(drive_end(d, f[i % WAITING]), 0);
        f[i % WAITING] = submit(pool, task_millisecond);
    }
    for (int i = 0; i < WAITING; i++)
        ck_assert_int_eq(drive_end(d, f[i]), 0);
    ck_assert_int_eq(drive_end(d, busy), 0);
    peers_end(d, s);
    drive_destroy(d, pool);
}

/* A group that finds too few workers idle holds up neither a smaller one nor
 * tasks, even where the worker that it waits for waits for those. */
static void
a_group_that_cannot_start_holds_up_nobody(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 3);
    struct gate *gate = gate_new();
    pool_future_t *busy = gate_submit(pool, gate);

    drive_until_word(d, &gate->begun, 1);
    pool_scatter_t *large =
        peers_start(pool, rank_barrier, test_shared(4096), 3);
    for (int i = 0; i < 3; i++) {
        peers_run(d, pool, rank_barrier, test_shared(4096), 2);
        ck_assert_int_eq(drive_end(d, submit(pool, task_nothing)), 0);
    }
    ck_assert(!pool_future_done(pool_scatter_future(large, 0)));
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, busy), 0);
    peers_end(d, large);
    drive_destroy(d, pool);
}

/* Rank 0 writes its row, which tells the group, to the next place. */
static int
note_group(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    uint64_t address = (uint64_t)rows->values[1];
    int *words = (int *)(uintptr_t)address;
    int rc = pool_barrier(pool_call_comm(call));

    (void)model;
    if (rc == 0 && pool_call_rank(call) == 0)
        words[1 + __atomic_fetch_add(&words[0], 1, __ATOMIC_ACQ_REL)] =
            (int)rows->values[0];
    return rc;
}

/* Those that wait start in the order of priority. */
static void
groups_go_by_priority(const struct drive *d)
{
    static const int priorities[] = {-8, 3, 0, 7, -1};
    enum { N = COUNT(priorities) };
    static const int order[N] = {7, 3, 0, -1, -8};
    pool_t *pool = drive_pool(d, 2);
    struct gate *gate = gate_new();
    pool_future_t *busy = gate_submit(pool, gate);
    int *words = test_shared(4096);
    pool_scatter_t *s[N];

    drive_until_word(d, &gate->begun, 1);
    for (size_t i = 0; i < N; i++) {
        double values[2][2];
        pool_job_t job = POOL_JOB_INIT;
        for (int rank = 0; rank < 2; rank++) {
            values[rank][0] = priorities[i];
            values[rank][1] = (double)ADDRESS(words);
        }
        job.execute = note_group;
        job.values = values[0];
        job.rows = job.columns = 2;
        job.flags = POOL_JOB_PEERS;
        job.priority = priorities[i];
        ck_assert_int_eq(pool_scatter(pool, &s[i], &job), 0);
    }
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, busy), 0);
    for (size_t i = 0; i < N; i++)
        peers_end(d, s[i]);
    for (size_t i = 0; i < N; i++)
        ck_assert_int_eq(words[1 + i], order[i]);
    drive_destroy(d, pool);
}

static const struct drive_case cases[] = {
    {"barrier", barrier, IN_ALL},
    {"bcast", bcast, IN_ALL},
    {"bcast_value", bcast_value, IN_ALL},
    {"allgather", allgather, IN_ALL},
    {"gatherv", gatherv, IN_ALL},
    {"allreduce", allreduce, IN_ALL},
    {"not_a_number", not_a_number, IN_ALL},
    {"mixed", mixed, IN_ALL},
    {"many_groups_and_tasks", many_groups_and_tasks, IN_ALL},
    {"later_tasks_do_not_starve_a_group", later_tasks_do_not_starve_a_group,
        IN_ALL},
    {"a_group_that_cannot_start_holds_up_nobody",
        a_group_that_cannot_start_holds_up_nobody, IN_ALL},
    {"groups_go_by_priority", groups_go_by_priority, IN_ALL},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    /* Freed blocks are taken again: the pages of new ones take longer to make
     * than all that is tested. */
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
    return drive_main("comm", cases, argc, argv);
}
