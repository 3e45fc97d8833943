/* A worker: reads frames, claims, runs, answers.
 *
 * Invariants: a reply is published in the region before the next task is
 * claimed. Everything before region->start is in the result pipe. Before the
 * worker may sleep in read(2), start == end. Reads and writes block; no libuv
 * and no lock that another process could hold. */
#include "worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "frame.h"
#include "intake.h"
#include "line.h"
#include "mem.h"
#include "outbox.h"
#include "proto.h"
#include "region.h"
#include "source.h"
#include "spawn.h"
#include "ticks.h"

#define PAGES_KEPT_NS 1000000000u
#define FLUSH_AT (64u << 10) /* bytes of replies */
#define FLUSH_NS 20000u      /* of tasks, after which they are flushed */
#define FLUSH_MUST (POOL__REPLY_BUFFER - FLUSH_AT) /* though it looks */

struct worker {
    const struct pool__worker_config *config;
    const struct pool__worker_io *io;
    struct pool__region *region;
    uint64_t ordinal; /* of the last call frame */
    struct pool__ticks ticks;
    uint64_t clock_ns;          /* read when input came and when a task ended */
    uint64_t flushed_ns;        /* when replies were flushed, or looked at */
    struct pool__outbox out;    /* replies */
    struct pool__source source; /* of tasks */
    struct pool__intake in;
    uint64_t placed;    /* results that were put into the segment */
    uint64_t placed_ns; /* when the last was; 0: its pages are gone */
    pool_fn *functions; /* by the number that calls carry */
    size_t function_count;
    struct pool__list models;
    void *state; /* what pool_call_state gives */
    void (*finalizer)(void *state);
    uint64_t task;          /* id of the running call; 0: none */
    bool greeted;           /* the hello is said */
    int outer_depth;        /* what pool__depth was, and is again */
    struct pool__line line; /* to peers of the running call */
    struct pool_call call;
};

int pool__depth;
bool pool__counted;

/* The end. Where the process lives on, nothing of this life is left. */
_Noreturn static void
leave(struct worker *w, int status)
{
    pool__stdio_flush();
    pool__model_release(&w->models, 0, false);
    pool__call_fini(&w->call);
    pool__line_clear(&w->line);
    pool__free(w->functions);
    pool__free(w->in.bytes);
    pool__depth = w->outer_depth;
    w->io->leave(w->io->self, status);
    abort();
}

/* Nobody listens any more, or memory is out: the host sees the status. */
_Noreturn static void
give_up(struct worker *w)
{
    leave(w, EXIT_FAILURE);
}

static void
flush(struct worker *w)
{
    pool__outbox_skip(&w->out);
    struct iovec part = {pool__outbox_at(&w->out, w->out.start),
        (size_t)pool__outbox_used(&w->out)};
    if (part.iov_len == 0)
        return;
    if (w->io->write(w->io->self, &part, 1) < 0)
        give_up(w);
    w->clock_ns =
        pool__ticks_measure(&w->ticks); /* the pipe may have made it wait */
    pool__outbox_forget(&w->out, w->out.end);
}

static void
publish(struct worker *w, uint64_t extent)
{
    pool__outbox_publish(&w->out, extent);
    if (pool__likely(pool__outbox_used(&w->out) < FLUSH_AT))
        return;
    pool__outbox_skip(&w->out);
    uint64_t left = pool__outbox_used(&w->out);
    if (left >= FLUSH_MUST ||
        (left >= FLUSH_AT && !pool__load(&w->region->looks)))
        flush(w);
}

/* A frame goes straight to the pipe; its payload is in N pieces. */
static void
send_pieces(struct worker *w, const struct pool__frame *frame,
    const struct iovec *pieces, int n)
{
    static const uint8_t zeros[8];
    uint64_t extent = pool__frame_extent(frame->size);
    uint8_t head[POOL__FRAME_HEADER];
    struct iovec parts[POOL__LINE_PIECES + 2] = {{head, sizeof head}};

    memcpy(parts + 1, pieces, (size_t)n * sizeof *pieces);
    parts[n + 1] = (struct iovec){
        (void *)(size_t)zeros, (size_t)(extent - sizeof head - frame->size)};
    flush(w);
    pool__frame_put(head, frame);
    if (w->io->write(w->io->self, parts, n + 2) < 0)
        give_up(w);
    pool__outbox_pass(&w->out, extent);
}

/* One too large for the buffer. */
static void
send_directly(
    struct worker *w, const struct pool__frame *frame, const void *payload)
{
    struct iovec piece = {(void *)(size_t)payload, frame->size};

    send_pieces(w, frame, &piece, 1);
}

static void
send_frame(
    struct worker *w, const struct pool__frame *frame, const void *payload)
{
    uint64_t extent = pool__frame_extent(frame->size);
    uint8_t *place = pool__outbox_place(&w->out) + POOL__FRAME_HEADER;

