/* Messages: sent, waited for, received.
 *
 * Invariant: nothing here waits inside MPI, whose waits burn a CPU that the
 * ranks of one machine may share: it asks, and sleeps between. */
#define _GNU_SOURCE
#include "mpi/mpi_link.h"

#include <sched.h>
#include <time.h>

#include "mem.h"

#define YIELDS 200u       /* tries before it sleeps */
#define SHORT_NS 50000    /* first sleeps, */
#define SHORT_SLEEPS 100u /* so many of them, */
#define LONG_NS 1000000   /* then these, */
#define LONG_SLEEPS 1000u
#define LAST_NS 2000000 /* and at last these */

void
pool__pause(unsigned *tries)
{
    unsigned sleeps = *tries - YIELDS;
    long ns = LAST_NS;

    if (*tries < YIELDS) {
        ++*tries;
        sched_yield();
        return;
    }
    if (sleeps < SHORT_SLEEPS)
        ns = SHORT_NS;
    else if (sleeps < SHORT_SLEEPS + LONG_SLEEPS)
        ns = LONG_NS;
    if (ns != LAST_NS)
        ++*tries;
    nanosleep(&(struct timespec){0, ns}, NULL);
}

void
pool__request_wait(MPI_Request *request)
{
    int done = 0;

    for (unsigned tries = 0;; pool__pause(&tries)) {
        MPI_Test(request, &done, MPI_STATUS_IGNORE);
        if (done)
            return;
    }
}

/* ---- sending ------------------------------------------------------------ */

void
pool__sending_init(struct pool__sending *outbox)
{
    pool__list_init(&outbox->list);
    outbox->count = 0;
}

struct pool__message *
pool__message_new(size_t capacity)
{
    struct pool__message *m = pool__malloc(sizeof *m + capacity);

    if (m == NULL)
        return NULL;
    pool__list_init(&m->node);
    m->size = 0;
    m->capacity = capacity;
    return m;
}

void
pool__message_send(struct pool__message *m, struct pool__sending *outbox,
    MPI_Comm comm, int rank, enum pool__tag tag)
{
    MPI_Isend(
        m->bytes, (int)m->size, MPI_BYTE, rank, (int)tag, comm, &m->request);
    pool__list_append(&outbox->list, &m->node);
    outbox->count++;
}

bool
pool__sending_test(struct pool__sending *outbox)
{
    bool some = false;

    pool__list_each(node, &outbox->list)
    {
        struct pool__message *m =
            pool__list_entry(node, struct pool__message, node);
        int done = 0;
        MPI_Test(&m->request, &done, MPI_STATUS_IGNORE);
        if (!done)
            continue;
        pool__list_remove(&m->node);
        pool__free(m);
        outbox->count--;
        some = true;
    }
    return some;
}

void
pool__sending_wait(struct pool__sending *outbox)
{
    for (unsigned tries = 0; outbox->count != 0; pool__pause(&tries))
        (void)pool__sending_test(outbox);
}

/* ---- receiving ---------------------------------------------------------- */

bool
pool__arrival_look(struct pool__arrival *a, MPI_Comm comm, int source, int tag)
{
    MPI_Status status;
    int there = 0, size = 0;

    MPI_Improbe(source, tag, comm, &there, &a->message, &status);
    if (!there)
        return false;
    MPI_Get_count(&status, MPI_BYTE, &size);
    a->source = status.MPI_SOURCE;
    a->tag = status.MPI_TAG;
    a->size = (size_t)size;
    return true;
}

void
pool__arrival_wait(struct pool__arrival *a, MPI_Comm comm, int source, int tag)
{
    for (unsigned tries = 0; !pool__arrival_look(a, comm, source, tag);
         pool__pause(&tries))
        ;
}

bool
pool__arrival_take(struct pool__arrival *a, void *to, size_t size)
{
    MPI_Request request;
    uint8_t *whole = to;

    /* MPI has no receive that cuts: what is too large goes elsewhere. */
    if (a->size > size && (whole = pool__malloc(a->size)) == NULL)
        MPI_Abort(MPI_COMM_WORLD, 1);
    MPI_Imrecv(whole, (int)a->size, MPI_BYTE, &a->message, &request);
    pool__request_wait(&request);
    if (whole != to)
        pool__free(whole);
    return a->size == size;
}
