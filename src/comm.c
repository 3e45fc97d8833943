/* Collectives, as one rank makes them. In a group of several the ranks' parts
 * come from the host, see src/group.c; in a group of one there is this rank's
 * alone.
 *
 * Invariants: a collective goes through `run`. What this rank has to complain
 * of is given to the group like a part, so that all ranks fail together and
 * none waits. The host tells errors before the first part: until then nothing
 * is written. Parts are taken in rank order, this rank's own among them. */
#include "comm.h"

#include <stdio.h>
#include <string.h>

#include "error.h"
#include "fold.h"
#include "mem.h"

/* One collective while it is made. */
struct pass {
    struct pool_comm *comm;
    struct pool__gift gift;
    char wrong[POOL__FAULT_TEXT_MAX]; /* where gift.offer.fault is set */
    int lost; /* a code: a part could not be kept, the others can go on */
    /* Take the part of a rank: SIZE bytes at OWN, or, where that is NULL, to
     * be read. */
    void (*take)(struct pass *p, int rank, const void *own, uint64_t size);

    void *to;      /* where parts go */
    size_t filled; /* bytes of it */
    const size_t *sizes;
    size_t *offsets;        /* of the parts in the store */
    struct pool__store old; /* of the collective before: it may be given now */
    void *copy;             /* of own numbers that would be written over */
};

static void
store_free(struct pool__store *store)
{
    pool__free(store->bytes);
    pool__free(store->parts);
}

/* ---- all of them ------------------------------------------------------ */

static const int fault_codes[] = {[POOL__FAULT_ARGUMENT] = POOL_EINVAL,
    [POOL__FAULT_SIZE] = POOL_ETOOBIG,
    [POOL__FAULT_MEMORY] = POOL_ENOMEM};

/* This rank can't take part; the first reason counts. */
static void
complain(struct pass *p, enum pool__fault fault, const char *what)
{
    if (p->gift.offer.fault != POOL__FAULT_NONE)
        return;
    p->gift.offer.fault = (uint8_t)fault;
    snprintf(p->wrong, sizeof p->wrong, "%s", what);
}

/* A buffer of this length must be there. */
static void
need(struct pass *p, const void *buffer, size_t size, const char *what)
{
    if (buffer == NULL && size != 0)
        complain(p, POOL__FAULT_ARGUMENT, what);
}

/* 0, or why the collective can't even be begun. */
static int
begin(struct pass *p, pool_comm_t *comm, enum pool__collective kind)
{
    const char *who = pool__collective_name((int)kind);

    memset(p, 0, sizeof *p);
    p->comm = comm;
    p->gift.offer.kind = (uint8_t)kind;
    if (comm == NULL)
        return pool__fail(POOL_EINVAL, "%s: comm is NULL", who);
    int rc = comm->check != NULL ? comm->check(comm, who) : 0;
    if (rc < 0)
        return rc;
    if (!comm->peers)
        return pool__fail(
            POOL_ENOTSUP, "%s: the job has no flag POOL_JOB_PEERS", who);
    p->old = comm->store;
    memset(&comm->store, 0, sizeof comm->store);
    return 0;
}

static void
read_part(struct pass *p, void *to, uint64_t size)
{
    p->comm->line->read(p->comm->line_data, to, (size_t)size);
}

/* A part that nobody keeps. */
static void
read_away(struct pass *p, uint64_t size)
{
    uint8_t bytes[4096];

    while (size != 0) {
        uint64_t n = size < sizeof bytes ? size : sizeof bytes;
        read_part(p, bytes, n);
        size -= n;
    }
}

static void
take_own(struct pass *p)
{
    if (p->take != NULL)
        p->take(p, p->comm->rank, p->gift.data, p->gift.size);
}

/* What the host says instead of the first part. */
static int
read_error(struct pass *p, uint64_t size)
{
    uint8_t bytes[POOL__ERROR_MAX];
    struct pool__error error;

    if (size > sizeof bytes)
        read_away(p, size);
    else
        read_part(p, bytes, size);
    if (size > sizeof bytes ||
        !pool__verdict_decode(bytes, (size_t)size, &error))
        return pool__fail(POOL_EPROTO, "a collective's error that is none");
    return pool__fail(error.code, "%s", error.message);
}

