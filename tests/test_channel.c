/* Channels of which none is read dry in a turn: each gets its share, whatever
 * their order. Where what was taken lies, and how much is taken at once. There
 * is no worker; the test writes what one would. */
#include "support.h"

#include <string.h>
#include <unistd.h>

#include "budget.h"
#include "channel.h"

#define CHANNELS 4
#define LINE 1000 /* bytes of a log frame's text; a multiple of 8 */
#define LINES 60  /* in each pipe, which holds 64 KiB */
#define PIECE 4096

_Alignas(8) static uint8_t inbox_bytes[POOL__INBOX_MIN];
static struct pool__inbox inbox;
static uint64_t noticed;
static struct pool__channel channels[CHANNELS];
static int heard[CHANNELS]; /* lines of each */

/* From where they are taken: the pipe, or the worker's buffer. */
static enum { PIPE, BUFFER } source;

static void
on_log(void *owner, void *task, const char *text, size_t size)
{
    ck_assert_ptr_null(task);
    ck_assert_uint_eq(size, LINE);
    ck_assert_int_eq(text[0], 'x');
    heard[(struct pool__channel *)owner - channels]++;
}

/* Where the last hello's frame began. */
static uintptr_t hello_at;

static void
on_hello(void *owner, const struct pool__frame *frame, const void *payload)
{
    (void)owner;
    ck_assert_uint_eq(frame->size, LINE);
    hello_at = (uintptr_t)payload - POOL__FRAME_HEADER;
}

static void
on_progress(void *owner)
{
    (void)owner;
}

static void
on_violation(void *owner, const char *what)
{
    (void)owner;
    ck_abort_msg("%s", what);
}

static const struct pool__channel_events events = {.log = on_log,
    .hello = on_hello,
    .progress = on_progress,
    .violation = on_violation};

static void
say(struct pool__channel *ch, const uint8_t *bytes, size_t size)
{
    struct pool__region *region = ch->region;

    if (source == PIPE) {
        ck_assert_int_eq(write(ch->result_write, bytes, size), (ssize_t)size);
        return;
    }
    memcpy(pool__reply_at(region, region->reply.end), bytes, size);
    pool__store(&region->reply.end, region->reply.end + size);
}

static void
take(struct pool__channel *ch)
{
    if (source == PIPE)
        pool__channel_read(ch, POOL__INBOX_MIN);
    else
        pool__channel_collect(ch, SIZE_MAX);
}

static void
make_frame(uint8_t bytes[POOL__FRAME_HEADER + LINE], uint16_t type)
{
    struct pool__frame frame = {.type = type, .size = LINE};

    memset(bytes, 'x', POOL__FRAME_HEADER + LINE);
    pool__frame_put(bytes, &frame);
}

static void
make_channel(struct pool__channel *ch)
{
    inbox = (struct pool__inbox){.bytes = inbox_bytes,
        .size = sizeof inbox_bytes,
        .piece = PIECE,
        .noticed = &noticed,
        .loud_share = SIZE_MAX,
        .quiet_share = SIZE_MAX};
    ck_assert_int_eq(
        pool__channel_init(ch, &inbox, LINE, false, &events, ch), 0);
}

static void
open_channels(void)
{
    uint8_t bytes[POOL__FRAME_HEADER + LINE];

    make_frame(bytes, POOL__FRAME_LOG);
    for (int c = 0; c < CHANNELS; c++) {
        heard[c] = 0;
        make_channel(&channels[c]);
        for (int i = 0; i < LINES; i++)
            say(&channels[c], bytes, sizeof bytes);
    }
}

static void
close_channels(void)
{
    pool__budget_end = UINT64_MAX;
    for (int c = 0; c < CHANNELS; c++)
        pool__channel_fini(&channels[c]);
}

/* Read all of them in a turn that ends at END. How many had something. */
static int
turn(uint64_t end)
{
    int read = 0;

    pool__budget_end = end;
    for (int c = 0; c < CHANNELS; c++) {
        uint64_t before = channels[c].consumed;
        take(&channels[c]);
        uint64_t got = channels[c].consumed - before;
        ck_assert_uint_le(got, PIECE);
        read += got != 0;
    }
    return read;
}

