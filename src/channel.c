/* A channel: one worker's pipes and shared region.
 *
 * Invariants: replies come in the order of ordinals, so a reply can only be
 * for the oldest task that was not taken back. A position in the reply stream
 * is consumed once, whether it came over the pipe or was collected. The read
 * end of the task pipe stays open here, so writing never raises SIGPIPE. All
 * reading is in read_some and pool__channel_collect, all writing in write_out.
 */
#define _GNU_SOURCE
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "error.h"
#include "fdio.h"
#include "mem.h"

#define TICK_BUDGET (1u << 20)   /* bytes read from one worker at a time */
#define QUEUE_LIMIT (256u << 10) /* bytes buffered for one worker */
#define PIPE_WANTED (1 << 20)    /* bytes, where the system grants it */
#define BIG_STEP (1u << 20)      /* first allocation for a large result */

int
pool__channel_init(struct pool__channel *ch, struct pool__inbox *inbox,
    uint32_t max_result, const struct pool__channel_events *events, void *owner)
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
        rc = pool__region_create(&region);
    ch->task_read = tasks[0];
    ch->task_write = tasks[1];
    ch->result_read = results[0];
    ch->result_write = results[1];
    ch->region_fd = region;
    if (rc == 0 && (ch->region = pool__region_map(region)) == NULL)
        rc = -errno;
    if (rc == 0) {
        ch->sent = pool__malloc(POOL__RING * sizeof ch->sent[0]);
        rc = ch->sent != NULL ? 0 : POOL_ENOMEM;
    }
    if (rc < 0)
        pool__channel_fini(ch);
    return rc;
}

void
pool__channel_fini(struct pool__channel *ch)
{
    pool__close(&ch->task_read);
    pool__close(&ch->task_write);
    pool__close(&ch->result_read);
    pool__close(&ch->result_write);
    pool__close(&ch->region_fd);
    pool__region_unmap(ch->region);
    ch->region = NULL;
    pool__free(ch->sent);
    ch->sent = NULL;
    pool__buf_fini(&ch->out);
    pool__buf_fini(&ch->behind);
    pool__buf_fini(&ch->rest);
    pool__free(ch->big.block);
    ch->big.block = NULL;
}

/* ---- writing ---------------------------------------------------------- */

bool
pool__channel_has_room(const struct pool__channel *ch)
{
    return ch->tail - ch->head < POOL__RING && ch->large.task == NULL &&
           pool__buf_size(&ch->behind) == 0 &&
           pool__buf_size(&ch->out) < QUEUE_LIMIT;
}

static uint8_t *
put_header(
    struct pool__buf *buf, const struct pool__frame *frame, size_t payload_room)
{
    size_t n = POOL__FRAME_HEADER + payload_room;

    if (pool__buf_reserve(buf, n) < 0)
        return NULL;
    uint8_t *to = buf->bytes + buf->tail;
    pool__frame_put(to, frame);
    buf->tail += n;
    return to + POOL__FRAME_HEADER;
}

int
pool__channel_control(struct pool__channel *ch, const struct pool__frame *frame,
    const void *payload)
{
    size_t room = (size_t)pool__frame_extent(frame->size) - POOL__FRAME_HEADER;
    bool behind = ch->large.task != NULL;
    uint8_t *to = put_header(behind ? &ch->behind : &ch->out, frame, room);

    if (to == NULL)
        return POOL_ENOMEM;
    if (room != 0) {
        memset(to + room - 8, 0, 8); /* the padding, then what covers it */
        memcpy(to, payload, frame->size);
    }
    return 0;
}

int
pool__channel_send(struct pool__channel *ch, void *task,
    const struct pool__frame *frame, const void *payload, uint64_t *ordinal)
{
    bool large = frame->size >= POOL__LARGE;

    if (large) {
        if (put_header(&ch->out, frame, 0) == NULL)
            return POOL_ENOMEM;
        ch->large.task = task;
        ch->large.at = payload;
        ch->large.left = frame->size;
        ch->large.padding = (size_t)(pool__frame_extent(frame->size) -
                                     POOL__FRAME_HEADER - frame->size);
    } else if (pool__channel_control(ch, frame, payload) < 0) {
        return POOL_ENOMEM;
    }
    ch->sent[ch->tail % POOL__RING] = (struct pool__sent){task, frame->id};
    *ordinal = ch->tail++;
    ch->held++;
    return large ? 1 : 0;
}

