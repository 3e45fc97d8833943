/* The stream of tasks: whichever way its bytes go, by the region or the pipe,
 * the worker has each once and in order; and it is woken where it sleeps. There
 * is no pool. The channel is the host's, the source the worker's. */
#define _GNU_SOURCE
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "budget.h"
#include "channel.h"
#include "fdio.h"
#include "source.h"

#define SEED 20261128u
#define MOST (3 * POOL__LARGE) /* bytes of a payload */

_Alignas(8) static uint8_t inbox_bytes[POOL__INBOX_MIN];
static struct pool__inbox inbox;
static uint64_t noticed;
static struct pool__channel channel;
static int region_fd; /* what the worker gets */
static uv_loop_t loop;
static uint8_t large[MOST]; /* is lent */
static bool is_lent;

static void
on_lent_sent(void *owner, void *lent)
{
    (void)owner;
    ck_assert_ptr_eq(lent, large);
    is_lent = false;
}

static void
on_anything(void *owner)
{
    (void)owner;
}

static const struct pool__channel_events events = {.lent_sent = on_lent_sent,
    .payload_sent = on_lent_sent,
    .progress = on_anything,
    .closed = on_anything};

static ssize_t
read_tasks(void *self, void *to, size_t n)
{
    return pool__read(((struct pool__channel *)self)->task_read, to, n);
}

static const struct pool__worker_io io = {.self = &channel, .read = read_tasks};

/* ---- the host's side ------------------------------------------------------
 */

static void
begin(void)
{
    test_begin();
    srand(SEED);
    inbox = (struct pool__inbox){.bytes = inbox_bytes,
        .size = sizeof inbox_bytes,
        .piece = sizeof inbox_bytes,
        .noticed = &noticed,
        .loud_share = SIZE_MAX,
        .quiet_share = SIZE_MAX};
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(
        pool__channel_init(&channel, &inbox, 0, false, &events, &channel), 0);
    region_fd = dup(channel.region_fd);
    ck_assert_int_eq(pool__channel_open(&channel, &loop), 0);
    is_lent = false;
}

static void
on_closed(uv_handle_t *handle)
{
    (void)handle;
}

static void
end(void)
{
    pool__channel_shut(&channel);
    pool__channel_close(&channel, on_closed);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    pool__channel_fini(&channel);
    close(region_fd);
    test_end();
}

static uint8_t
byte_of(uint64_t id, size_t i)
{
    return (uint8_t)((id * 31 + i) * 2654435761u >> 20);
}

/* Send the frame with this id and SIZE bytes. */
static void
send_frame(uint64_t id, size_t size)
{
    static uint8_t small[POOL__LARGE];
    struct pool__frame frame = {
        .type = POOL__FRAME_HELLO, .id = id, .size = (uint32_t)size};
    uint8_t *bytes = size >= POOL__LARGE ? large : small;

    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_of(id, i);
    if (size < POOL__LARGE) {
        ck_assert_int_eq(pool__channel_control(&channel, &frame, bytes), 0);
        return;
    }
    is_lent = true;
    ck_assert_int_eq(pool__channel_lend(&channel, &frame, bytes, large), 0);
}

/* Bytes that stand in the pipe. */
static int
piped(void)
{
    int n = -1;

    ck_assert_int_eq(ioctl(channel.task_read, FIONREAD, &n), 0);
    return n;
}

/* ---- the worker's side ----------------------------------------------------
 */

static struct reader {
    struct pool__source source;
    uint8_t bytes[2 * MOST];
    size_t have;
    uint64_t id; /* of the last frame */
} reader;

static void
begin_reading(void)
{
    memset(&reader, 0, sizeof reader);
    reader.source = (struct pool__source){.region = channel.region, .io = &io};
}

/* Read once, N bytes at most; whether the frames that are whole now are those
 * that were sent. */
static bool
read_on(size_t n)
{
    struct pool__frame frame;
    ssize_t got = pool__source_read(&reader.source, reader.bytes + reader.have,
        pool__min(n, sizeof reader.bytes - reader.have));
    size_t at = 0;
    int64_t extent;

    if (got <= 0)
        return false;
    reader.have += (size_t)got;
    while ((extent = pool__frame_split(
                reader.bytes + at, reader.have - at, MOST, &frame)) > 0) {
        const uint8_t *payload = reader.bytes + at + POOL__FRAME_HEADER;
        bool same = frame.id == reader.id + 1;
        for (size_t i = 0; i < frame.size; i++)
            same = same && payload[i] == byte_of(frame.id, i);
        if (!same)
            return false;
        reader.id++;
        at += (size_t)extent;
    }
    memmove(reader.bytes, reader.bytes + at, reader.have - at);
    reader.have -= at;
    return extent == 0;
}

/* ---- one after the other ---------------------------------------------------
 */

/* Who sleeps is woken by a little, and told so once; who looks is not; who
 * knows the pipe alone is sent everything. */
