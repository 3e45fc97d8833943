/* What passes between a worker's pipes and its rank.
 *
 * A proxy plays the worker: it takes frames from the task pipe, claims calls in
 * the region, and writes what the rank answers into the result pipe.
 * Invariants: a call is claimed when the reply of the one before is in the
 * result pipe, so a rank has one task at a time. Nothing is received from a
 * rank while bytes of its last message wait for the pipe. A session that is
 * killed passes nothing any more, and drops what comes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fdio.h"
#include "mem.h"
#include "mpi/mpi_proxy.h"
#include "proto.h"
#include "watch.h"

#define IN_SIZE ((size_t)256 << 10)
#define ON_THEIR_WAY 8u /* messages to one rank */

static struct pool__slot *
slot_of(const struct pool__session *s)
{
    return &s->mpi->slots[s->rank];
}

/* ---- frames that go by -------------------------------------------------- */

/* Take what is missing of a header; bytes taken. */
static size_t
take_head(struct pool__passing *p, const uint8_t *bytes, size_t n)
{
    n = pool__min(n, sizeof p->head - p->have);
    memcpy(p->head + p->have, bytes, n);
    p->have += n;
    if (p->have == sizeof p->head) {
        (void)pool__frame_split(
            p->head, sizeof p->head, POOL__FRAME_MAX_PAYLOAD, &p->frame);
        p->left = pool__frame_extent(p->frame.size) - sizeof p->head;
    }
    return n;
}

static bool
has_head(const struct pool__passing *p)
{
    return p->have == sizeof p->head;
}

/* ---- to the rank -------------------------------------------------------- */

static void
send_out(struct pool__session *s)
{
    if (s->out == NULL)
        return;
    pool__message_send(
        s->out, &slot_of(s)->outbox, s->mpi->comm, s->rank, s->out_tag);
    s->out = NULL;
    s->out_tag = POOL__TAG_DATA;
    pool__mpi_wake(s->mpi);
}

/* A place for N bytes in the message that is being filled; NULL: no memory, or
 * too much is on its way. */
static uint8_t *
out_place(struct pool__session *s, size_t n)
{
    if (s->out != NULL && s->out->capacity - s->out->size < n)
        send_out(s);
    if (s->out == NULL && slot_of(s)->outbox.count < ON_THEIR_WAY)
        s->out = pool__message_new(n + s->in_have - s->at);
    if (s->out == NULL) {
        s->congested = true;
        return NULL;
    }
    return s->out->bytes + s->out->size;
}

static bool
append(struct pool__session *s, const void *bytes, size_t n)
{
    uint8_t *to = out_place(s, n);

    if (to == NULL)
        return false;
    memcpy(to, bytes, n);
    s->out->size += n;
    return true;
}

/* Claim the call, once the rank is free for it. False: it isn't yet. */
static bool
begin_call(struct pool__session *s)
{
    if (s->busy) {
        s->held = true;
        return false;
    }
    s->skipped = !pool__claim(s->region, ++s->ordinal);
    if (s->skipped)
        return true;
    pool__store(&s->region->started_ns, pool__now_ns());
    pool__store(&s->region->running, s->ordinal);
    s->busy = true;
    s->asked = false;
    s->calls++;
    s->task = s->down.frame.id >> POOL__ID_SENDS_BITS;
    send_out(s); /* a call begins a message */
    s->out_tag = POOL__TAG_CALL;
    return true;
}

/* A header is whole: what becomes of its frame? False: that must wait. */
static bool
decide(struct pool__session *s)
{
    const struct pool__frame *frame = &s->down.frame;

    if (frame->type == POOL__FRAME_CALL && !begin_call(s))
        return false;
    if (frame->type == POOL__FRAME_STOP && frame->id == 0)
        s->retiring = true;
    s->decided = true;
    return true;
}

/* Of the frame that passes, its header: once. */
static bool
pass_head(struct pool__session *s)
{
    if (s->down.have > sizeof s->down.head)
        return true;
    if (!s->skipped && !append(s, s->down.head, sizeof s->down.head))
        return false;
    s->down.have++; /* passed */
    return true;
}

