/* A channel: its ends, what is sent, what is taken back. Reading is in
 * channel_read.c.
 *
 * Invariants: the read end of the task pipe stays open here, so writing never
 * raises SIGPIPE. All writing is in write_out. While a large payload is on
 * its way nothing is added to `out`: what comes goes `behind` it. */
#define _GNU_SOURCE
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "budget.h"
#include "error.h"
#include "fdio.h"
#include "mem.h"
#include "watch.h"

#define NUDGE 8u         /* bytes; what every frame is a multiple of */
#define NUDGE_MOST 4096u /* bytes that a pipe takes at once, or not at all */
#define TICK_BUDGET (1u << 20) /* bytes read from one worker at a time */

int
pool__channel_init(struct pool__channel *ch, struct pool__inbox *inbox,
    uint32_t max_result, bool segment,
    const struct pool__channel_events *events, void *owner)
{
    int tasks[2] = {-1, -1}, results[2] = {-1, -1}, region = -1;

    memset(ch, 0, sizeof *ch);
    ch->events = events;
    ch->owner = owner;
    ch->inbox = inbox;
    ch->max_result = max_result;
    ch->head = ch->tail = ch->flushed = 1;
    int rc = pool__pipe(tasks);
    if (rc == 0)
        rc = pool__pipe(results);
    if (rc == 0)
        rc = pool__set_nonblocking(tasks[1]);
    if (rc == 0)
        rc = pool__set_nonblocking(results[0]);
    if (rc == 0)
        rc = pool__region_create(
            &region, segment ? POOL__SEGMENT_END : POOL__REGION_SIZE);
    ch->task_read = tasks[0];
    ch->task_write = tasks[1];
    ch->result_read = results[0];
    ch->result_write = results[1];
    ch->region_fd = region;
    if (rc == 0 && (ch->region = pool__region_map(region)) == NULL)
        rc = -errno;
    if (rc == 0 && segment)
        (void)pool__segment_map(&ch->segment, region, true);
    if (rc == 0) {
        ch->out = (struct pool__outbox){.ring = ch->region->tasks,
            .size = POOL__TASK_BUFFER,
            .told = &ch->region->task,
            .taken = &ch->region->task_taken};
        ch->sent = pool__zalloc(POOL__RING * sizeof ch->sent[0]);
        rc = ch->sent != NULL ? 0 : POOL_ENOMEM;
    }
    if (rc < 0)
        pool__channel_fini(ch);
    return rc;
}

static void
give_back(struct pool__channel *ch, bool arguments, bool results)
{
    if (arguments && ch->has_arguments)
        pool__segment_give_back(ch->segment.arguments);
    if (results && ch->has_results)
        pool__segment_give_back(ch->segment.results);
    ch->has_arguments = ch->has_arguments && !arguments;
    ch->has_results = ch->has_results && !results;
}

void
pool__channel_fini(struct pool__channel *ch)
{
    pool__close(&ch->task_read);
    pool__close(&ch->task_write);
    pool__close(&ch->result_read);
    pool__close(&ch->result_write);
    pool__close(&ch->region_fd);
    if (ch->region != NULL) {      /* else this is a child, which has neither */
        give_back(ch, true, true); /* grandchildren may have it mapped */
        pool__segment_unmap(&ch->segment);
    }
    pool__region_unmap(ch->region);
    ch->region = NULL;
    pool__free(ch->sent);
    ch->sent = NULL;
    pool__buf_fini(&ch->behind);
    pool__buf_fini(&ch->rest);
    pool__free(ch->big.block);
    ch->big.block = NULL;
}

/* ---- writing ---------------------------------------------------------- */

static void
see_whether_crowded(struct pool__channel *ch)
{
    ch->crowded = ch->large.task != NULL || pool__buf_size(&ch->behind) != 0;
}

int
pool__channel_control(struct pool__channel *ch, const struct pool__frame *frame,
    const void *payload)
{
    return pool__channel_put(ch, *frame, payload);
}

int
pool__channel_put_behind(
    struct pool__channel *ch, struct pool__frame frame, const void *payload)
{
    size_t extent = (size_t)pool__frame_extent(frame.size);
    int rc = pool__buf_reserve(&ch->behind, extent);