    if (extent > pool__outbox_room(&w->out) ||
        pool__unlikely(pool__outbox_misplaced(&w->out, payload))) {
        send_directly(w, frame, payload);
        return;
    }
    if (frame->size != 0 && payload != place)
        memcpy(place, payload, frame->size);
    size_t padding = (size_t)extent - POOL__FRAME_HEADER - frame->size;
    if (padding != 0)
        memset(place + frame->size, 0, padding);
    pool__frame_put(pool__outbox_place(&w->out), frame);
    publish(w, extent);
}

/* A line of log goes to the pipe at once: the host shall see it while the task
 * runs, and where the next frame belongs in the buffer its result may stand. */
static void
send_log(void *worker, const char *text, size_t size)
{
    struct worker *w = worker;
    struct pool__frame log = {
        .type = POOL__FRAME_LOG, .id = w->task, .size = (uint32_t)size};

    send_directly(w, &log, text);
}

static void
send_error(struct worker *w, struct pool__frame *frame)
{
    uint8_t payload[POOL__ERROR_MAX];

    frame->size = (uint32_t)pool__error_encode(payload, &w->call.error);
    send_frame(w, frame, payload);
}

/* Those of the result area, which is this worker's. */
static void
drop_pages(struct worker *w)
{
    pool__segment_give_back(w->io->segment.results);
    w->placed_ns = 0;
}

/* The result is in the segment. */
static void
send_placed(struct worker *w, struct pool__frame *reply)
{
    uint64_t size = reply->size;

    reply->type = POOL__FRAME_PLACED;
    reply->size = POOL__PLACED_SIZE;
    w->placed++;
    w->placed_ns = w->clock_ns;
    send_frame(w, reply, &size);
}

static void
begin_call(struct worker *w, const void *arguments, size_t size)
{
    struct pool_call *call = &w->call;
    bool fetched = pool__load(&w->region->fetched) == w->placed;

    call->room = pool__outbox_place(&w->out) + POOL__FRAME_HEADER;
    call->room_size = (size_t)pool__outbox_room(&w->out) - POOL__FRAME_HEADER;
    call->area = w->io->segment.results;
    call->area_size = fetched && call->area != NULL ? POOL__AREA : 0;
    call->area_used = false;
    if (pool__unlikely(w->placed_ns != 0 && fetched &&
                       w->clock_ns - w->placed_ns > PAGES_KEPT_NS))
        drop_pages(w);
    call->rank = w->config->number;
    call->size = w->config->workers;
    pool__call_begin(call, arguments, size);
}

static void
publish_resident(struct worker *w)
{
    uint64_t bytes = pool__memory_resident();

    if (bytes != 0)
        pool__store(&w->region->rss, bytes);
}

pool__hot static void
run_call(struct worker *w, const struct pool__frame *frame, const void *payload)
{
    struct pool_call *call = &w->call;
    struct pool__region *region = w->region;

    if (!pool__claim(region, ++w->ordinal))
        return;
    uint64_t began = w->clock_ns;
    pool__store(&region->started_ns, began);
    pool__store(&region->running, w->ordinal);
    call->ordinal = w->ordinal;
    call->number = frame->id >> POOL__ID_SENDS_BITS;
    begin_call(w, payload, frame->size);
    if (frame->flags >= w->function_count)
        give_up(w);
    w->task = w->line.call = frame->id;
    int rc = pool__call_run(call, w->functions[frame->flags]);
    w->task = 0;
    pool__stdio_flush();
    if (w->config->track_rss)
        publish_resident(w);
    w->clock_ns = pool__ticks_now(&w->ticks);
    struct pool__frame reply = {.type = POOL__FRAME_REPLY,
        .id = frame->id,
        .size = (uint32_t)call->result_size,
        .flags =
            pool__duration_pack(w->clock_ns - pool__min(began, w->clock_ns))};
    bool placed = call->area_used && rc == 0 && call->result == call->area;
    if (pool__unlikely(call->area_used && !placed))
        drop_pages(w);
    if (pool__unlikely(placed))
        send_placed(w, &reply);
    else if (pool__likely(rc == 0))
        send_frame(w, &reply, call->result);
    else {
        reply.type = POOL__FRAME_ERROR;
        send_error(w, &reply);
    }
    if (call->own_size > POOL__INTAKE_KEPT && call->result != call->own)
        pool__call_fini(call); /* what was large is so no longer */
}

/* Its arguments are in the segment. */
static void
run_placed(
    struct worker *w, const struct pool__frame *frame, const void *payload)
{
    struct pool__frame call = *frame;
    uint64_t size;