/* Pass on one step. False: it must wait. */
static bool
pass_some(struct pool__session *s)
{
    struct pool__passing *p = &s->down;
    const uint8_t *bytes = s->in + s->at;
    size_t n = s->in_have - s->at;

    if (p->have < sizeof p->head) {
        s->at += take_head(p, bytes, n);
        return true;
    }
    if ((!s->decided && !decide(s)) || !pass_head(s))
        return false;
    n = pool__min(n, p->left);
    if (!s->skipped && n != 0 && !append(s, bytes, n))
        return false;
    s->at += n;
    p->left -= n;
    if (p->left == 0) {
        p->have = 0;
        s->decided = s->skipped = false;
    }
    return true;
}

/* Whether there is something to pass: a header whose body is empty counts. */
static bool
has_some(const struct pool__session *s)
{
    const struct pool__passing *p = &s->down;

    return s->at != s->in_have || (p->have >= sizeof p->head && p->left == 0);
}

static bool
read_some(struct pool__session *s)
{
    ssize_t got = pool__read(s->tasks, s->in, IN_SIZE);

    s->at = 0;
    s->in_have = got > 0 ? (size_t)got : 0;
    return got > 0;
}

static void on_readable(uv_poll_t *handle, int status, int events);

static void
watch(struct pool__session *s, bool yes)
{
    if (yes == s->watching)
        return;
    s->watching = yes;
    if (yes)
        pool__watch_start(&s->readable, UV_READABLE, on_readable);
    else
        uv_poll_stop(&s->readable);
}

void
pool__session_forward(struct pool__session *s)
{
    if (s->killed != 0)
        return;
    s->held = s->congested = false;
    bool more = true;
    while (more && (has_some(s) || read_some(s)))
        more = pass_some(s);
    send_out(s);
    watch(s, more);
}

static void
on_readable(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    pool__session_forward(handle->data);
}

void
pool__session_ask(struct pool__session *s)
{
    struct pool__ask ask = {s->number, s->calls};

    if (!s->busy || s->asked || s->killed != 0 ||
        pool__load(&s->region->cancel) != s->ordinal)
        return;
    s->asked = true;
    MPI_Send(&ask, sizeof ask, MPI_BYTE, s->rank, POOL__TAG_ASK, s->mpi->comm);
}

/* ---- from the rank ------------------------------------------------------ */

/* Look at the frames that N bytes bring. */
static void
note_frames(struct pool__session *s, const uint8_t *bytes, size_t n)
{
    struct pool__passing *p = &s->up;

    while (n != 0 || (has_head(p) && p->left == 0)) {
        size_t taken;
        if (!has_head(p)) {
            taken = take_head(p, bytes, n);
        } else {
            taken = pool__min(n, p->left);
            p->left -= taken;
        }
        bytes += taken;
        n -= taken;
        if (!has_head(p) || p->left != 0)
            continue;
        uint16_t type = p->frame.type;
        s->greeted = s->greeted || type == POOL__FRAME_HELLO;
        s->retiring = s->retiring || (type == POOL__FRAME_HELLO &&
                                         p->frame.flags == POOL__HELLO_FAILED);
        s->answered = s->answered || type == POOL__FRAME_REPLY ||
                      type == POOL__FRAME_ERROR;
        p->have = 0;
    }
}

static void on_writable(uv_poll_t *handle, int status, int events);

/* Write what came, as far as the pipe takes it. */
static void
write_back(struct pool__session *s)
{
    bool stuck = uv_is_active((uv_handle_t *)&s->writable);

    while (s->written != s->size) {
        ssize_t put =
            pool__write(s->results, s->back + s->written, s->size - s->written);
        if (put > 0) {
            s->written += (size_t)put;
            continue;
        }
        if (!stuck)
            pool__watch_start(&s->writable, UV_WRITABLE, on_writable);
        return;
    }
    if (stuck)
        uv_poll_stop(&s->writable);
    if (s->answered) {
        s->answered = s->busy = false;
        pool__store(&s->region->running, 0);
        if (s->held)
            pool__session_forward(s);
    }
}

