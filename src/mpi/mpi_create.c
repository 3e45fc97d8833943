/* pool_mpi_create: MPI begun, ranks told apart, the pool made, all of it ended.
 *
 * Every rank comes here. Rank 0 checks what it was given and who the others
 * are, and tells them a verdict at the latest when the pool is over; until then
 * they serve. Invariant: the others never wait for a rank 0 that has returned
 * without a pool. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auto.h"
#include "error.h"
#include "forkpool_mpi.h"
#include "mem.h"
#include "mpi/mpi_proxy.h"
#include "mpi/mpi_rank.h"
#include "mpi/mpi_words.h"
#include "pool.h"
#include "worker.h"

#define WHO "pool_mpi_create"
#define GRACE_DEFAULT_MS 3000

static struct pool__mpi *current; /* the one pool there may be */
static bool ours;                 /* MPI was initialised here */

/* ---- MPI itself --------------------------------------------------------- */

static int
begin_mpi(void)
{
    int yes, provided;

    MPI_Finalized(&yes);
    if (yes)
        return pool__fail(POOL_ENOTSUP, WHO ": MPI was finalised before");
    MPI_Initialized(&yes);
    if (yes)
        return 0;
    MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    ours = true;
    return 0;
}

static void
end_mpi(void)
{
    if (ours)
        MPI_Finalize();
    ours = false;
}

/* A communicator of the pool's own; ranks that come early sleep. */
static MPI_Comm
join(void)
{
    MPI_Request request;
    MPI_Comm comm;

    MPI_Comm_idup(MPI_COMM_WORLD, &comm, &request);
    pool__request_wait(&request);
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_ARE_FATAL);
    return comm;
}

/* All leave together, so that nobody's last message is lost. */
static void
part(MPI_Comm *comm)
{
    MPI_Request request;

    MPI_Ibarrier(*comm, &request);
    pool__request_wait(&request);
    MPI_Comm_free(comm);
    end_mpi();
}

/* ---- options ------------------------------------------------------------ */

static int
refuse(const char *member)
{
    return pool__fail(
        POOL_ENOTSUP, WHO ": options.%s is not supported over MPI", member);
}

static int
check_supported(const pool_options_t *o)
{
    if (o->loop != NULL)
        return refuse("loop");
    if (o->drive != POOL_DRIVE_CALLER)
        return refuse("drive");
    if (o->start != POOL_START_FORKSERVER)
        return refuse("start");
    if (o->worker_stdout == POOL_OUTPUT_CAPTURE)
        return refuse("worker_stdout");
    if (o->worker_stderr == POOL_OUTPUT_CAPTURE)
        return refuse("worker_stderr");
    if (o->max_worker_memory > 0)
        return refuse("max_worker_memory");
    if (o->max_worker_rss > 0)
        return refuse("max_worker_rss");
    return 0;
}

static int
check(const pool_options_t *o, int ranks)
{
    int most = ranks > 1 ? ranks - 1 : 1;
    int rc = pool__options_check(o);

    if (rc == 0)
        rc = check_supported(o);
    if (rc == 0 && o->workers > most)
        rc = pool__fail(POOL_EINVAL,
            WHO ": options.workers is %d, there are %d ranks beside this one",
            o->workers, ranks - 1);
    if (rc == 0 && o->min_workers > most)
        rc = pool__fail(POOL_EINVAL,
            WHO ": options.min_workers is %d, there are %d ranks beside this "
                "one",
            o->min_workers, ranks - 1);
    return rc;
}

/* ---- rank 0 ------------------------------------------------------------- */

static void
free_mpi(struct pool__mpi *mpi)
{
    pool__free(mpi->peers);
    pool__free(mpi->slots);
    pool__free(mpi);
    current = NULL;
}

/* Tell the others how it ended. */
static void
dismiss(MPI_Comm comm, int ranks, int code)
{
    struct pool__verdict verdict = {.code = code};

    if (code < 0)
        snprintf(verdict.message, sizeof verdict.message, "%s", pool_errmsg());
    for (int rank = 1; rank < ranks; rank++)
        MPI_Send(
            &verdict, sizeof verdict, MPI_BYTE, rank, POOL__TAG_CLOSE, comm);
}

static void
close_down(struct pool__mpi *mpi, int code)
{
    for (int rank = 1; rank < mpi->ranks; rank++)
        pool__sending_wait(&mpi->slots[rank].outbox);
    dismiss(mpi->comm, mpi->ranks, code);
    pool__words_remove();
    part(&mpi->comm);
    free_mpi(mpi);
}

/* The pool has ended, or a copy of it in a child of this process's. */
static void
pool_over(struct pool__mpi *mpi)
{
    if (mpi->pid == getpid())
        close_down(mpi, 0);
    else
        free_mpi(mpi);
}

static void
not_yet(struct pool__mpi *mpi)
{
    (void)mpi; /* who creates it closes it down */
}