bool
pool__channel_wants_flush(const struct pool__channel *ch)
{
    uint64_t waiting = ch->tail - ch->flushed;

    return !ch->writing &&
           (pool__buf_size(&ch->out) >= POOL__LARGE ||
               waiting >= ch->held - pool__min(waiting, ch->held));
}

/* A pipe was full: ask once for a larger one; a refusal is no matter. */
static void
grow_pipe(int fd, bool *grown)
{
    if (!*grown)
        (void)fcntl(fd, F_SETPIPE_SZ, PIPE_WANTED);
    *grown = true;
}

/* Write N bytes or fewer; what was written, 0 where the pipe is full. */
static size_t
write_some(struct pool__channel *ch, const void *from, size_t n)
{
    ssize_t put = pool__write(ch->task_write, from, n);

    if (put == -EAGAIN && !ch->grown_out) {
        grow_pipe(ch->task_write, &ch->grown_out);
        put = pool__write(ch->task_write, from, n);
    }
    return put > 0 ? (size_t)put : 0;
}

/* Its padding is written next: out is empty and has held the header, so the
 * padding fits. */
static void
large_done(struct pool__channel *ch)
{
    void *task = ch->large.task;

    ch->large.task = NULL;
    memset(ch->out.bytes, 0, ch->large.padding);
    ch->out.tail = ch->large.padding;
    ch->events->payload_sent(ch->owner, task);
}

/* True when everything is written. */
static bool
write_out(struct pool__channel *ch)
{
    for (;;) {
        size_t n = pool__buf_size(&ch->out);
        if (n != 0) {
            size_t put = write_some(ch, ch->out.bytes + ch->out.head, n);
            pool__buf_take(&ch->out, put);
            if (put < n && (put == 0 || ch->grown_out))
                return false;
        } else if (ch->large.task != NULL) {
            size_t put = write_some(ch, ch->large.at, ch->large.left);
            if (put == 0)
                return false;
            ch->large.at += put;
            ch->large.left -= put;
            if (ch->large.left == 0)
                large_done(ch);
        } else if (pool__buf_size(&ch->behind) != 0) {
            struct pool__buf empty = ch->out;
            ch->out = ch->behind;
            ch->behind = empty;
        } else {
            return true;
        }
    }
}

static void
on_writable(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    pool__channel_flush(handle->data);
}

void
pool__channel_flush(struct pool__channel *ch)
{
    if (!ch->open)
        return;
    ch->flushed = ch->tail;
    bool blocked = !write_out(ch);
    if (blocked && !ch->writing)
        uv_poll_start(&ch->writable, UV_WRITABLE, on_writable);
    if (!blocked && ch->writing)
        uv_poll_stop(&ch->writable);
    ch->writing = blocked;
}

/* ---- claims ----------------------------------------------------------- */

/* Ordinals that were taken back and are the oldest need no place. */
static void
skip_recalled(struct pool__channel *ch)
{
    while (ch->head < ch->tail && ch->sent[ch->head % POOL__RING].task == NULL)
        ch->head++;
}

bool
pool__channel_recall(struct pool__channel *ch, uint64_t ordinal)
{
    if (!pool__claim_recall(ch->region, ordinal))
        return false;
    ch->sent[ordinal % POOL__RING].task = NULL;
    ch->held--;
    skip_recalled(ch);
    return true;
}

bool
pool__channel_claimed(struct pool__channel *ch, uint64_t ordinal)
{
    return pool__claimed(ch->region, ordinal);
}

void
pool__channel_shut(struct pool__channel *ch)
{
    void *task = ch->large.task;

    ch->broken = true;
    if (ch->open)
        uv_poll_stop(&ch->readable);
    pool__buf_take(&ch->out, pool__buf_size(&ch->out));
    pool__buf_take(&ch->behind, pool__buf_size(&ch->behind));
    ch->large.task = NULL;
    if (task != NULL)
        ch->events->payload_sent(ch->owner, task);
}

void *
pool__channel_abandon(struct pool__channel *ch, bool *claimed)
{
    skip_recalled(ch);
    if (ch->head == ch->tail)
        return NULL;
    void *task = ch->sent[ch->head % POOL__RING].task;
    *claimed = !pool__claim_recall(ch->region, ch->head);
    ch->head++;
    ch->held--;
    return task;
}

/* ---- reading ---------------------------------------------------------- */

void
pool__channel_violate(struct pool__channel *ch, const char *what)
{
    if (ch->broken)
        return;
    ch->broken = true;
    if (ch->open)
        uv_poll_stop(&ch->readable);
    ch->events->violation(ch->owner, what);
}

