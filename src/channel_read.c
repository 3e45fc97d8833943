/* The reply stream of a channel: from the pipe and from the region's buffer
 * to whole frames, and those to the owner.
 *
 * Invariants: replies come in the order of ordinals, so a reply can only be
 * for the oldest task that was not taken back. A position in the stream is
 * consumed once, whether it came over the pipe or was collected. Nothing is
 * believed: bytes are copied out of the region before they are looked at. */
#include "channel.h"

#include <string.h>

#include "budget.h"
#include "fdio.h"
#include "forkpool.h"
#include "mem.h"
#include "proto.h"

#define DRAIN_MOST (4u << 20)   /* bytes; more than a pipe holds */
#define BIG_STEP (16u << 10)    /* first allocation for a large result */
#define BIG_POPULATE (1u << 20) /* bytes; as much as a pipe holds */

const char pool__channel_no_memory[] = "no memory for a result";

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

/* The oldest task in hand, if its id is this. NULL: a violation. */
static void *
answered_task(struct pool__channel *ch, uint64_t id)
{
    for (; ch->head != ch->tail; ch->head++) {
        struct pool__sent *sent = &ch->sent[ch->head % POOL__RING];
        if (pool__unlikely(sent->task == NULL))
            continue; /* it was taken back */
        if (pool__likely(sent->id == id && sent->task != ch->large.task))
            return sent->task;
        break;
    }
    pool__channel_violate(ch, "a reply to no task that it runs");
    return NULL;
}

static void
deliver_reply(struct pool__channel *ch, const struct pool__frame *frame,
    const void *payload, void *block)
{
    void *task = answered_task(ch, frame->id);

    if (pool__unlikely(task == NULL)) {
        pool__free(block);
        return;
    }
    ch->head++;
    ch->held--;
    ch->events->reply(ch->owner, task, frame, payload, block);
}

/* A result in the segment: its size is checked, then it is copied out, and only
 * then may the worker use the area again. So no two can stand among what was
 * consumed at once. */
static void
deliver_placed(struct pool__channel *ch, const struct pool__frame *frame,
    const void *payload)
{
    struct pool__frame reply = *frame;
    uint64_t size = 0;

    if (frame->size == POOL__PLACED_SIZE)
        memcpy(&size, payload, sizeof size);
    if (size < POOL__LARGE || size > ch->max_result || size > POOL__AREA ||
        ch->segment.results == NULL) {
        pool__channel_violate(ch, "a result that is not in its segment");
        return;
    }
    if (ch->fetched != 0 && ch->fetched_at == ch->consumed) {
        pool__channel_violate(ch, "two results in its segment at once");
        return;
    }
    if (answered_task(ch, frame->id) == NULL)
        return;
    uint8_t *block = ch->events->block(ch->owner, (size_t)size);
    if (block == NULL) {
        pool__channel_violate(ch, pool__channel_no_memory);
        return;
    }
    pool__segment_copy(block, ch->segment.results, (size_t)size);
    ch->fetched++;
    ch->fetched_at = ch->consumed;
    ch->placed_ns = pool__now_ns();
    ch->has_results = true;
    if (!ch->withheld)
        pool__store(&ch->region->fetched, ch->fetched);
    reply.type = POOL__FRAME_REPLY;
    reply.size = (uint32_t)size;
    deliver_reply(ch, &reply, block, block);
}

/* The task that runs, if its id is this; NULL: another does. */
static void *
running_task(struct pool__channel *ch, uint64_t id)
{
    pool__channel_skip_recalled(ch);
    if (ch->head == ch->tail)
        return NULL;
    struct pool__sent *sent = &ch->sent[ch->head % POOL__RING];
    return sent->id == id && sent->task != ch->large.task &&
                   pool__channel_claimed(ch, ch->head)
               ? sent->task
               : NULL;
}

static void
deliver_collective(struct pool__channel *ch, const struct pool__frame *frame,
    const void *payload, void *block)
{
    void *task = frame->flags == 0 ? running_task(ch, frame->id) : NULL;

    if (task == NULL) {
        pool__free(block);
        pool__channel_violate(ch, "a collective of no task that it runs");
        return;
    }
    ch->events->collective(ch->owner, task, frame, payload, block);
}