static struct pool__mpi *
new_mpi(MPI_Comm comm, int ranks, const pool_options_t *o)
{
    struct pool__mpi *mpi = pool__zalloc(sizeof *mpi);

    if (mpi == NULL)
        return NULL;
    mpi->comm = comm;
    mpi->ranks = ranks;
    mpi->pid = getpid();
    mpi->grace_ms = o->kill_grace_ms != 0 ? o->kill_grace_ms : GRACE_DEFAULT_MS;
    mpi->over = not_yet;
    mpi->peers = pool__zalloc((size_t)ranks * sizeof *mpi->peers);
    mpi->slots = pool__zalloc((size_t)ranks * sizeof *mpi->slots);
    if (mpi->peers == NULL || mpi->slots == NULL) {
        free_mpi(mpi);
        return NULL;
    }
    for (int rank = 0; rank < ranks; rank++)
        pool__sending_init(&mpi->slots[rank].outbox);
    return mpi;
}

static int
make_pool(pool_t **pool, struct pool__mpi *mpi, const pool_options_t *options)
{
    pool_options_t o = *options;
    struct pool__forkserver server;

    o.backend = POOL_FORK;
    if (o.workers == 0)
        o.workers = (int)pool__min((size_t)mpi->ranks - 1, POOL_MAX_WORKERS);
    pool__forkserver_init(&server);
    int rc = pool__offer_make(mpi->comm, &server.modules, mpi->peers, WHO);
    if (rc < 0) {
        pool__modules_fini(&server.modules);
        return rc;
    }
    server.maker = &pool__mpi_maker;
    server.maker_data = mpi;
    server.most = mpi->ranks - 1;
    server.foreign = true;
    rc = pool__create_made(pool, &o, &server);
    mpi->over = pool_over;
    return rc;
}

static int
lead(pool_t **pool, const pool_options_t *o, MPI_Comm comm, int ranks)
{
    int rc = check(o, ranks);
    struct pool__mpi *mpi = rc == 0 ? new_mpi(comm, ranks, o) : NULL;

    if (mpi == NULL) {
        if (rc == 0)
            rc = pool__fail(POOL_ENOMEM, WHO ": a record of %d ranks", ranks);
        dismiss(comm, ranks, rc);
        part(&comm);
        return rc;
    }
    current = mpi;
    pool__words_install(comm);
    rc = make_pool(pool, mpi, o);
    if (rc < 0)
        close_down(mpi, rc);
    return rc;
}

/* ---- the others --------------------------------------------------------- */

static int
serve(MPI_Comm comm)
{
    struct pool__verdict verdict;

    pool__rank_serve(comm, &verdict);
    part(&comm);
    if (verdict.code == 0)
        return 0;
    return pool__fail(verdict.code, "%s", verdict.message);
}

/* ---- public ------------------------------------------------------------- */

/* The only rank: a serial pool, which needs no MPI. */
static int
create_alone(pool_t **pool, const pool_options_t *options)
{
    pool_options_t o = *options;
    int rc = check(&o, 1);

    end_mpi();
    o.backend = POOL_SERIAL;
    return rc == 0 ? pool_create(pool, &o) : rc;
}

static int
create(pool_t **pool, const pool_options_t *o)
{
    int rank, ranks;
    int rc = begin_mpi();

    if (rc < 0)
        return rc;
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (ranks == 1)
        return create_alone(pool, o);
    MPI_Comm comm = join();
    return rank == 0 ? lead(pool, o, comm, ranks) : serve(comm);
}

int
pool_mpi_create(pool_t **out, const pool_options_t *options)
{
    const pool_options_t defaults = POOL_OPTIONS_INIT;
    pool_t *pool = NULL;

    if (out == NULL)
        return pool__fail(POOL_EINVAL, WHO ": pool is NULL");
    if (pool__depth > 0)
        return pool__fail(POOL_ENOTSUP, WHO ": inside a worker");
    if (current != NULL)
        return pool__fail(POOL_ENOTSUP, WHO ": there is another one");
    int rc = create(&pool, options != NULL ? options : &defaults);
    if (rc == 0)
        *out = pool;
    return rc;
}

/* ---- pool_create_auto --------------------------------------------------- */

/* Whether mpirun (Open MPI's, or one that speaks PMI) started several. */
static bool
is_started(void)
{
    const char *names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    int yes, ranks = 0;

    MPI_Initialized(&yes);
    if (yes) {
        MPI_Finalized(&yes);
        if (!yes)
            MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *text = getenv(names[i]);
        if (ranks < 2 && text != NULL)
            ranks = atoi(text);
    }
    return ranks > 1;
}

__attribute__((constructor)) static void
offer_to_auto(void)
{
    static const struct pool__auto mpi = {is_started, pool_mpi_create};

    pool__auto_register(&mpi);
}