static void
deliver_reply(struct pool__channel *ch, const struct pool__frame *frame,
    const void *payload, void *block)
{
    skip_recalled(ch);
    struct pool__sent *sent = &ch->sent[ch->head % POOL__RING];
    if (ch->head == ch->tail || sent->id != frame->id ||
        sent->task == ch->large.task) {
        pool__free(block);
        pool__channel_violate(ch, "a reply to no task that it runs");
        return;
    }
    ch->head++;
    ch->held--;
    ch->events->reply(ch->owner, sent->task, frame, payload, block);
}

static void
deliver(struct pool__channel *ch, const struct pool__frame *frame,
    const void *payload, void *block)
{
    if (pool__likely(frame->type == POOL__FRAME_REPLY ||
                     frame->type == POOL__FRAME_ERROR)) {
        deliver_reply(ch, frame, payload, block);
        return;
    }
    pool__free(block);
    if (frame->type == POOL__FRAME_HELLO)
        ch->events->hello(ch->owner, frame);
    else
        pool__channel_violate(ch, "a frame that workers do not send");
}

/* The rest of a large frame goes to a block of its own, which grows with what
 * has come: a promise of 4 GiB costs nothing. */
static bool
big_make_room(struct pool__channel *ch)
{
    if (ch->big.have < ch->big.capacity)
        return true;
    size_t capacity = pool__min(ch->big.need, 2 * ch->big.capacity);
    uint8_t *block = pool__realloc(ch->big.block, capacity);
    if (block == NULL)
        return false;
    ch->big.block = block;
    ch->big.capacity = capacity;
    return true;
}

static void
big_begin(struct pool__channel *ch, const struct pool__frame *frame)
{
    ch->big.frame = *frame;
    ch->big.have = 0;
    ch->big.need = (size_t)pool__frame_extent(frame->size) - POOL__FRAME_HEADER;
    ch->big.capacity = pool__min(ch->big.need, BIG_STEP);
    ch->big.block = pool__malloc(ch->big.capacity);
    if (ch->big.block == NULL)
        pool__channel_violate(ch, "a result for which memory is out");
}

static void
big_end(struct pool__channel *ch)
{
    uint8_t *block = ch->big.block;

    ch->big.block = NULL;
    for (size_t i = ch->big.frame.size; i < ch->big.need; i++)
        if (block[i] != 0) {
            pool__free(block);
            pool__channel_violate(ch, "padding that is not zero");
            return;
        }
    deliver(ch, &ch->big.frame, block, block);
}

static size_t
big_take(struct pool__channel *ch, const uint8_t *bytes, size_t n)
{
    if (!big_make_room(ch)) {
        pool__channel_violate(ch, "a result for which memory is out");
        return n;
    }
    n = pool__min(n, ch->big.capacity - ch->big.have);
    memcpy(ch->big.block + ch->big.have, bytes, n);
    ch->big.have += n;
    if (ch->big.have == ch->big.need)
        big_end(ch);
    return n;
}

static void
keep_rest(struct pool__channel *ch, const uint8_t *bytes, size_t n)
{
    ch->rest.head = ch->rest.tail = 0;
    if (n == 0)
        return;
    if (pool__buf_reserve(&ch->rest, n) < 0) {
        pool__channel_violate(ch, "a reply for which memory is out");
        return;
    }
    memcpy(ch->rest.bytes, bytes, n);
    ch->rest.tail = n;
}

/* Handle N bytes of the stream, the rest of before included. */
static void
consume(struct pool__channel *ch, const uint8_t *bytes, size_t n)
{
    struct pool__frame frame;

    while (n != 0 && !ch->broken) {
        size_t taken;
        if (ch->big.block != NULL) {
            taken = big_take(ch, bytes, n);
        } else {
            int64_t extent =
                pool__frame_split(bytes, n, ch->max_result, &frame);
            if (extent < 0) {
                pool__channel_violate(ch, "a frame that is none");
                break;
            }
            if (extent == 0 &&
                (n < POOL__FRAME_HEADER || frame.size < POOL__LARGE))
                break;
            taken = extent != 0 ? (size_t)extent : POOL__FRAME_HEADER;
            if (extent != 0)
                deliver(ch, &frame, bytes + POOL__FRAME_HEADER, NULL);
            else
                big_begin(ch, &frame);
        }
        bytes += taken;
        n -= taken;
    }
    keep_rest(ch, bytes, ch->broken ? 0 : n);
}