static void
deliver_log(struct pool__channel *ch, const struct pool__frame *frame,
    const void *payload)
{
    char text[POOL__LOG_MAX + 1];
    void *task = frame->id != 0 ? running_task(ch, frame->id) : NULL;

    if (frame->size == 0 || frame->size > POOL__LOG_MAX || frame->flags != 0) {
        pool__channel_violate(ch, "a line of log that is none");
    } else if (frame->id != 0 && task == NULL) {
        pool__channel_violate(ch, "a line of log of no task that it runs");
    } else if (ch->events->log != NULL) {
        memcpy(text, payload, frame->size);
        text[frame->size] = '\0';
        pool__make_printable(text, frame->size);
        ch->events->log(ch->owner, task, text, frame->size);
    }
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
    if (frame->type == POOL__FRAME_COLLECTIVE) {
        deliver_collective(ch, frame, payload, block);
        return;
    }
    if (frame->type == POOL__FRAME_PLACED)
        deliver_placed(ch, frame, payload);
    else if (frame->type == POOL__FRAME_HELLO)
        ch->events->hello(ch->owner, frame, payload);
    else if (frame->type == POOL__FRAME_LOG)
        deliver_log(ch, frame, payload);
    else
        pool__channel_violate(ch, "a frame that workers do not send");
    pool__free(block);
}

/* The rest of a large frame goes to a block of its own. It is a small one
 * until that is full: a promise of 4 GiB costs nothing, and a short turn copies
 * no more than a step. Then it is the whole, whose pages follow the bytes that
 * come. */
static bool
big_make_room(struct pool__channel *ch)
{
    if (ch->big.have < ch->big.capacity)
        return true;
    uint8_t *block = pool__budget_limited() ? pool__malloc_paged(ch->big.need)
                                            : pool__malloc_large(ch->big.need);
    if (block == NULL)
        return false;
    memcpy(block, ch->big.block, ch->big.have);
    pool__free(ch->big.block);
    ch->big.block = block;
    ch->big.capacity = ch->big.need;
    return true;
}

static void
big_begin(struct pool__channel *ch, const struct pool__frame *frame)
{
    if (frame->type != POOL__FRAME_REPLY && frame->type != POOL__FRAME_ERROR &&
        frame->type != POOL__FRAME_COLLECTIVE) {
        pool__channel_violate(ch, "a large frame that is no result");
        return;
    }
    ch->big.frame = *frame;
    ch->big.have = ch->big.populated = 0;
    ch->big.need = (size_t)pool__frame_extent(frame->size) - POOL__FRAME_HEADER;
    ch->big.capacity = ch->big.need <= POOL__LARGE ? ch->big.need : BIG_STEP;
    ch->big.block = pool__malloc(ch->big.capacity);
    if (ch->big.block == NULL)
        pool__channel_violate(ch, pool__channel_no_memory);
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
        pool__channel_violate(ch, pool__channel_no_memory);
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
        pool__channel_violate(ch, pool__channel_no_memory);
        return;
    }
    memcpy(ch->rest.bytes, bytes, n);
    ch->rest.tail = n;
}

/* What comes in a collective may be a little larger than a result. FRAME is. */
static pool__apart bool
may_be_larger(const struct pool__channel *ch, const struct pool__frame *frame)
{
    return frame->type == POOL__FRAME_COLLECTIVE &&
           frame->size - ch->max_result <=
               POOL__OFFER_SIZE + POOL_MAX_WORKERS * sizeof(uint64_t);
}

/* As pool__frame_split; what is above the limit has no text. */
static int64_t
split(struct pool__channel *ch, const uint8_t *bytes, size_t n,
    struct pool__frame *frame)
{
    int64_t extent =
        pool__frame_split(bytes, n, POOL__FRAME_MAX_PAYLOAD, frame);

    if (extent >= 0 && n >= POOL__FRAME_HEADER &&
        pool__unlikely(frame->size > ch->max_result) &&
        !may_be_larger(ch, frame))
        return POOL_EPROTO;
    return extent;
}

/* Where a turn is short, what does not fit in a piece has its own block at
 * once: to copy it there when it is whole takes longer than a piece. */