    if (frame->size != POOL__PLACED_SIZE || w->io->segment.arguments == NULL)
        give_up(w);
    memcpy(&size, payload, sizeof size);
    call.size = (uint32_t)size;
    run_call(w, &call, w->io->segment.arguments);
}

/* The host introduces a function: its number is the count so far. */
static void
learn_function(struct worker *w, const void *payload, size_t size)
{
    pool_fn *list;
    uint64_t address;

    if (pool_decode(payload, size, "t", &address) < 0)
        give_up(w);
    list = pool__realloc(
        w->functions, (w->function_count + 1) * sizeof w->functions[0]);
    if (list == NULL)
        give_up(w);
    w->functions = list;
    w->functions[w->function_count++] =
        (pool_fn)pool__call_resolve(&w->call, address);
}

static void
say_hello(struct worker *w)
{
    uint8_t payload[16];
    size_t size = 0;

    pool_encode(payload, sizeof payload, &size, "u", POOL__PROTOCOL_VERSION);
    struct pool__frame hello = {.type = POOL__FRAME_HELLO,
        .id = w->config->incarnation,
        .size = (uint32_t)size};
    send_frame(w, &hello, payload);
    w->greeted = true;
}

/* The initializer failed: the host is told why, there is nothing to serve. */
_Noreturn static void
fail_start(struct worker *w)
{
    struct pool__frame hello = {.type = POOL__FRAME_HELLO,
        .flags = POOL__HELLO_FAILED,
        .id = w->config->incarnation};

    pool__stdio_flush();
    send_error(w, &hello);
    flush(w);
    leave(w, EXIT_FAILURE);
}

/* Its arguments are copied: in the frame they are not aligned. */
static void
initialize(struct worker *w, pool_fn fn, const void *arguments, size_t size)
{
    struct pool_call *call = &w->call;
    uint8_t *copy = pool__malloc(size);

    if (copy == NULL)
        give_up(w);
    if (size != 0)
        memcpy(copy, arguments, size);
    begin_call(w, copy, size);
    call->area_size = 0; /* it returns nothing */
    int rc = fn(call);
    pool__free(copy);
    if (rc != 0) {
        pool__call_failed(call, rc, "the initializer");
        fail_start(w);
    }
    pool__stdio_flush();
    pool__call_fini(call);
}

/* The first frame of a pool with an initializer or a finalizer. */
static void
set_up(struct worker *w, const void *payload, size_t size)
{
    uint64_t initializer, finalizer;
    const void *arguments;
    size_t n;

    if (w->greeted || pool_decode(payload, size, "ttay", &initializer,
                          &finalizer, &arguments, &n) < 0)
        give_up(w);
    w->finalizer = (void (*)(void *))pool__call_resolve(&w->call, finalizer);
    if (initializer != 0)
        initialize(w, (pool_fn)pool__call_resolve(&w->call, initializer),
            arguments, n);
    say_hello(w);
}

_Noreturn static void
retire(struct worker *w)
{
    pool__model_release(&w->models, 0, true);
    if (w->finalizer != NULL)
        w->finalizer(w->state);
    pool__stdio_flush();
    flush(w);
    leave(w, EXIT_SUCCESS);
}

/* The models of a scatter that is over; 0: the worker is to end. */
static void
stop(struct worker *w, uint64_t scatter)
{
    if (scatter == 0)
        retire(w);
    pool__model_release(&w->models, scatter, true);
    w->clock_ns = pool__ticks_measure(&w->ticks);
}

/* Those that were told of inside a collective. */
static void
stop_aside(struct worker *w)
{
    if (pool__likely(w->line.aside == NULL))
        return;
    for (size_t i = 0; i < w->line.aside_count; i++)
        stop(w, w->line.aside[i]);
    pool__line_clear(&w->line);
}

static void
serve_frame(
    struct worker *w, const struct pool__frame *frame, const void *payload)
{
    switch (frame->type) {
    case POOL__FRAME_CALL:
        run_call(w, frame, payload);
        stop_aside(w);
        break;
    case POOL__FRAME_PLACED:
        run_placed(w, frame, payload);
        stop_aside(w);
        break;
    case POOL__FRAME_HELLO:
        if (frame->flags == POOL__HELLO_SETUP)
            set_up(w, payload, frame->size);
        else if (frame->flags != POOL__HELLO_JOB)
            learn_function(w, payload, frame->size);
        else if (pool__model_learn(&w->call, frame->id, payload, frame->size) <
                 0)
            give_up(w);
        break;
    case POOL__FRAME_STOP:
        stop(w, frame->id);
        break;
    default:
        give_up(w);
    }
}