static void
each_is_told_in_its_way(int unused)
{
    (void)unused;
    begin();
    begin_reading();
    send_frame(1, 6000);
    pool__channel_flush(&channel);
    ck_assert_int_eq(piped(), 6016);
    ck_assert(read_on(MOST));
    ck_assert_uint_eq(reader.id, 1);

    channel.region->reader = POOL__READER_SLEEPS;
    send_frame(2, 6000);
    ck_assert_int_eq(piped(), 0);
    pool__channel_flush(&channel);
    int little = piped();
    ck_assert_int_gt(little, 0);
    ck_assert_int_lt(little, 64);
    ck_assert_uint_eq(channel.region->reader, POOL__READER_LOOKS);
    send_frame(3, 10);
    pool__channel_flush(&channel);
    ck_assert_int_eq(piped(), little);
    while (reader.id != 3)
        ck_assert(read_on(MOST));
    ck_assert_int_eq(piped(), 0);

    channel.region->reader = POOL__READER_SLEEPS;
    send_frame(4, 10); /* so few that all are sent */
    pool__channel_flush(&channel);
    ck_assert_int_eq(piped(), 32);
    ck_assert(read_on(MOST));
    ck_assert_uint_eq(reader.id, 4);
    end();
}

/* What was put there is seen though nobody was told. */
static void
it_is_there_at_once(int unused)
{
    (void)unused;
    begin();
    begin_reading();
    send_frame(1, 100);
    ck_assert(pool__source_has_more(&reader.source));
    ck_assert(read_on(MOST));
    ck_assert_uint_eq(reader.id, 1);
    pool__channel_flush(&channel); /* it was taken: nothing is written */
    ck_assert_int_eq(piped(), 0);
    end();
}

static void
take_all_until(uint64_t id)
{
    while (reader.id != id) {
        pool__channel_flush(&channel);
        ck_assert(read_on(10000));
    }
}

/* More than the region holds waits behind it, in order though some would fit,
 * and what is large behind that. Then there is room again. */
static void
more_than_fits(int unused)
{
    enum { FRAMES = 4 * POOL__TASK_BUFFER / 1000 };
    struct pool__frame frame = {
        .type = POOL__FRAME_HELLO, .size = POOL__LARGE + 1};
    uint64_t id = 0, ordinal;

    (void)unused;
    begin();
    begin_reading();
    while (id != FRAMES) {
        id++;
        send_frame(id, id % 2 != 0 ? 1000 : 10);
    }
    ck_assert(!pool__channel_has_room(&channel));
    take_all_until(id);
    ck_assert(pool__channel_has_room(&channel));

    while (id != 2 * FRAMES)
        send_frame(++id, 1000);
    ck_assert(!pool__channel_has_room(&channel));
    frame.id = ++id;
    for (size_t i = 0; i < frame.size; i++)
        large[i] = byte_of(frame.id, i);
    is_lent = true;
    ck_assert_int_eq(
        pool__channel_send(&channel, large, frame, large, &ordinal), 1);
    take_all_until(id);
    ck_assert(!is_lent);
    ck_assert(pool__channel_has_room(&channel));
    end();
}

/* Every size, told or not, read in pieces of every size, whatever the worker
 * says of itself; what went both ways counts once. */
static void
every_way_at_random(int unused)
{
    const uint64_t frames = test_full() ? 200000 : 20000;
    uint64_t sent = 0;

    (void)unused;
    begin();
    begin_reading();
    while (reader.id != frames) {
        int what = rand() % 8;
        if (what < 4 && sent != frames && pool__channel_has_room(&channel)) {
            size_t size = rand() % 100 == 0
                              ? POOL__LARGE + (size_t)rand() % 100000
                              : (size_t)rand() % 300;
            if (size < POOL__LARGE || !is_lent)
                send_frame(++sent, size);
        } else if (what < 6) {
            channel.region->reader = (uint64_t)rand() % 4;
            pool__channel_flush(&channel);
        } else if (reader.source.taken != channel.out.end) {
            ck_assert(read_on((size_t)rand() % 20000 + 1));
        }
    }
    ck_assert_uint_eq(reader.source.taken, channel.out.end);
    end();
}

/* ---- at once ----------------------------------------------------------------
 */

/* The worker, a process of its own, reads all and ends with 0. */
static pid_t
fork_reader(uint64_t frames)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid != 0)
        return pid;
    /* The host's mapping is not inherited. */
    reader.source.region = pool__region_map(region_fd);
    while (reader.id != frames)
        if (!read_on((size_t)rand() % 20000 + 1))
            _exit(1);
    _exit(0);
}

/* Nobody sleeps beside what stands there: else this does not end. */
static void
nobody_is_forgotten(int unused)
{
    const uint64_t frames = test_full() ? 300000 : 50000;
    uint64_t id = 0;
    int status = -1;

    (void)unused;
    begin();
    begin_reading();
    pid_t pid = fork_reader(frames);
    while (id != frames) {
        for (int burst = rand() % 4; burst >= 0 && id != frames; burst--)
            if (pool__channel_has_room(&channel))
                send_frame(++id, rand() % 1000 == 0 ? POOL__LARGE + 12345
                                                    : (size_t)rand() % 300);
        pool__channel_flush(&channel);
        bool waits = rand() % 4 != 0;
        while (
            waits && pool__load(&channel.region->task_taken) != channel.out.end)
            uv_run(&loop, UV_RUN_NOWAIT); /* it runs dry, for the most part */
        pool__outbox_skip(&channel.out);
    }
    while (waitpid(pid, &status, WNOHANG) == 0)
        uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(status, 0);
    end();
}

static const struct test tests[] = {
    {"each_is_told_in_its_way", each_is_told_in_its_way},
    {"it_is_there_at_once", it_is_there_at_once},
    {"more_than_fits", more_than_fits},
    {"every_way_at_random", every_way_at_random},
    {"nobody_is_forgotten", nobody_is_forgotten},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("source", tests, argc, argv);
}