static void
on_writable(uv_poll_t *handle, int status, int events)
{
    struct pool__session *s = handle->data;

    (void)status;
    (void)events;
    write_back(s);
    pool__mpi_wake(s->mpi);
}

static bool
make_room(struct pool__session *s, size_t size)
{
    if (size <= s->capacity)
        return true;
    uint8_t *block = pool__malloc(size);
    if (block == NULL)
        return false;
    pool__free(s->back);
    s->back = block;
    s->capacity = size;
    return true;
}

static void
take_data(struct pool__session *s, struct pool__arrival *a)
{
    char nothing;

    if (s->killed != 0) {
        (void)pool__arrival_take(a, &nothing, 0);
        return;
    }
    (void)pool__arrival_take(a, s->back, a->size);
    s->written = 0;
    s->size = a->size;
    note_frames(s, s->back, s->size);
    write_back(s);
}

/* Its session is over: the rank is free, whoever waits for the worker's death
 * hears of it. */
static void
take_end(struct pool__session *s, struct pool__arrival *a)
{
    struct pool__slot *slot = slot_of(s);
    struct pool__ended ended = {0, 0};
    const uint64_t one = 1;

    (void)pool__arrival_take(a, &ended, sizeof ended);
    slot->last = s->number;
    slot->status = s->killed != 0 ? s->killed : (ended.status & 0xff) << 8;
    slot->session = NULL;
    (void)!write(s->ended, &one, sizeof one);
    pool__session_close(s);
}

bool
pool__session_receive(struct pool__session *s)
{
    struct pool__arrival a;

    if (s->written != s->size && s->killed == 0)
        return false;
    /* The largest that can come: then taking it can't fail. */
    if (!make_room(s, POOL__PIECE) ||
        !pool__arrival_look(&a, s->mpi->comm, s->rank, MPI_ANY_TAG))
        return false;
    if (a.tag == POOL__TAG_ENDED)
        take_end(s, &a);
    else
        take_data(s, &a);
    return true;
}

bool
pool__session_expects(const struct pool__session *s)
{
    return !s->greeted || s->busy || s->retiring || s->killed != 0;
}

/* ---- life --------------------------------------------------------------- */

int
pool__session_open(struct pool__session *s, uv_loop_t *loop)
{
    int rc = pool__set_nonblocking(s->tasks);

    if (rc == 0)
        rc = pool__set_nonblocking(s->results);
    if (rc == 0 && (s->in = pool__malloc(IN_SIZE)) == NULL)
        rc = -ENOMEM;
    if (rc == 0)
        rc = uv_poll_init(loop, &s->readable, s->tasks);
    if (rc < 0)
        return rc;
    s->handles = 1;
    s->readable.data = s->writable.data = s;
    rc = uv_poll_init(loop, &s->writable, s->results);
    if (rc < 0)
        return rc;
    s->handles = 2;
    s->out_tag = POOL__TAG_DATA;
    watch(s, true);
    return 0;
}

static void
free_session(struct pool__session *s)
{
    pool__free(s->in);
    pool__free(s->back);
    pool__free(s->out);
    pool__free(s);
}

static void
on_closed(uv_handle_t *handle)
{
    struct pool__session *s = handle->data;

    if (--s->handles == 0)
        free_session(s);
}

void
pool__session_close(struct pool__session *s)
{
    int handles = s->handles;

    if (handles > 0)
        uv_close((uv_handle_t *)&s->readable, on_closed);
    if (handles > 1)
        uv_close((uv_handle_t *)&s->writable, on_closed);
    pool__close(&s->tasks);
    pool__close(&s->results);
    pool__close(&s->ended);
    pool__region_unmap(s->region);
    s->region = NULL;
    if (handles == 0)
        free_session(s);
}
