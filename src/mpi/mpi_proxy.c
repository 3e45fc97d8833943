/* Rank 0's side: the other ranks as workers of a pool.
 *
 * To the pool a session is a process: made by a message to a free rank, ended
 * by one, and its death is an eventfd. Invariants: a rank has one session at a
 * time, and is free when it has said that the last one ended. MPI is looked at
 * in every turn of the loop while something moves, by a timer while something
 * may come, and not at all while all ranks are idle. */
#define _GNU_SOURCE
#include "mpi/mpi_proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fdio.h"
#include "mem.h"
#include "mpi/mpi_words.h"

#define BUSY_NS 2000000u /* after something moved: look in every turn */
#define LOOK_MS 1
#define GRACE_LEAST_MS 100

static struct pool__mpi *
mpi_of(const struct pool__forkserver *server)
{
    return server->maker_data;
}

/* ---- looking ------------------------------------------------------------ */

static bool
look_at(struct pool__mpi *mpi, int rank)
{
    struct pool__slot *slot = &mpi->slots[rank];
    bool moved = slot->outbox.count != 0 && pool__sending_test(&slot->outbox);

    while (slot->session != NULL && pool__session_expects(slot->session) &&
           pool__session_receive(slot->session))
        moved = true;
    if (slot->session == NULL)
        return moved;
    pool__session_ask(slot->session);
    if (slot->session->congested)
        pool__session_forward(slot->session);
    return moved;
}

static bool
look(struct pool__mpi *mpi)
{
    bool moved = false;

    for (int rank = 1; rank < mpi->ranks; rank++)
        moved |= look_at(mpi, rank);
    return moved;
}

static bool
is_active(const struct pool__mpi *mpi)
{
    for (int rank = 1; rank < mpi->ranks; rank++) {
        const struct pool__slot *slot = &mpi->slots[rank];
        if (slot->outbox.count != 0 ||
            (slot->session != NULL && pool__session_expects(slot->session)))
            return true;
    }
    return false;
}

static void on_timer(uv_timer_t *timer);
static void on_idle(uv_idle_t *idle);

static void
turn(struct pool__mpi *mpi)
{
    uint64_t now = pool__now_ns();
    bool moved = look(mpi);

    if (moved)
        mpi->moved_ns = now;
    bool active = is_active(mpi), often = now - mpi->moved_ns < BUSY_NS;
    if (active && often) {
        uv_idle_start(&mpi->idle, on_idle);
        if (!moved)
            sched_yield();
    } else {
        uv_idle_stop(&mpi->idle);
    }
    if (!active || often)
        uv_timer_stop(&mpi->timer);
    else if (!uv_is_active((uv_handle_t *)&mpi->timer))
        uv_timer_start(&mpi->timer, on_timer, LOOK_MS, LOOK_MS);
}

static void
on_timer(uv_timer_t *timer)
{
    turn(timer->data);
}

static void
on_idle(uv_idle_t *idle)
{
    turn(idle->data);
}

void
pool__mpi_wake(struct pool__mpi *mpi)
{
    mpi->moved_ns = pool__now_ns();
    uv_idle_start(&mpi->idle, on_idle);
}

static bool
look_now(struct pool__forkserver *server)
{
    return look(mpi_of(server));
}

/* ---- workers ------------------------------------------------------------ */

static int
free_rank(const struct pool__mpi *mpi)
{
    for (int rank = 1; rank < mpi->ranks; rank++)
        if (mpi->slots[rank].session == NULL)
            return rank;
    return 0;
}

/* The worker's ends, and what will tell of its end. */
static int
take_ends(struct pool__session *s, const int *fds, int *pidfd)
{
    s->tasks = fcntl(fds[0], F_DUPFD_CLOEXEC, 3);
    s->results = fcntl(fds[1], F_DUPFD_CLOEXEC, 3);
    s->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    *pidfd = fcntl(s->ended, F_DUPFD_CLOEXEC, 3);
    s->region = pool__region_map(fds[2]);
    if (s->tasks < 0 || s->results < 0 || s->ended < 0 || *pidfd < 0 ||
        s->region == NULL)
        return -errno;
    return 0;
}

