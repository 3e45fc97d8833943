/* A channel: one worker's pipes and shared region, from the supervisor's
 * side. It moves frames and knows tasks only as pointers with ids. */
#ifndef POOL_SRC_CHANNEL_H
#define POOL_SRC_CHANNEL_H

#include <uv.h>

#include "buf.h"
#include "outbox.h"
#include "segment.h"

#define POOL__QUEUE_LIMIT (128u << 10) /* bytes of tasks in its buffer */
#define POOL__COLLECT_STEP (64u << 10) /* bytes that stay in near caches */
#define POOL__REPLIES_AHEAD 3u         /* as long as memory takes */

_Static_assert(POOL__QUEUE_LIMIT + 2 * POOL__LARGE <= POOL__TASK_BUFFER,
    "one more task, and what it needs to be known, fit");

/* What a channel tells. None may destroy it. */
struct pool__channel_events {
    void (*hello)(
        void *owner, const struct pool__frame *frame, const void *payload);
    /* The oldest task in hand was answered, by a REPLY or an ERROR frame.
     * block: where not NULL, the payload is its beginning and it is the
     * receiver's to free. */
    void (*reply)(void *owner, void *task, const struct pool__frame *frame,
        const void *payload, void *block);
    /* The task that runs takes part in a collective; likewise. */
    void (*collective)(void *owner, void *task, const struct pool__frame *frame,
        const void *payload, void *block);
    /* A line of log, printable, NUL after it. task: the one that runs; NULL:
     * the worker's own. May be NULL. */
    void (*log)(void *owner, void *task, const char *text, size_t size);
    /* A line that the worker printed, likewise; told by proc.c. May be NULL. */
    void (*output)(void *owner, const char *text, size_t size);
    /* There may be room again: all replies that came at once have been told,
     * or the pipe has taken what was waiting for it. */
    void (*progress)(void *owner);
    /* A block for a large result, the owner's; NULL: no memory. */
    void *(*block)(void *owner, size_t size);
    /* A large payload is no longer read. */
    void (*payload_sent)(void *owner, void *task);
    /* The same of what was lent. */
    void (*lent_sent)(void *owner, void *lent);
    /* The channel is hungry and everything is written: give it more, or see
     * to it that it is hungry no more. */
    void (*feed)(void *owner);
    /* The worker closed its end and may live on; nothing is read after. */
    void (*closed)(void *owner);
    /* The worker broke the protocol; say it once, nothing is read after. */
    void (*violation)(void *owner, const char *what);
};

struct pool__sent {
    void *task; /* NULL: taken back */
    uint64_t id;
};

/* Where reads of all channels of a pool land. */
struct pool__inbox {
    uint8_t *bytes;
    size_t size;  /* at least POOL__INBOX_MIN */
    size_t piece; /* bytes read or written at once, at most */

    /* How much of a channel may be read that nobody has asked for, bytes. It is
     * loud if it has brought a notice later than the one of number `heard`. */
    const uint64_t *noticed; /* how many notices there were */
    uint64_t heard;
    size_t loud_share, quiet_share; /* 0: nothing */

    /* Where turns are short, for the channels that come late in one: one of
     * them is read a little, and in a round each is once. */
    uint64_t turn;  /* the last one that was too short, by its end */
    uint64_t round; /* from 1 */
    bool late;      /* one was read late in that turn */
};

#define POOL__INBOX_MIN (4 * POOL__LARGE)

struct pool__channel {
    const struct pool__channel_events *events;
    void *owner;
    struct pool__inbox *inbox;
    uv_poll_t readable, writable;
    int task_read, task_write, result_read, result_write, region_fd;
    struct pool__region *region;
    struct pool__segment segment;
    uint32_t max_result;
    bool open;                /* its poll handles are in the loop */
    bool ended;               /* the worker's end is closed */
    bool broken;              /* a violation was told */
    bool writing;             /* writable is watched: the pipe was full */
    bool grown_out, grown_in; /* larger pipes were asked for */
    bool looks;               /* the worker is told so, see region.h */
    bool withheld;            /* the segment is not used any more */
    uint64_t round;           /* the last one in which it was read late */
    uint64_t brought;         /* the number of the last notice that it has */

    /* Tasks in the worker's hands: ordinals head to tail - 1. */
    struct pool__sent *sent; /* a ring of POOL__RING */
    uint64_t head, tail;
    uint64_t flushed; /* ordinals below were told to it, or are on their way */
    size_t held;      /* of them not taken back */

    struct pool__outbox out; /* frames that it may take from its region */
    uint64_t told;           /* bytes of them when it was last told */
    bool hungry;             /* there is more than fits: see feed */
    bool crowded;            /* there is something after those: */
    struct {                 /* one large payload */
        void *task; /* whose it is, or who lent it; NULL: there is none */
        bool lent;
        const uint8_t *at;
        size_t left, padding;
        size_t before; /* bytes of `behind` that go before it */
    } large;
    struct pool__buf behind; /* and after that the library's own frames; and
                                those for which the buffer has no room */

