/* A rank is killed inside each collective, at its entry or in the middle of
 * what it gives, in groups of 2, 3 and 8: every other rank is told POOL_EDIED,
 * its future alone fails, and the pool goes on. 5 times each; 100 times where
 * the full suites were asked for. */
#define _GNU_SOURCE
#include "peers.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { BARRIER, BCAST, BCAST_VALUE, ALLGATHER, ALLREDUCE, GATHERV, KINDS };

#define LARGE ((size_t)4 << 20) /* more than a pipe holds */
#define HUGE_PAGE ((size_t)2 << 20)

/* In huge pages: making small ones takes longer than all that is tested. */
static unsigned char given[LARGE + HUGE_PAGE]
    __attribute__((aligned(HUGE_PAGE)));
static unsigned char taken[8 * LARGE] __attribute__((aligned(HUGE_PAGE)));

struct round {
    int kind, victim, late; /* late: in the middle of what it gives */
    int told;               /* ranks that were told POOL_EDIED */
};

/* Kills the process when something of a large part is seen in the pipe: the
 * host then reads the beginning of a frame, and no more. Or when the part, a
 * small one perhaps, is through. */
static void *
kill_when_it_writes(void *through)
{
    const struct timespec moment = {.tv_nsec = 20000}; /* others need the CPU */
    int pipe = test_result_pipe(), bytes = 0;

    while (bytes == 0 && read_word(through) == 0 &&
           ioctl(pipe, FIONREAD, &bytes) == 0)
        nanosleep(&moment, NULL);
    raise(SIGKILL);
    return NULL;
}

static int
collective(pool_comm_t *comm, int kind)
{
    int rank = pool_comm_rank(comm), size = pool_comm_size(comm);
    const pool_part_t *parts;
    const void *out;
    size_t out_size, n = 0, sizes[8];

    for (int i = 0; i < 8; i++)
        sizes[i] = LARGE;
    switch (kind) {
    case BARRIER:
        return pool_barrier(comm);
    case BCAST:
        return pool_bcast(comm, given, LARGE);
    case BCAST_VALUE:
        if (rank == 0)
            (void)pool_encode(given, sizeof given, &n, "ay", taken, LARGE);
        return pool_bcast_value(
            comm, rank == 0 ? given : NULL, n, &out, &out_size);
    case ALLGATHER:
        return pool_allgather(comm, given, LARGE, &parts);
    case ALLREDUCE:
        return pool_allreduce(
            comm, given, taken, LARGE / 8, POOL_DOUBLE, POOL_MAX);
    default:
        return pool_gatherv(
            comm, given, LARGE, taken, LARGE * (size_t)size, sizes);
    }
}

static int
rank_round(pool_comm_t *comm, void *shared)
{
    struct round *round = shared;
    int rank = pool_comm_rank(comm);
    int through = 0;
    pthread_t killer;

    NEED(pool_barrier(comm) == 0);
    if (rank == round->victim && !round->late)
        raise(SIGKILL);
    if (rank == round->victim)
        NEED(pthread_create(&killer, NULL, kill_when_it_writes, &through) == 0);
    int rc = collective(comm, round->kind);
    if (rank == round->victim)
        raise_word(&through, 1);
    while (rank == round->victim)
        pause();
    /* Who gave all before it died: the others may have had that. */
    if (rc == 0 && round->late)
        rc = pool_barrier(comm);
    NEED(rc == POOL_EDIED);
    NEED(pool_barrier(comm) == POOL_EDIED);
    raise_word(&round->told, 1);
    return 0;
}

static void
run_round(const struct drive *d, pool_t *pool, size_t n, struct round *round)
{
    pool_scatter_t *s = peers_start(pool, rank_round, round, n);

    for (int i = 0; i < (int)n; i++) {
        int rc = peer_code(d, s, i);
        const pool_failure_t *failure =
            pool_future_failure(pool_scatter_future(s, i));
        ck_assert_msg(rc == (i == round->victim ? POOL_EDIED : 0),
            "kind %d, victim %d of %zu, late %d: rank %d: %d %s", round->kind,
            round->victim, n, round->late, i, rc,
            failure != NULL ? failure->message : "");
    }
    ck_assert_int_eq(round->told, (int)n - 1);
    pool_scatter_free(s);
}

static void
killed_in(const struct drive *d, int kind)
{
    static const size_t groups[] = {2, 3, 8};
    struct round *round = test_shared(sizeof *round);
    int times = test_full() ? 100 : 5;

    (void)madvise(given, sizeof given, MADV_HUGEPAGE);
    (void)madvise(taken, sizeof taken, MADV_HUGEPAGE);
    for (size_t g = 0; g < COUNT(groups); g++) {
        pool_t *pool = drive_pool(d, (int)groups[g]);
        srand((unsigned)kind * 3 + (unsigned)g);
        for (int i = 0; i < times; i++) {
            *round = (struct round){
                .kind = kind, .victim = rand() % (int)groups[g], .late = i % 2};
            run_round(d, pool, groups[g], round);
        }
        drive_works(d, pool);
        drive_destroy(d, pool);
    }
}

static void
barrier(const struct drive *d)
{
    killed_in(d, BARRIER);
}

static void
bcast(const struct drive *d)
{
    killed_in(d, BCAST);
}

static void
bcast_value(const struct drive *d)
{
    killed_in(d, BCAST_VALUE);
}

static void
allgather(const struct drive *d)
{
    killed_in(d, ALLGATHER);
}

static void
allreduce(const struct drive *d)
{
    killed_in(d, ALLREDUCE);
}

static void
gatherv(const struct drive *d)
{
    killed_in(d, GATHERV);
}

static const struct drive_case cases[] = {
    {"barrier", barrier, IN_CALLER},
    {"bcast", bcast, IN_CALLER},
    {"bcast_value", bcast_value, IN_CALLER},
    {"allgather", allgather, IN_CALLER},
    {"allreduce", allreduce, IN_CALLER},
    {"gatherv", gatherv, IN_CALLER},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("comm_kill", cases, argc, argv);
}