static void
all_are_heard(uint64_t latest)
{
    uint64_t end = 0;

    for (int lines = 0; lines < CHANNELS * LINES;) {
        ck_assert_uint_lt(++end, latest);
        ck_assert_int_le(turn(end), 1);
        lines = 0;
        for (int c = 0; c < CHANNELS; c++) {
            ck_assert_int_le(heard[c] - heard[0], PIECE / LINE);
            ck_assert_int_le(heard[0] - heard[c], PIECE / LINE);
            lines += heard[c];
        }
    }
}

/* The time is always up: one is read a little in each turn, and none twice
 * before the others. */
static void
shares_are_equal(void)
{
    size_t pieces = LINES * (POOL__FRAME_HEADER + LINE) / PIECE + 1;

    open_channels();
    all_are_heard((CHANNELS + 1) * pieces + 1); /* a turn ends each round */
    close_channels();
}

/* One that has nothing to say holds nobody up. */
static void
the_silent_wait(void)
{
    open_channels();
    for (int c = 1; c < CHANNELS; c += 2) {
        pool__budget_end = UINT64_MAX;
        while (heard[c] < LINES)
            take(&channels[c]);
    }
    for (uint64_t end = 1; heard[0] < LINES || heard[2] < LINES; end++) {
        ck_assert_uint_lt(end, 4 * LINES);
        ck_assert_int_le(turn(end), 1);
    }
    close_channels();
}

/* A page's bytes are copied to the same place of a page, or at most 7 bytes
 * before it: see pool__front. */
static void
it_lies_as_there(void)
{
    enum { SIZE = POOL__FRAME_HEADER + LINE };
    uint8_t bytes[SIZE];
    struct pool__channel *ch = &channels[0];

    make_frame(bytes, POOL__FRAME_HELLO);
    make_channel(ch);
    for (size_t rest = 0; rest < SIZE; rest++) {
        say(ch, bytes, rest);
        if (rest != 0)
            take(ch);
        uintptr_t from = source == PIPE ? 0
                                        : (uintptr_t)pool__reply_at(ch->region,
                                              ch->region->reply.end);
        say(ch, bytes + rest, SIZE - rest);
        hello_at = 0;
        take(ch);
        ck_assert_uint_ne(hello_at, 0);
        ck_assert_uint_eq(hello_at % 8, 0);
        ck_assert_uint_lt((from - hello_at - rest) % POOL__FRONT, 8);
        if (source == BUFFER)
            pool__store(&ch->region->reply.start, ch->region->reply.end);
    }
    pool__channel_fini(ch);
}

static void
from_each_source(void (*run)(void))
{
    test_begin();
    for (source = PIPE; source <= BUFFER; source++)
        run();
    test_end();
}

static void
each_is_read_late(int unused)
{
    (void)unused;
    from_each_source(shares_are_equal);
}

static void
the_silent_are_passed_over(int unused)
{
    (void)unused;
    from_each_source(the_silent_wait);
}

static void
what_is_taken_lies_as_at_its_source(int unused)
{
    (void)unused;
    from_each_source(it_lies_as_there);
}

/* A look takes a part of what stands in the buffer, the next one goes on. */
static void
a_budget_ends_a_look(int unused)
{
    struct pool__channel *ch = &channels[0];

    (void)unused;
    test_begin();
    source = BUFFER;
    open_channels();
    ck_assert(pool__channel_collect(ch, 2 * PIECE));
    ck_assert_uint_eq(ch->consumed, 2 * PIECE);
    ck_assert(pool__channel_collect(ch, 1));
    ck_assert_uint_eq(ch->consumed, 2 * PIECE + 1);
    ck_assert(!pool__channel_collect(ch, 0));
    ck_assert(pool__channel_collect(ch, SIZE_MAX));
    ck_assert_int_eq(heard[0], LINES);
    ck_assert(!pool__channel_collect(ch, SIZE_MAX));
    close_channels();
    test_end();
}

static const struct test tests[] = {
    {"a_budget_ends_a_look", a_budget_ends_a_look},
    {"what_is_taken_lies_as_at_its_source",
        what_is_taken_lies_as_at_its_source},
    {"each_is_read_late", each_is_read_late},
    {"the_silent_are_passed_over", the_silent_are_passed_over},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("channel", tests, argc, argv);
}