static size_t
least_large(const struct pool__channel *ch)
{
    return pool__min(POOL__LARGE, ch->inbox->piece);
}

/* There were so many notices before. */
static void
note_brought(struct pool__channel *ch, uint64_t noticed)
{
    if (*ch->inbox->noticed != noticed)
        ch->brought = *ch->inbox->noticed;
}

/* Handle N bytes of the stream, the rest of before included. */
pool__hot static void
consume(struct pool__channel *ch, const uint8_t *bytes, size_t n)
{
    uint64_t noticed = *ch->inbox->noticed;
    struct pool__frame frame;

    while (n != 0 && !ch->broken) {
        size_t taken;
        if (ch->big.block != NULL) {
            taken = big_take(ch, bytes, n);
        } else {
            int64_t extent = split(ch, bytes, n, &frame);
            if (extent < 0) {
                pool__channel_violate(ch, "a frame that is none");
                break;
            }
            if (extent == 0 &&
                (n < POOL__FRAME_HEADER || frame.size < least_large(ch)))
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
    note_brought(ch, noticed);
}

/* Where in the stream the next byte of the pipe stands, as far as that is known
 * before it is read. Bytes that the worker did not write, for they were
 * collected, are counted in `skipped`. It may have skipped behind those that
 * come next: then these were collected too, and seem to be further on than they
 * are, but not beyond what is consumed. */
static uint64_t
position(const struct pool__channel *ch)
{
    return ch->piped + pool__load(&ch->region->reply.skipped);
}

/* What was consumed needs no place in the worker's buffer. */
static void
note_consumed(struct pool__channel *ch, size_t n)
{
    ch->consumed += n;
    pool__store(&ch->region->reply_taken, ch->consumed);
}

/* The pages that are read into next, before the pipe is locked for it: else the
 * worker spins on that lock while they are made. */
static void
big_populate(struct pool__channel *ch)
{
    if (ch->big.have < ch->big.populated || ch->big.capacity < BIG_POPULATE ||
        pool__budget_limited())
        return;
    size_t n = pool__min(BIG_POPULATE, ch->big.capacity - ch->big.have);
    pool__populate(ch->big.block + ch->big.have, n);
    ch->big.populated = ch->big.have + n;
}

/* Read once straight into the block of a large frame. Its pages are new, most
 * likely: half a piece. */
static ssize_t
read_big(struct pool__channel *ch)
{
    if (!big_make_room(ch)) {
        pool__channel_violate(ch, pool__channel_no_memory);
        return 0;
    }
    big_populate(ch);
    ssize_t got = pool__read(ch->result_read, ch->big.block + ch->big.have,
        pool__min(ch->big.capacity - ch->big.have, ch->inbox->piece / 2));
    if (got <= 0)
        return got;
    ch->piped += (size_t)got;
    note_consumed(ch, (size_t)got);
    ch->big.have += (size_t)got;
    uint64_t noticed = *ch->inbox->noticed;
    if (ch->big.have == ch->big.need)
        big_end(ch);
    note_brought(ch, noticed);
    return got;
}

static ssize_t
read_some(struct pool__channel *ch, size_t most)
{
    size_t rest = pool__buf_size(&ch->rest);
    size_t front = pool__front(ch->inbox->bytes, rest, 0);
    uint8_t *inbox = ch->inbox->bytes + front;

    if (ch->big.block != NULL && ch->consumed == position(ch))
        return read_big(ch);
    ssize_t got = pool__read(ch->result_read, inbox + rest,
        pool__min(
            ch->inbox->size - front - rest, pool__min(most, ch->inbox->piece)));
    if (got <= 0)
        return got;
    uint64_t at = position(ch);
    ch->piped += (size_t)got;
    if (at > ch->consumed) {
        pool__channel_violate(ch, "a gap in what it sends");
        return got;
    }
    size_t old = pool__min(ch->consumed - at, (size_t)got); /* was collected */
    size_t fresh = (size_t)got - old;
    if (fresh == 0)
        return got;
    if (rest != 0)
        memcpy(inbox, ch->rest.bytes, rest);
    if (old != 0)
        memmove(inbox + rest, inbox + rest + old, fresh);
    note_consumed(ch, fresh);
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

/* The order of the channels is always the same, and the first may take all of
 * each turn: see pool__inbox. A round in which all that came had theirs ends
 * with the next turn. */
static bool
may_be_late(struct pool__channel *ch)
{
    struct pool__inbox *inbox = ch->inbox;

    if (inbox->turn != pool__budget_end) {
        inbox->turn = pool__budget_end;
        inbox->round += inbox->late ? 0 : 1;
        inbox->late = false;
    }
    return !inbox->late && ch->round != inbox->round;
}

/* What the worker answers it has taken before. */
static void
tell_progress(struct pool__channel *ch)
{
    pool__outbox_skip(&ch->out);
    ch->events->progress(ch->owner);
}

static void
was_late(struct pool__channel *ch)
{
    ch->inbox->late = true;
    ch->round = ch->inbox->round;
}

void
pool__channel_read(struct pool__channel *ch, size_t budget)
{
    size_t before = 0;
    uint64_t fetched = ch->fetched;
    bool late = pool__budget_over();

    if (budget == 0 || (late && !may_be_late(ch)))
        return;
    do {
        ssize_t got =
            ch->broken || ch->ended ? -1 : read_some(ch, budget - before);
        if (got == 0 && !ch->broken)
            end_of_stream(ch);
        if (got <= 0)
            break;
        before += (size_t)got;
        if ((size_t)got >= POOL__LARGE)
            pool__pipe_grow(ch->result_read, &ch->grown_in);
        else if (ch->big.block == NULL)
            break; /* the pipe is empty, most likely: spare a system call */
    } while (before < budget && ch->fetched == fetched && !pool__budget_over());
    if (before == 0)
        return;
    if (late)
        was_late(ch);
    tell_progress(ch);
}

/* Take the next piece of what stands in the buffer. False: there is none. */
static bool
collect_some(struct pool__channel *ch, size_t most)
{
    struct pool__region *region = ch->region;
    size_t rest = pool__buf_size(&ch->rest);
    uint64_t start = pool__load(&region->reply.start);
    uint64_t end = pool__load(&region->reply.end);

    if (ch->broken || start > ch->consumed || end <= ch->consumed)
        return false; /* the pipe has bytes before these, or there are none */
    size_t step =
        pool__min(most, pool__min(POOL__COLLECT_STEP, ch->inbox->piece));
    size_t n = pool__min((size_t)(end - ch->consumed), step);
    const uint8_t *from = pool__reply_at(region, ch->consumed);
    uint8_t *inbox =
        ch->inbox->bytes + pool__front(ch->inbox->bytes, rest, (uintptr_t)from);
    memcpy(inbox + rest, from, n);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (pool__load(&region->reply.start) != start)
        return false; /* it was being written over: those are in the pipe */
    if (end - start > POOL__REPLY_BUFFER) {
        pool__channel_violate(ch, "more replies than its buffer holds");
        return false;
    }
    if (rest != 0)
        memcpy(inbox, ch->rest.bytes, rest);
    note_consumed(ch, n);
    consume(ch, inbox, rest + n);
    return true;
}

bool
pool__channel_collect(struct pool__channel *ch, size_t budget)
{
    uint64_t before = ch->consumed, fetched = ch->fetched;
    bool late = pool__budget_over();

    if (budget == 0 || (late && !may_be_late(ch)))
        return false;
    while (collect_some(ch, budget - (ch->consumed - before)) &&
           ch->consumed - before < budget && ch->fetched == fetched &&
           !pool__budget_over())
        ; /* what is left comes by the pipe, or the next sweep finds it */
    if (ch->consumed == before)
        return false;
    if (late)
        was_late(ch);
    tell_progress(ch);
    return true;
}

void
pool__channel_drain(struct pool__channel *ch)
{
    uint64_t most = ch->piped + DRAIN_MOST, fetched = ch->fetched;

    /* An honest worker that is dead has one result in its segment at most. */
    while (!ch->broken && ch->piped < most && ch->fetched - fetched < 2 &&
           read_some(ch, SIZE_MAX) > 0)
        ;
    while (ch->fetched - fetched < 2 && collect_some(ch, SIZE_MAX))
        ;
    tell_progress(ch);
}