    /* The reply stream: PIPED bytes came over the pipe, [0, consumed)
     * are handled or in rest or big. */
    uint64_t piped, consumed;
    struct pool__buf rest; /* the beginning of a frame */
    struct {               /* or a large one on its way */
        struct pool__frame frame;
        uint8_t *block; /* NULL: none */
        size_t have, need, capacity, populated;
    } big;

    /* The segment. */
    uint64_t lodger;     /* ordinal whose arguments were put there last */
    uint64_t fetched;    /* results that were copied out */
    uint64_t fetched_at; /* consumed was then */
    uint64_t placed_ns;  /* when either was last, monotonic */
    bool has_arguments, has_results; /* pages, that is */
};

/* Make pipes and region; segment: and a segment, where that can be. 0, or
 * -errno with nothing left behind. */
int pool__channel_init(struct pool__channel *channel, struct pool__inbox *inbox,
    uint32_t max_result, bool segment,
    const struct pool__channel_events *events, void *owner);
/* Begin to listen; the worker exists, its ends are closed here. */
int pool__channel_open(struct pool__channel *channel, uv_loop_t *loop);
/* Stop listening. Each of the two handles is closed with CLOSED. */
void pool__channel_close(struct pool__channel *channel, uv_close_cb closed);
/* Give memory and descriptors back; its handles are closed. */
void pool__channel_fini(struct pool__channel *channel);

/* Whether one more task may be sent. */
static inline bool
pool__channel_has_room(const struct pool__channel *channel)
{
    return pool__likely(channel->tail - channel->head < POOL__RING) &&
           pool__likely(!channel->crowded) &&
           pool__likely(pool__outbox_used(&channel->out) < POOL__QUEUE_LIMIT);
}
/* Send a task; it is buffered, a large one put in the segment if that is free.
 * 0; 1 where the payload is read until payload_sent is told; POOL_ENOMEM.
 * frame: by value, so that it is never put together in memory. ordinal: out,
 * the task's number here. */
static inline int pool__channel_send(struct pool__channel *channel, void *task,
    struct pool__frame frame, const void *payload, uint64_t *ordinal);
/* Send one of the library's own frames, small. 0 or POOL_ENOMEM. */
int pool__channel_control(struct pool__channel *channel,
    const struct pool__frame *frame, const void *payload);
/* The same, of POOL__LARGE bytes or more: the payload is read until lent_sent
 * is told. There must be room for a task. */
int pool__channel_lend(struct pool__channel *channel,
    const struct pool__frame *frame, const void *payload, void *lender);
/* See to it that the worker takes what is buffered: where it sleeps, or a large
 * payload is next, by the pipe, as far as that takes it. */
void pool__channel_flush(struct pool__channel *channel);
/* Whether a flush now keeps the worker from running dry. */
static inline bool
pool__channel_wants_flush(const struct pool__channel *channel)
{
    uint64_t waiting = channel->tail - channel->flushed;

    return !channel->writing &&
           (channel->out.end - channel->told >= POOL__LARGE ||
               2 * waiting >= channel->held);
}

/* How many tasks of SIZE bytes at most it may be sent until it is full, or is
 * to be flushed, by the last of them. */
static inline uint64_t
pool__channel_stretch(const struct pool__channel *channel, uint32_t size)
{
    uint64_t extent = pool__frame_extent(size);
    uint64_t tasks = POOL__RING - (channel->tail - channel->head);
    uint64_t bytes = POOL__QUEUE_LIMIT - pool__outbox_used(&channel->out);

    if (!pool__channel_has_room(channel) || pool__channel_wants_flush(channel))
        return 0;
    if (!channel->writing) {
        uint64_t waiting = channel->tail - channel->flushed;
        tasks = pool__min(tasks, channel->held - 2 * waiting);
        bytes =
            pool__min(bytes, POOL__LARGE - (channel->out.end - channel->told));
    }
    return pool__min(tasks, (bytes - 1) / extent + 1);
}

/* The task with this ordinal, head <= ordinal < tail; NULL: taken back. */
static inline void *
pool__channel_task(const struct pool__channel *channel, uint64_t ordinal)
{
    return channel->sent[ordinal % POOL__RING].task;
}

/* Fetch so many bytes of the task whose reply comes soon. Where there is none
 * its place holds an older one: what is fetched need not exist. */
static inline void
pool__channel_fetch(const struct pool__channel *channel, size_t bytes)
{
    uint64_t ordinal = channel->head + POOL__REPLIES_AHEAD;

    pool__fetch(channel->sent[ordinal % POOL__RING].task, bytes);
}

/* Ordinals that were taken back and are the oldest need no place. */
static inline void
pool__channel_skip_recalled(struct pool__channel *channel)
{
    while (channel->head < channel->tail &&
           pool__channel_task(channel, channel->head) == NULL)
        channel->head++;
}

/* Take a task back. False: the worker has claimed it. */
bool pool__channel_recall(struct pool__channel *channel, uint64_t ordinal);
/* Whether the worker has claimed it. */
bool pool__channel_claimed(struct pool__channel *channel, uint64_t ordinal);

