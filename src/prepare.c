/* Forkservers made ahead. This file holds a lock, for pools may be created in
 * several threads: held for list work alone, by a process's stamp, so that a
 * child that was forked meanwhile finds it free. */
#define _GNU_SOURCE
#include "prepare.h"

#include <poll.h>
#include <sched.h>

#include "error.h"
#include "forkpool.h"
#include "mem.h"
#include "owner.h"

static uint64_t lock_word; /* stamp of the process that holds it */
static struct pool__list prepared = {&prepared, &prepared};
static uint64_t prepared_by; /* stamp of the process that owns the list */
static int prepared_depth;   /* its pool__depth */

static void
lock(void)
{
    uint64_t mine = pool__owner_stamp(), seen = pool__load(&lock_word);

    while (seen == mine || !__atomic_compare_exchange_n(&lock_word, &seen, mine,
                               false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        sched_yield();
        seen = pool__load(&lock_word);
    }
}

static void
unlock(void)
{
    pool__store(&lock_word, 0);
}

/* What the list holds of an ancestor is not ours: our copies are closed, or
 * were at birth where this is a worker. */
static void
drop_inherited(void)
{
    if (prepared_by == pool__owner_stamp())
        return;
    prepared_by = pool__owner_stamp();
    pool__list_each(node, &prepared)
    {
        struct pool__forkserver *server =
            pool__list_entry(node, struct pool__forkserver, node);
        pool__list_remove(node);
        if (prepared_depth == pool__depth)
            pool__forkserver_drop(server);
        pool__free(server);
    }
    prepared_depth = pool__depth;
}

static struct pool__forkserver *
pop(void)
{
    struct pool__forkserver *server = NULL;

    lock();
    drop_inherited();
    if (!pool__list_empty(&prepared)) {
        server = pool__list_entry(prepared.next, struct pool__forkserver, node);
        pool__list_remove(&server->node);
    }
    unlock();
    return server;
}

static bool
lives(const struct pool__forkserver *server)
{
    struct pollfd set = {.fd = server->socket, .events = POLLRDHUP};

    return poll(&set, 1, 0) == 0;
}

int
pool__prepared_take(struct pool__forkserver *server)
{
    struct pool__forkserver *ready;

    while ((ready = pop()) != NULL) {
        bool usable = lives(ready);
        *server = *ready;
        pool__list_init(&server->node);
        pool__free(ready);
        if (usable)
            return 0;
        pool__forkserver_stop(server);
    }
    pool__forkserver_init(server);
    int rc = pool__forkserver_start(server, pool__worker_main);
    if (rc < 0)
        pool__forkserver_stop(server);
    return rc;
}

int
pool_prepare(void)
{
    int rc = pool__owner_claim();
    struct pool__forkserver *server =
        rc == 0 ? pool__malloc(sizeof *server) : NULL;

    if (server == NULL)
        return pool__fail(POOL_ENOMEM, "pool_prepare: a forkserver's record");
    pool__forkserver_init(server);
    rc = pool__forkserver_start(server, pool__worker_main);
    if (rc < 0) {
        pool__forkserver_stop(server);
        pool__free(server);
        return rc;
    }
    lock();
    drop_inherited();
    pool__list_append(&prepared, &server->node);
    unlock();
    return 0;
}