    if (rc < 0)
        return rc;
    pool__channel_compose(
        ch->behind.bytes + ch->behind.tail, frame, payload, extent);
    ch->behind.tail += extent;
    ch->crowded = true;
    return 0;
}

/* The header of a frame whose payload does not follow in the same memory. */
static int
put_header(struct pool__channel *ch, const struct pool__frame *frame)
{
    if (pool__buf_size(&ch->behind) == 0 &&
        pool__outbox_room(&ch->out) >= POOL__FRAME_HEADER) {
        pool__frame_put(pool__outbox_place(&ch->out), frame);
        pool__outbox_publish(&ch->out, POOL__FRAME_HEADER);
        return 0;
    }
    int rc = pool__buf_reserve(&ch->behind, POOL__FRAME_HEADER);
    if (rc < 0)
        return rc;
    pool__frame_put(ch->behind.bytes + ch->behind.tail, frame);
    ch->behind.tail += POOL__FRAME_HEADER;
    return 0;
}

/* The large payload of this frame is next, after what is behind already. */
static int
put_large(struct pool__channel *ch, const struct pool__frame *frame,
    const void *payload, void *whose, bool lent)
{
    int rc = put_header(ch, frame);

    if (rc < 0)
        return rc;
    ch->crowded = true;
    ch->large.task = whose;
    ch->large.lent = lent;
    ch->large.at = payload;
    ch->large.left = frame->size;
    ch->large.padding = (size_t)(pool__frame_extent(frame->size) -
                                 POOL__FRAME_HEADER - frame->size);
    ch->large.before = pool__buf_size(&ch->behind);
    return 0;
}

int
pool__channel_lend(struct pool__channel *ch, const struct pool__frame *frame,
    const void *payload, void *lender)
{
    return put_large(ch, frame, payload, lender, true);
}

/* Whether no task reads the arguments that lie in the segment. */
static bool
arguments_are_read(const struct pool__channel *ch)
{
    return ch->lodger < ch->head || pool__channel_task(ch, ch->lodger) == NULL;
}

static bool
may_place(const struct pool__channel *ch, size_t size)
{
    return ch->segment.arguments != NULL && !ch->withheld &&
           size <= POOL__AREA && pool__load(&ch->region->mapped) != 0 &&
           arguments_are_read(ch);
}

/* The worker may see the frame at once. */
static int
place(struct pool__channel *ch, const struct pool__frame *frame,
    const void *payload)
{
    struct pool__frame placed = *frame;
    uint64_t size = frame->size;

    placed.type = POOL__FRAME_PLACED;
    placed.size = POOL__PLACED_SIZE;
    pool__segment_copy(ch->segment.arguments, payload, frame->size);
    ch->placed_ns = pool__now_ns();
    ch->has_arguments = true;
    if (pool__channel_control(ch, &placed, &size) < 0)
        return POOL_ENOMEM;
    ch->lodger = ch->tail;
    return 0;
}

int
pool__channel_send_large(struct pool__channel *ch, void *task,
    struct pool__frame frame, const void *payload)
{
    if (may_place(ch, frame.size))
        return place(ch, &frame, payload);
    int rc = put_large(ch, &frame, payload, task, false);
    return rc < 0 ? rc : 1;
}

/* Write N bytes or fewer; what was written, 0 where the pipe is full. */
static size_t
write_some(struct pool__channel *ch, const void *from, size_t n)
{
    n = pool__min(n, ch->inbox->piece);
    ssize_t put = pool__write(ch->task_write, from, n);

    if (put == -EAGAIN && !ch->grown_out) {
        pool__pipe_grow(ch->task_write, &ch->grown_out);
        put = pool__write(ch->task_write, from, n);
    }
    return put > 0 ? (size_t)put : 0;
}

/* Nothing of the large payload is read any more. */
static void
large_given_back(struct pool__channel *ch)
{
    void *whose = ch->large.task;

    ch->large.task = NULL;
    see_whether_crowded(ch);
    if (ch->large.lent)
        ch->events->lent_sent(ch->owner, whose);
    else
        ch->events->payload_sent(ch->owner, whose);
}

/* Its padding is next. */
static void
large_done(struct pool__channel *ch)
{
    memset(pool__outbox_place(&ch->out), 0, ch->large.padding);
    pool__outbox_publish(&ch->out, ch->large.padding);
    large_given_back(ch);
}