/* Tell the worker that the task with this ordinal shall stop. */
void pool__channel_ask(struct pool__channel *channel, uint64_t ordinal);
/* When the worker began it, as it says, monotonic; 0: it doesn't. */
uint64_t pool__channel_started_ns(
    struct pool__channel *channel, uint64_t ordinal);
/* Whether it has run one for longer, as it says, and has nothing to tell. */
bool pool__channel_stuck(const struct pool__channel *channel, uint64_t ns);
/* How long the worker looks for more tasks before it sleeps, ns. */
void pool__channel_spin(struct pool__channel *channel, uint64_t ns);
/* Whether its buffer is looked at, so that it needn't write replies out. */
static inline void
pool__channel_look(struct pool__channel *channel, bool looks)
{
    if (channel->looks != looks)
        pool__store(&channel->region->looks, looks);
    channel->looks = looks;
}
/* Whether a reply stands in the buffer that was not taken. */
static inline bool
pool__channel_replied(const struct pool__channel *channel)
{
    return pool__load(&channel->region->reply.end) != channel->consumed;
}
/* How large the worker is, bytes, as it says. */
uint64_t pool__channel_rss(const struct pool__channel *channel);

/* What the worker sent cannot be, or (the text below) memory is out to read
 * it: tell the violation, read no more. */
extern const char pool__channel_no_memory[];
void pool__channel_violate(struct pool__channel *channel, const char *what);

/* How much of what has come may be read now. */
static inline size_t
pool__channel_share(const struct pool__channel *channel, size_t most)
{
    const struct pool__inbox *inbox = channel->inbox;

    return pool__min(most, channel->brought > inbox->heard
                               ? inbox->loud_share
                               : inbox->quiet_share);
}
/* Read what has come; at most BUDGET bytes. */
void pool__channel_read(struct pool__channel *channel, size_t budget);
/* Take finished replies from the region that were not written, at most BUDGET
 * bytes. False: there were none. */
bool pool__channel_collect(struct pool__channel *channel, size_t budget);
/* The worker is dead: read and collect all there is. */
void pool__channel_drain(struct pool__channel *channel);
/* Give the pages of its segment back that are not in use, if no large payload
 * came or went since then. False: there were none to give. */
bool pool__channel_tidy(struct pool__channel *channel, uint64_t since_ns);
/* Whether it has such pages, in use or not. */
static inline bool
pool__channel_untidy(const struct pool__channel *channel)
{
    return channel->has_arguments || channel->has_results;
}
/* From now on large payloads go over the pipe. */
void pool__channel_withhold(struct pool__channel *channel);
/* Nothing is read any more, and what is buffered is not written. */
void pool__channel_shut(struct pool__channel *channel);
/* Of a channel that was shut: remove the oldest task; NULL: no more.
 * claimed: out, whether it was begun; NULL: don't look, in a foreign child. */
void *pool__channel_abandon(struct pool__channel *channel, bool *claimed);

/* ---- sending a task, inline ---------------------------------------------- */

/* What is large is put into the segment, or lent: 0, 1 or POOL_ENOMEM. Here and
 * below a frame is passed by value: it stays in registers. */
int pool__channel_send_large(struct pool__channel *channel, void *task,
    struct pool__frame frame, const void *payload);

/* Put a frame of EXTENT bytes together. */
static inline void
pool__channel_compose(
    uint8_t *to, struct pool__frame frame, const void *payload, size_t extent)
{
    memset(to + extent - 8, 0, 8); /* the padding, then what covers it */
    pool__frame_put(to, &frame);
    pool__move(to + POOL__FRAME_HEADER, payload, frame.size);
}

/* Buffer a frame and its payload. 0 or POOL_ENOMEM. */
int pool__channel_put_behind(struct pool__channel *channel,
    struct pool__frame frame, const void *payload);

static inline int
pool__channel_put(
    struct pool__channel *ch, struct pool__frame frame, const void *payload)
{
    size_t extent = (size_t)pool__frame_extent(frame.size);

    if (pool__unlikely(ch->crowded || extent > pool__outbox_room(&ch->out)))
        return pool__channel_put_behind(ch, frame, payload);
    pool__channel_compose(pool__outbox_place(&ch->out), frame, payload, extent);
    pool__outbox_publish(&ch->out, extent);
    return 0;
}

static inline int
pool__channel_send(struct pool__channel *ch, void *task,
    struct pool__frame frame, const void *payload, uint64_t *ordinal)
{
    int rc = pool__unlikely(frame.size >= POOL__LARGE)
                 ? pool__channel_send_large(ch, task, frame, payload)
                 : pool__channel_put(ch, frame, payload);

    if (pool__unlikely(rc < 0))
        return rc;
    ch->sent[ch->tail % POOL__RING] = (struct pool__sent){task, frame.id};
    *ordinal = ch->tail++;
    ch->held++;
    return rc;
}

#endif