/* Run what has come as whole frames; what the rest needs in bytes. */
static size_t
serve_input(struct worker *w)
{
    struct pool__frame frame;

    for (;;) {
        const uint8_t *bytes = w->in.bytes + w->in.at;
        size_t n = w->in.have - w->in.at;
        int64_t extent =
            pool__frame_split(bytes, n, POOL__FRAME_MAX_PAYLOAD, &frame);
        if (extent < 0)
            give_up(w);
        if (extent == 0)
            return n < POOL__FRAME_HEADER
                       ? POOL__INTAKE_SIZE
                       : (size_t)pool__frame_extent(frame.size);
        w->in.at += (size_t)extent;
        serve_frame(w, &frame, bytes + POOL__FRAME_HEADER);
    }
}

/* Wait for what the host sends: N bytes at most. 0: it wants no more. */
static size_t
read_some(struct worker *w, void *to, size_t n)
{
    ssize_t got = pool__source_read(&w->source, to, n);

    if (got < 0)
        give_up(w);
    return (size_t)got;
}

/* ---- inside a collective ------------------------------------------------- */

/* Those bytes that have been read already lie behind the running call, whose
 * arguments must stay where they are. */
static bool
read_inside(void *worker, void *to, size_t n)
{
    struct worker *w = worker;
    uint8_t *at = to;
    size_t here = pool__min(n, w->in.have - w->in.at);

    if (here != 0)
        memcpy(at, w->in.bytes + w->in.at, here);
    w->in.at += here;
    if (here < n)
        (void)pool__source_look(&w->source, &w->ticks);
    while (here < n) {
        size_t got = read_some(w, at + here, n - here);
        if (got == 0)
            return false;
        here += got;
    }
    return true;
}

static void
send_inside(void *worker, const struct pool__frame *frame,
    const struct iovec *pieces, int n)
{
    send_pieces(worker, frame, pieces, n);
}

/* ---- life ---------------------------------------------------------------- */

/* Before the next read: nobody may wait for a reply while the worker sleeps.
 * The supervisor stops looking before it sleeps, and looks once more: the
 * fence is the other half of its. */
static void
flush_or_look(struct worker *w)
{
    for (int last = 0; last <= 1; last++) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (!pool__load(&w->region->looks))
            flush(w);
        if (last || pool__source_look(&w->source, &w->ticks))
            break;
    }
}

/* Whether it may go on with tasks that stand there, though the host may sleep
 * until it has replies: they are few and quick. */
static bool
goes_on(struct worker *w)
{
    if (pool__source_has_more(&w->source) &&
        w->clock_ns - w->flushed_ns < FLUSH_NS)
        return true;
    w->flushed_ns = w->clock_ns;
    return false;
}

static void
init(struct worker *w, const struct pool__worker_config *config,
    struct pool__region *region, const struct pool__worker_io *io)
{
    *w = (struct worker){0}; /* a nested worker inherits its parent's */
    w->config = config;
    w->io = io;
    w->region = region;
    w->source = (struct pool__source){.region = region, .io = io};
    w->out = (struct pool__outbox){.ring = region->replies,
        .size = POOL__REPLY_BUFFER,
        .told = &region->reply,
        .taken = &region->reply_taken};
    pool__list_init(&w->models);
    w->in.counted = config->track_rss != 0 || config->max_memory != 0;
    if (pool__intake_room(&w->in, POOL__INTAKE_SIZE) < 0)
        give_up(w);
    pool__counted = w->in.counted;
    w->outer_depth = pool__depth;
    pool__depth = config->depth;
    pool__ticks_init(&w->ticks);
    w->call.models = &w->models;
    w->call.max_result = config->max_result;
    w->call.seed = config->seed;
    w->call.state = &w->state;
    w->call.cancel_word = &w->region->cancel;
    w->call.look = io->look;
    w->call.look_data = io->self;
    w->call.resolve = io->resolve;
    w->call.log = send_log;
    w->call.log_data = w;
    w->line.worker = w;
    w->line.send = send_inside;
    w->line.read = read_inside;
    w->call.comm.line = &pool__line_peers;
    w->call.comm.line_data = &w->line;
    if (config->max_memory != 0 && pool__memory_limit(config->max_memory) < 0)
        give_up(w);
}

void
pool__worker_serve(const struct pool__worker_config *config,
    struct pool__region *region, const struct pool__worker_io *io)
{
    static struct worker w; /* a kilobyte of message; the stack is the task's */

    init(&w, config, region, io);
    if (!config->has_setup)
        say_hello(&w);
    for (size_t need = POOL__INTAKE_SIZE;; need = serve_input(&w)) {
        if (pool__intake_room(&w.in, need) < 0)
            give_up(&w);
        if (!goes_on(&w))
            flush_or_look(&w);
        size_t got = read_some(&w, w.in.bytes + w.in.have,
            pool__min(w.in.size - w.in.have, POOL__INTAKE_SIZE));
        if (got == 0)
            retire(&w);
        w.in.have += got;
        w.clock_ns = pool__ticks_measure(&w.ticks);
    }
}