/* Bytes of the stream that were collected and now come over the pipe again. */
static size_t
already_consumed(const struct pool__channel *ch, size_t got)
{
    return ch->consumed > ch->read ? pool__min(ch->consumed - ch->read, got)
                                   : 0;
}

/* Read once straight into the block of a large frame. */
static ssize_t
read_big(struct pool__channel *ch)
{
    if (!big_make_room(ch)) {
        pool__channel_violate(ch, "a result for which memory is out");
        return 0;
    }
    ssize_t got = pool__read(ch->result_read, ch->big.block + ch->big.have,
        ch->big.capacity - ch->big.have);
    if (got <= 0)
        return got;
    ch->read += (size_t)got;
    ch->consumed += (size_t)got;
    ch->big.have += (size_t)got;
    if (ch->big.have == ch->big.need)
        big_end(ch);
    return got;
}

static ssize_t
read_some(struct pool__channel *ch)
{
    uint8_t *inbox = ch->inbox->bytes;
    size_t rest = pool__buf_size(&ch->rest);

    if (ch->big.block != NULL && ch->consumed == ch->read)
        return read_big(ch);
    ssize_t got =
        pool__read(ch->result_read, inbox + rest, ch->inbox->size - rest);
    if (got <= 0)
        return got;
    size_t old = already_consumed(ch, (size_t)got);
    size_t fresh = (size_t)got - old;
    ch->read += (size_t)got;
    if (fresh == 0)
        return got;
    if (rest != 0)
        memcpy(inbox, ch->rest.bytes, rest);
    if (old != 0)
        memmove(inbox + rest, inbox + rest + old, fresh);
    ch->consumed += fresh;
    consume(ch, inbox, rest + fresh);
    return got;
}

static void
end_of_stream(struct pool__channel *ch)
{
    ch->ended = true;
    if (ch->open)
        uv_poll_stop(&ch->readable);
    ch->events->closed(ch->owner);
}

void
pool__channel_read(struct pool__channel *ch, size_t budget)
{
    size_t before = 0;

    while (before < budget && !ch->broken && !ch->ended) {
        ssize_t got = read_some(ch);
        if (got == 0 && !ch->broken)
            end_of_stream(ch);
        if (got <= 0)
            break;
        before += (size_t)got;
        if ((size_t)got >= POOL__LARGE)
            grow_pipe(ch->result_read, &ch->grown_in);
        else if (ch->big.block == NULL)
            break; /* the pipe is empty, most likely: spare a system call */
    }
    if (before != 0)
        ch->events->batch_end(ch->owner);
}

void
pool__channel_collect(struct pool__channel *ch)
{
    struct pool__region *region = ch->region;
    size_t rest = pool__buf_size(&ch->rest);
    uint64_t start = pool__load(&region->start);
    uint64_t end = pool__load(&region->end);

    if (ch->broken || start > ch->consumed || end <= ch->consumed)
        return; /* the pipe has bytes before these, or there are none */
    size_t n = (size_t)(end - ch->consumed);
    size_t at = (size_t)(ch->consumed - start);
    if (end - start <= POOL__REPLY_BUFFER)
        memcpy(ch->inbox->bytes + rest, region->replies + at, n);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (pool__load(&region->start) != start)
        return; /* it was being written over: those bytes are in the pipe */
    if (end - start > POOL__REPLY_BUFFER) {
        pool__channel_violate(ch, "more replies than its buffer holds");
        return;
    }
    if (rest != 0)
        memcpy(ch->inbox->bytes, ch->rest.bytes, rest);
    ch->consumed = end;
    consume(ch, ch->inbox->bytes, rest + n);
    ch->events->batch_end(ch->owner);
}

void
pool__channel_drain(struct pool__channel *ch)
{
    while (!ch->broken && read_some(ch) > 0)
        ;
    pool__channel_collect(ch);
    ch->events->batch_end(ch->owner);
}

/* ---- handles ---------------------------------------------------------- */

static void
on_readable(uv_poll_t *handle, int status, int events)
{
    struct pool__channel *ch = handle->data;

    (void)events;
    if (status < 0)
        uv_poll_stop(handle); /* death is the pidfd's word */
    else
        pool__channel_read(ch, TICK_BUDGET);
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
    return uv_poll_start(&ch->readable, UV_READABLE, on_readable);
}

void
pool__channel_close(struct pool__channel *ch, uv_close_cb closed)
{
    ch->open = false;
    uv_close((uv_handle_t *)&ch->readable, closed);
    uv_close((uv_handle_t *)&ch->writable, closed);
}