static int
spawn(struct pool__forkserver *server, const struct pool__worker_config *config,
    const int *fds, int nfds, struct pool__made *made)
{
    struct pool__mpi *mpi = mpi_of(server);
    struct pool__begin begin = {*config};
    int rank = free_rank(mpi);
    struct pool__session *s = rank != 0 ? pool__zalloc(sizeof *s) : NULL;

    (void)nfds;
    if (s == NULL)
        return rank != 0 ? -ENOMEM : -EAGAIN;
    s->mpi = mpi;
    s->rank = rank;
    s->number = config->incarnation;
    int rc = take_ends(s, fds, &made->pidfd);
    if (rc == 0)
        rc = pool__session_open(s, mpi->idle.loop);
    if (rc < 0) {
        pool__close(&made->pidfd);
        pool__session_close(s);
        return rc;
    }
    mpi->slots[rank].session = s;
    made->pid = mpi->peers[rank].pid;
    MPI_Send(&begin, sizeof begin, MPI_BYTE, rank, POOL__TAG_BEGIN, mpi->comm);
    pool__mpi_wake(mpi);
    return 0;
}

static struct pool__session *
find(struct pool__mpi *mpi, uint64_t number)
{
    for (int rank = 1; rank < mpi->ranks; rank++) {
        struct pool__session *s = mpi->slots[rank].session;
        if (s != NULL && s->number == number)
            return s;
    }
    return NULL;
}

/* At once, for the program may stay away from the loop. */
static void
pass(struct pool__forkserver *server, uint64_t number)
{
    struct pool__session *s = find(mpi_of(server), number);

    if (s != NULL)
        pool__session_forward(s);
}

/* A rank that doesn't come back keeps the pool from ending. */
static void
give_up_late(struct pool__mpi *mpi, const struct pool__session *s, int signal)
{
    uint64_t now = pool__now_ns();
    int grace = mpi->grace_ms > GRACE_LEAST_MS ? mpi->grace_ms : GRACE_LEAST_MS;

    if (mpi->closing_ns == 0)
        mpi->closing_ns = now;
    if (signal != SIGKILL ||
        now - mpi->closing_ns < (uint64_t)grace * UINT64_C(1000000))
        return;
    pool__words_abort("task %llu still runs on rank %d on %s, %d ms after the "
                      "pool was to end",
        (unsigned long long)s->task, s->rank, mpi->peers[s->rank].host, grace);
}

/* No rank can be killed: its session ends when what runs has returned. */
static void
end_session(
    struct pool__forkserver *server, const struct pool__made *made, int signal)
{
    struct pool__mpi *mpi = mpi_of(server);
    struct pool__session *s = find(mpi, made->incarnation);

    if (s == NULL)
        return;
    if (server->closing)
        give_up_late(mpi, s, signal);
    struct pool__ask ask = {s->number, 0};
    if (s->killed == 0)
        MPI_Send(&ask, sizeof ask, MPI_BYTE, s->rank, POOL__TAG_ASK, mpi->comm);
    s->killed = signal;
    pool__mpi_wake(mpi);
}

static int
reap(
    struct pool__forkserver *server, const struct pool__made *made, int *status)
{
    struct pool__mpi *mpi = mpi_of(server);

    for (int rank = 1; rank < mpi->ranks; rank++)
        if (mpi->slots[rank].last == made->incarnation) {
            *status = mpi->slots[rank].status;
            return 0;
        }
    return find(mpi, made->incarnation) != NULL ? -EAGAIN : -ECHILD;
}

/* ---- life --------------------------------------------------------------- */

static int
open_handles(struct pool__forkserver *server, struct uv_loop_s *loop)
{
    struct pool__mpi *mpi = mpi_of(server);

    uv_idle_init(loop, &mpi->idle);
    uv_timer_init(loop, &mpi->timer);
    mpi->idle.data = mpi->timer.data = mpi;
    mpi->open = true;
    return 0;
}

static void
close_handles(struct pool__forkserver *server)
{
    struct pool__mpi *mpi = mpi_of(server);

    if (!mpi->open)
        return;
    mpi->open = false;
    for (int rank = 1; rank < mpi->ranks; rank++) {
        struct pool__session *s = mpi->slots[rank].session;
        mpi->slots[rank].session = NULL;
        if (s != NULL) /* in a foreign child: a copy */
            pool__session_close(s);
    }
    uv_close((uv_handle_t *)&mpi->idle, NULL);
    uv_close((uv_handle_t *)&mpi->timer, NULL);
}

static void
end(struct pool__forkserver *server)
{
    struct pool__mpi *mpi = mpi_of(server);

    mpi->over(mpi);
}

const struct pool__maker pool__mpi_maker = {.spawn = spawn,
    .signal = end_session,
    .reap = reap,
    .pass = pass,
    .look = look_now,
    .open = open_handles,
    .close = close_handles,
    .end = end};