/* Parts come in rank order and there is none of this rank; where only rank 0
 * gives, there is no more than one. */
static int
talk(struct pass *p)
{
    const struct pool__peers *line = p->comm->line;
    uint64_t size = 0;

    line->give(p->comm->line_data, &p->gift);
    int part = line->next(p->comm->line_data, &size);
    if (part == 0 && size != 0)
        return read_error(p, size);
    for (int rank = 0; rank < p->comm->size && part >= 0; rank++) {
        if (rank == p->comm->rank) {
            take_own(p);
        } else if (part > 0) {
            p->take(p, rank, NULL, size);
            part = line->next(p->comm->line_data, &size);
        }
    }
    return part;
}

/* Alone. */
static int
run_alone(struct pass *p)
{
    int fault = p->gift.offer.fault;

    if (fault != POOL__FAULT_NONE)
        return pool__fail(fault_codes[fault], "%s: %s",
            pool__collective_name(p->gift.offer.kind), p->wrong);
    take_own(p);
    return 0;
}

static int
run(struct pass *p)
{
    struct pool_comm *comm = p->comm;

    if (p->gift.size > comm->max_size)
        complain(p, POOL__FAULT_SIZE, "more bytes than the pool's limit");
    int rc;
    if (comm->size == 1) {
        rc = run_alone(p);
    } else {
        if (p->gift.offer.fault != POOL__FAULT_NONE) {
            p->gift.data = p->wrong;
            p->gift.size = strlen(p->wrong);
            p->gift.sizes_count = 0;
        }
        rc = talk(p);
    }
    if (rc == 0 && p->lost < 0)
        rc = pool__fail(p->lost, "%s: no memory for what came",
            pool__collective_name(p->gift.offer.kind));
    if (rc < 0)
        pool__comm_clear(comm);
    store_free(&p->old);
    return rc;
}

/* ---- what is kept until the next one ------------------------------------ */

void
pool__comm_clear_store(struct pool_comm *comm)
{
    store_free(&comm->store);
    memset(&comm->store, 0, sizeof comm->store);
}

/* To SIZE bytes. */
static bool
store_grow(struct pool__store *store, size_t size)
{
    uint8_t *bytes = store->bytes == NULL ? pool__malloc_large(size)
                                          : pool__realloc(store->bytes, size);

    if (bytes == NULL)
        return false;
    store->bytes = bytes;
    store->capacity = size;
    return true;
}

/* Room for SIZE bytes more, 8-aligned; NULL: none, which is noted. */
static uint8_t *
store_room(struct pass *p, uint64_t size)
{
    struct pool__store *store = &p->comm->store;
    size_t wanted = store->used + pool__round8((size_t)size);

    if (p->lost == 0 && wanted > store->capacity &&
        !store_grow(store, pool__max(wanted, 2 * store->capacity)))
        p->lost = POOL_ENOMEM;
    if (p->lost < 0)
        return NULL;
    uint8_t *at = store->bytes + store->used;
    store->used = wanted;
    return at;
}

static void
take_to_store(struct pass *p, int rank, const void *own, uint64_t size)
{
    uint8_t *to = size != 0 ? store_room(p, size) : NULL;

    if (to != NULL) {
        p->comm->store.parts[rank].size = (size_t)size;
        p->offsets[rank] = (size_t)(to - p->comm->store.bytes);
    }
    if (to != NULL && own != NULL)
        memcpy(to, own, (size_t)size);
    else if (to != NULL)
        read_part(p, to, size);
    else if (own == NULL)
        read_away(p, size);
}

/* The parts are where they will be. */
static const pool_part_t *
locate_parts(struct pass *p)
{
    pool_part_t *parts = p->comm->store.parts;

    for (int i = 0; i < p->comm->size; i++)
        parts[i].data =
            parts[i].size != 0 ? p->comm->store.bytes + p->offsets[i] : NULL;
    return parts;
}

/* The lists of parts: what fails now fails for all ranks. */
static void
prepare_store(struct pass *p)
{
    size_t n = (size_t)p->comm->size;

    p->comm->store.parts = pool__zalloc(n * sizeof(pool_part_t));
    p->offsets = pool__zalloc(n * sizeof(size_t));
    if (p->comm->store.parts == NULL || p->offsets == NULL)
        complain(p, POOL__FAULT_MEMORY, "no memory for the list of parts");
    p->take = take_to_store;
}