/* What had to wait may stand in the region, as much of it as fits, and as goes
 * before a large payload. */
static void
put_what_was_behind(struct pool__channel *ch)
{
    size_t n = pool__min(
        pool__buf_size(&ch->behind), (size_t)pool__outbox_room(&ch->out));

    if (ch->large.task != NULL) {
        n = pool__min(n, ch->large.before);
        ch->large.before -= n;
    }
    memcpy(pool__outbox_place(&ch->out), ch->behind.bytes + ch->behind.head, n);
    pool__outbox_publish(&ch->out, n);
    pool__buf_take(&ch->behind, n);
    see_whether_crowded(ch);
    if (ch->behind.capacity > POOL__TASK_BUFFER &&
        pool__buf_size(&ch->behind) == 0)
        pool__buf_fini(&ch->behind);
}

/* How the worker comes by what stands in its region; by the pipe where
 * something else is to follow there. It says that it sleeps and then looks once
 * more; what stands there did so before it is asked here. So one of the two
 * sees the other. */
static enum pool__reader
ask_reader(struct pool__channel *ch)
{
    uint64_t seen = POOL__READER_SLEEPS;

    if (ch->crowded || ch->hungry)
        return POOL__READER_PIPE;
    (void)__atomic_compare_exchange_n(&ch->region->reader, &seen,
        POOL__READER_LOOKS, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return (enum pool__reader)seen;
}

/* Write N bytes of the region, or fewer. */
static size_t
write_kept(struct pool__channel *ch, size_t n)
{
    size_t put = write_some(ch, pool__outbox_at(&ch->out, ch->out.start), n);

    pool__outbox_forget(&ch->out, ch->out.start + put);
    return put;
}

/* Wake the worker: by all there is, or where that is much by a little of it,
 * for it looks for the rest itself. A full pipe wakes it too. */
static void
nudge(struct pool__channel *ch, size_t n)
{
    (void)write_kept(ch, n <= NUDGE_MOST ? n : NUDGE);
}

/* True when everything is written, or is taken without. */
static bool
write_out(struct pool__channel *ch)
{
    for (;;) {
        pool__outbox_skip(&ch->out);
        size_t n = (size_t)pool__outbox_used(&ch->out);
        if (n != 0) {
            enum pool__reader reader = ask_reader(ch);
            if (reader == POOL__READER_SLEEPS)
                nudge(ch, n);
            if (reader != POOL__READER_PIPE)
                return true;
            size_t put = write_kept(ch, n);
            if (put < n && (put == 0 || ch->grown_out))
                return false;
        } else if (ch->large.task != NULL && ch->large.before == 0) {
            size_t put = write_some(ch, ch->large.at, ch->large.left);
            pool__outbox_pass(&ch->out, put);
            ch->large.at += put;
            ch->large.left -= put;
            if (ch->large.left == 0)
                large_done(ch);
            else if (put == 0 || pool__budget_over())
                return false;
        } else if (pool__buf_size(&ch->behind) != 0) {
            put_what_was_behind(ch);
        } else if (ch->hungry && !ch->broken) {
            ch->events->feed(ch->owner);
            if (pool__budget_over())
                return false;
        } else {
            return true;
        }
    }
}

static void
on_writable(uv_poll_t *handle, int status, int events)
{
    struct pool__channel *ch = handle->data;

    (void)status;
    (void)events;
    pool__channel_flush(ch);
    if (!ch->writing)
        ch->events->progress(ch->owner);
}

void
pool__channel_flush(struct pool__channel *ch)
{
    if (!ch->open)
        return;
    ch->flushed = ch->tail;
    bool blocked = !write_out(ch);
    ch->told = ch->out.end;
    if (blocked && !ch->writing)
        pool__watch_start(&ch->writable, UV_WRITABLE, on_writable);
    if (!blocked && ch->writing)
        uv_poll_stop(&ch->writable);
    ch->writing = blocked;
}

/* ---- claims ----------------------------------------------------------- */

bool
pool__channel_recall(struct pool__channel *ch, uint64_t ordinal)
{
    if (!pool__claim_recall(ch->region, ordinal))
        return false;
    ch->sent[ordinal % POOL__RING].task = NULL;
    ch->held--;
    pool__channel_skip_recalled(ch);
    return true;
}

bool
pool__channel_claimed(struct pool__channel *ch, uint64_t ordinal)
{
    return pool__claimed(ch->region, ordinal);
}

void
pool__channel_ask(struct pool__channel *ch, uint64_t ordinal)
{
    pool__store(&ch->region->cancel, ordinal);
}

uint64_t
pool__channel_started_ns(struct pool__channel *ch, uint64_t ordinal)
{
    uint64_t at = pool__load(&ch->region->started_ns);

    return pool__load(&ch->region->running) == ordinal ? at : 0;
}

bool
pool__channel_stuck(const struct pool__channel *ch, uint64_t ns)
{
    if (pool__load(&ch->region->running) < ch->head ||
        pool__channel_replied(ch))
        return false;
    uint64_t at = pool__load(&ch->region->started_ns), now = pool__now_ns();
    return now > at && now - at > ns;
}

void
pool__channel_spin(struct pool__channel *ch, uint64_t ns)
{
    if (ch->region != NULL)
        pool__store(&ch->region->spin_ns, ns);
}

uint64_t
pool__channel_rss(const struct pool__channel *ch)
{
    return pool__load(&ch->region->rss);
}

/* The result area is the worker's while it has a task. */
bool
pool__channel_tidy(struct pool__channel *ch, uint64_t since_ns)
{
    bool arguments = ch->has_arguments && arguments_are_read(ch);
    bool results = ch->has_results && ch->held == 0;

    if (ch->placed_ns > since_ns)
        return false;
    give_back(ch, arguments, results);
    return arguments || results;
}

/* To the worker its last result is never fetched. */
void
pool__channel_withhold(struct pool__channel *ch)
{
    ch->withheld = true;
    pool__store(&ch->region->fetched, UINT64_MAX);
}

void
pool__channel_shut(struct pool__channel *ch)
{
    ch->broken = true;
    if (ch->open)
        uv_poll_stop(&ch->readable);
    ch->out.start = ch->out.end;
    pool__buf_take(&ch->behind, pool__buf_size(&ch->behind));
    if (ch->large.task != NULL)
        large_given_back(ch);
    ch->crowded = false;
}

void *
pool__channel_abandon(struct pool__channel *ch, bool *claimed)
{
    pool__channel_skip_recalled(ch);
    if (ch->head == ch->tail)
        return NULL;
    void *task = ch->sent[ch->head % POOL__RING].task;
    if (claimed != NULL)
        *claimed = !pool__claim_recall(ch->region, ch->head);
    ch->head++;
    ch->held--;
    return task;
}

/* ---- handles ---------------------------------------------------------- */

static void
on_readable(uv_poll_t *handle, int status, int events)
{
    struct pool__channel *ch = handle->data;

    (void)events;
    if (status < 0) {
        uv_poll_stop(handle); /* death is the pidfd's word */
        return;
    }
    pool__channel_read(ch, pool__channel_share(ch, TICK_BUDGET));
    if (!ch->looks) /* what stood behind that when it was looked at last */
        (void)pool__channel_collect(
            ch, pool__channel_share(ch, POOL__COLLECT_STEP));
}

int
pool__channel_open(struct pool__channel *ch, uv_loop_t *loop)
{
    int rc = uv_poll_init(loop, &ch->readable, ch->result_read);

    if (rc < 0)
        return rc;
    rc = uv_poll_init(loop, &ch->writable, ch->task_write);
    if (rc < 0) {
        uv_close((uv_handle_t *)&ch->readable, NULL);
        return rc;
    }
    ch->readable.data = ch->writable.data = ch;
    ch->open = true;
    pool__close(&ch->result_write);
    pool__close(&ch->region_fd);
    if (pool__watch_start(&ch->readable, UV_READABLE, on_readable) < 0)
        pool__channel_violate(ch, "its pipe can't be watched");
    return 0;
}

void
pool__channel_close(struct pool__channel *ch, uv_close_cb closed)
{
    ch->open = false;
    uv_close((uv_handle_t *)&ch->readable, closed);
    uv_close((uv_handle_t *)&ch->writable, closed);
}