/* ---- the collectives ---------------------------------------------------- */

int
pool_barrier(pool_comm_t *comm)
{
    struct pass p;
    int rc = begin(&p, comm, POOL__BARRIER);

    return rc == 0 ? run(&p) : rc;
}

static void
take_in_place(struct pass *p, int rank, const void *own, uint64_t size)
{
    (void)rank;
    if (own == NULL && size != 0)
        read_part(p, p->to, size);
}

int
pool_bcast(pool_comm_t *comm, void *data, size_t size)
{
    struct pass p;
    int rc = begin(&p, comm, POOL__BCAST);

    if (rc < 0)
        return rc;
    need(&p, data, size, "data is NULL");
    p.gift.offer.count = size;
    p.to = data;
    p.take = take_in_place;
    if (comm->rank == 0) {
        p.gift.data = data;
        p.gift.size = size;
    }
    return run(&p);
}

static void
check_value(struct pass *p, const void *value, size_t size)
{
    char text[POOL__FAULT_TEXT_MAX];
    size_t offset = 0;

    need(p, value, size, "value is NULL");
    if (p->gift.offer.fault != POOL__FAULT_NONE ||
        pool_check(value, size, POOL_DEPTH_DEFAULT, &offset) == 0)
        return;
    snprintf(text, sizeof text, "value: byte %zu is not well-formed", offset);
    complain(p, POOL__FAULT_ARGUMENT, text);
}

int
pool_bcast_value(pool_comm_t *comm, const void *value, size_t size,
    const void **out, size_t *out_size)
{
    struct pass p;
    int rc = begin(&p, comm, POOL__BCAST_VALUE);

    if (rc < 0)
        return rc;
    need(&p, out, 1, "out is NULL");
    need(&p, out_size, 1, "out_size is NULL");
    prepare_store(&p);
    if (comm->rank == 0) {
        check_value(&p, value, size);
        p.gift.data = value;
        p.gift.size = size;
    }
    rc = run(&p);
    if (rc == 0) {
        const pool_part_t *first = locate_parts(&p);
        *out = first->data;
        *out_size = first->size;
    }
    pool__free(p.offsets);
    return rc;
}

int
pool_allgather(
    pool_comm_t *comm, const void *data, size_t size, const pool_part_t **parts)
{
    struct pass p;
    int rc = begin(&p, comm, POOL__ALLGATHER);

    if (rc < 0)
        return rc;
    need(&p, data, size, "data is NULL");
    need(&p, parts, 1, "parts is NULL");
    prepare_store(&p);
    /* Most groups give parts of one size; if not, the store grows later. */
    if (size != 0 && size <= comm->max_size)
        (void)store_grow(&comm->store, pool__round8(size) * (size_t)comm->size);
    p.gift.data = data;
    p.gift.size = size;
    rc = run(&p);
    if (rc == 0)
        *parts = locate_parts(&p);
    pool__free(p.offsets);
    return rc;
}

/* The first part becomes the result, the others are folded into it. */
static void
take_numbers(struct pass *p, int rank, const void *own, uint64_t size)
{
    uint64_t numbers[512];
    uint8_t *to = p->to;

    if (own != NULL && p->copy != NULL)
        own = p->copy;
    if (rank == 0 && own != NULL && size != 0)
        memmove(to, own, (size_t)size);
    else if (rank == 0 && size != 0)
        read_part(p, to, size);
    else if (own != NULL)
        pool__fold(&p->gift.offer, to, own, (size_t)size / 8);
    for (uint64_t at = 0; rank != 0 && own == NULL && at < size;) {
        uint64_t n = size - at < sizeof numbers ? size - at : sizeof numbers;
        read_part(p, numbers, n);
        pool__fold(&p->gift.offer, to + at, numbers, (size_t)n / 8);
        at += n;
    }
}

/* Numbers of this rank that its turn finds written over are copied first. */
static void
copy_own(struct pass *p, const void *send, const void *recv, size_t size)
{
    uintptr_t from = (uintptr_t)send, to = (uintptr_t)recv;

    if (p->gift.offer.fault != POOL__FAULT_NONE || p->comm->rank == 0 ||
        size == 0 || from >= to + size || to >= from + size)
        return;
    p->copy = pool__malloc(size);
    if (p->copy == NULL)
        complain(p, POOL__FAULT_MEMORY, "no memory for a copy of send");
    else
        memcpy(p->copy, send, size);
}

int
pool_allreduce(
    pool_comm_t *comm, const void *send, void *recv, size_t n, int type, int op)
{
    struct pass p;
    int rc = begin(&p, comm, POOL__ALLREDUCE);

    if (rc < 0)
        return rc;
    need(&p, send, n, "send is NULL");
    need(&p, recv, n, "recv is NULL");
    if (type < POOL_INT64 || type > POOL_DOUBLE)
        complain(&p, POOL__FAULT_ARGUMENT, "type is unknown");
    if (op < POOL_SUM || op > POOL_PROD)
        complain(&p, POOL__FAULT_ARGUMENT, "op is unknown");
    if (n > comm->max_size / 8)
        complain(&p, POOL__FAULT_SIZE, "more numbers than the pool's limit");
    else
        copy_own(&p, send, recv, 8 * n);
    if (p.gift.offer.fault == POOL__FAULT_NONE) {
        p.gift.offer.type = (uint8_t)type;
        p.gift.offer.op = (uint8_t)op;
        p.gift.data = send;
        p.gift.size = 8 * n;
    }
    p.gift.offer.count = n;
    p.to = recv;
    p.take = take_numbers;
    rc = run(&p);
    pool__free(p.copy);
    return rc;
}

static void
take_behind(struct pass *p, int rank, const void *own, uint64_t size)
{
    (void)rank;
    if (p->comm->rank != 0)
        return;
    uint8_t *to = (uint8_t *)p->to + p->filled;
    if (own != NULL && size != 0)
        memmove(to, own, (size_t)size);
    else if (size != 0)
        read_part(p, to, size);
    p->filled += (size_t)size;
}

/* At rank 0: what the others shall send is told to the host, which compares. */
static void
check_sizes(struct pass *p, const size_t *sizes, size_t total, uint64_t *told)
{
    size_t sum = 0;
    bool fits = true;

    for (int i = 0; i < p->comm->size; i++) {
        fits = fits && sizes[i] <= total - sum;
        sum += fits ? sizes[i] : 0;
        told[i] = sizes[i];
    }
    if (!fits || sum != total)
        complain(p, POOL__FAULT_ARGUMENT, "the sum of sizes is not recv_size");
    else if (sizes[0] != p->gift.size)
        complain(p, POOL__FAULT_ARGUMENT, "sizes[0] is not send_size");
}

int
pool_gatherv(pool_comm_t *comm, const void *send, size_t send_size, void *recv,
    size_t recv_size, const size_t *sizes)
{
    struct pass p;
    uint64_t *told = NULL;
    int rc = begin(&p, comm, POOL__GATHERV);

    if (rc < 0)
        return rc;
    need(&p, send, send_size, "send is NULL");
    p.gift.data = send;
    p.gift.size = send_size;
    p.take = take_behind;
    if (comm->rank == 0) {
        need(&p, recv, recv_size, "recv is NULL");
        need(&p, sizes, 1, "sizes is NULL");
        told = pool__malloc((size_t)comm->size * sizeof *told);
        if (told == NULL)
            complain(&p, POOL__FAULT_MEMORY, "no memory for sizes");
        if (told != NULL && sizes != NULL)
            check_sizes(&p, sizes, recv_size, told);
        p.gift.sizes = told;
        p.gift.sizes_count = (size_t)comm->size;
        p.to = recv;
    }
    rc = run(&p);
    pool__free(told);
    return rc;
}

/* ---- questions -------------------------------------------------------- */

int
pool_comm_rank(const pool_comm_t *comm)
{
    return comm != NULL ? comm->rank : 0;
}

int
pool_comm_size(const pool_comm_t *comm)
{
    return comm != NULL ? comm->size : 0;
}

bool
pool_comm_is_root(const pool_comm_t *comm)
{
    return comm != NULL && comm->rank == 0;
}
