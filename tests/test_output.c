/* Captured output: lines however the bytes come, cut where they are too long,
 * and the tail of it all. */
#define _GNU_SOURCE
#include "support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frame.h"
#include "mem.h"
#include "output.h"

/* What was told: the lines, each with a line feed after it. */
struct told {
    char text[400000];
    size_t size;
    int lines;
};

static void
on_line(void *owner, const char *text, size_t size)
{
    struct told *told = owner;

    ck_assert_uint_eq(strlen(text), size);
    ck_assert_uint_le(size, POOL__LOG_MAX);
    memcpy(told->text + told->size, text, size);
    told->text[told->size + size] = '\n';
    told->size += size + 1;
    told->text[told->size] = '\0';
    told->lines++;
}

struct fixture {
    uv_loop_t loop;
    struct pool__output output;
    struct told *told;
    int writer; /* as a worker has it */
};

static void
begin(struct fixture *f)
{
    f->told = calloc(1, sizeof *f->told);
    f->loop.data = NULL; /* libuv leaves it as it is; see watch.h */
    ck_assert_int_eq(uv_loop_init(&f->loop), 0);
    ck_assert_int_eq(pool__output_init(&f->output, true, on_line, f->told), 0);
    f->writer = fcntl(f->output.write, F_DUPFD_CLOEXEC, 3);
    ck_assert_int_ge(f->writer, 0);
    ck_assert_int_eq(pool__output_open(&f->output, &f->loop), 0);
    ck_assert_int_eq(f->output.write, -1);
}

static void
end(struct fixture *f)
{
    if (f->writer >= 0)
        close(f->writer);
    pool__output_close(&f->output, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&f->loop), 0);
    pool__output_fini(&f->output);
    free(f->told);
}

static void
put(struct fixture *f, const char *bytes, size_t n)
{
    ck_assert_int_eq(write(f->writer, bytes, n), (ssize_t)n);
    uv_run(&f->loop, UV_RUN_NOWAIT);
}

static void
lines_come_at_once(int unused)
{
    struct fixture f;

    (void)unused;
    begin(&f);
    put(&f, "one\ntw", 6);
    ck_assert_str_eq(f.told->text, "one\n");
    put(&f, "o\n\n", 3);
    ck_assert_str_eq(f.told->text, "one\ntwo\n\n");
    put(&f, "a\0b\x1b\xff\n", 6);
    ck_assert_str_eq(f.told->text, "one\ntwo\n\na?b??\n");
    end(&f);
}

static void
the_last_line_needs_no_feed(int unused)
{
    struct fixture f;

    (void)unused;
    begin(&f);
    put(&f, "half", 4);
    ck_assert_int_eq(f.told->lines, 0);
    pool__output_drain(&f.output); /* the pipe is still held */
    ck_assert_str_eq(f.told->text, "half\n");
    pool__output_drain(&f.output);
    ck_assert_int_eq(f.told->lines, 1);
    end(&f);
}

static void
the_pipe_may_be_closed_early(int unused)
{
    struct fixture f;

    (void)unused;
    begin(&f);
    put(&f, "x", 1);
    close(f.writer);
    f.writer = -1;
    uv_run(&f.loop, UV_RUN_DEFAULT); /* returns: it is watched no more */
    pool__output_drain(&f.output);
    ck_assert_str_eq(f.told->text, "x\n");
    end(&f);
}

static void
long_lines_come_in_pieces(int unused)
{
    struct fixture f;
    char line[3 * POOL__LOG_MAX];

    (void)unused;
    begin(&f);
    memset(line, 'x', sizeof line);
    put(&f, line, POOL__LOG_MAX); /* exactly one */
    put(&f, "\n", 1);
    ck_assert_int_eq(f.told->lines, 1);
    ck_assert_uint_eq(f.told->size, POOL__LOG_MAX + 1);
    line[POOL__LOG_MAX + 5] = '\n';
    put(&f, line, POOL__LOG_MAX + 6);
    ck_assert_int_eq(f.told->lines, 3);
    ck_assert_str_eq(f.told->text + 2 * (POOL__LOG_MAX + 1), "xxxxx\n");
    end(&f);
}

/* A character is not cut in two, wherever the limit falls. */
static void
pieces_are_whole_characters(int unused)
{
    static const char *const characters[] = {
        "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x8c\x8a"};

    (void)unused;
    for (int c = 0; c < 3; c++)
        for (size_t lead = 0; lead < 4; lead++) {
            struct fixture f;
            size_t size = strlen(characters[c]);
            begin(&f);
            put(&f, "aaaa", lead);
            for (size_t i = 0; i < 2000 / size; i++)
                put(&f, characters[c], size);
            put(&f, "\n", 1);
            ck_assert_int_eq(f.told->lines, 2);
            ck_assert_ptr_null(strchr(f.told->text, '?'));
            end(&f);
        }
}

/* Any split of the same bytes gives the same lines and the same tail. */
static void
splits_do_not_matter(int unused)
{
    enum { N = 60000 };
    static char bytes[N];
    char tails[2][POOL__TAIL_MAX + 1];
    struct fixture f[2];

    (void)unused;
    srandom(7);
    for (int i = 0; i < N; i++)
        bytes[i] = (char)(random() % 97 == 0   ? '\n'
                          : random() % 50 == 0 ? random()
                                               : 'a' + random() % 26);
    begin(&f[0]);
    begin(&f[1]);
    put(&f[0], bytes, N);
    for (size_t at = 0, n; at < N; at += n) {
        n = (size_t)random() % 3000 + 1;
        n = n < N - at ? n : N - at;
        put(&f[1], bytes + at, n);
    }
    for (int i = 0; i < 2; i++) {
        pool__output_drain(&f[i].output);
        pool__output_tail(&f[i].output, tails[i], sizeof tails[i]);
    }
    ck_assert_str_eq(f[0].told->text, f[1].told->text);
    ck_assert_str_eq(tails[0], tails[1]);
    end(&f[0]);
    end(&f[1]);
}

static void
the_tail(int unused)
{
    struct fixture f;
    char tail[POOL__TAIL_MAX + 100], small[5];

    (void)unused;
    begin(&f);
    ck_assert_uint_eq(pool__output_tail(&f.output, tail, sizeof tail), 0);
    ck_assert_str_eq(tail, "");
    put(&f, "one\ntwo\r\nth\xc3\xbc", 13);
    ck_assert_uint_eq(pool__output_tail(&f.output, tail, sizeof tail), 13);
    ck_assert_str_eq(tail, "one\ntwo?\nth\xc3\xbc");
    ck_assert_uint_eq(pool__output_tail(&f.output, small, sizeof small), 4);
    ck_assert_str_eq(small, "th\xc3\xbc");
    ck_assert_uint_eq(pool__output_tail(&f.output, small, 2), 0);
    ck_assert_str_eq(small, ""); /* half a character */
    for (int i = 0; i < 1000; i++)
        put(&f, "\xe2\x82\xac\n", 4);
    ck_assert_uint_eq(
        pool__output_tail(&f.output, tail, sizeof tail), POOL__TAIL_MAX);
    ck_assert_str_eq(tail + POOL__TAIL_MAX - 4, "\xe2\x82\xac\n");
    put(&f, "x", 1);
    ck_assert_uint_eq(
        pool__output_tail(&f.output, tail, sizeof tail), POOL__TAIL_MAX - 2);
    ck_assert_uint_eq(pool__output_tail(&f.output, tail, 0), 0);
    end(&f);
}

static void
none_is_captured(int unused)
{
    struct pool__output output;
    char tail[10] = "x";
    long blocks = pool__mem_live;

    (void)unused;
    ck_assert_int_eq(pool__output_init(&output, false, on_line, NULL), 0);
    ck_assert_int_eq(output.write, -1);
    pool__output_drain(&output);
    ck_assert_uint_eq(pool__output_tail(&output, tail, sizeof tail), 0);
    ck_assert_str_eq(tail, "");
    pool__output_fini(&output);
    ck_assert_int_eq((int)pool__mem_live, (int)blocks);
}

static const struct test tests[] = {
    {"lines_come_at_once", lines_come_at_once},
    {"the_last_line_needs_no_feed", the_last_line_needs_no_feed},
    {"the_pipe_may_be_closed_early", the_pipe_may_be_closed_early},
    {"long_lines_come_in_pieces", long_lines_come_in_pieces},
    {"pieces_are_whole_characters", pieces_are_whole_characters},
    {"splits_do_not_matter", splits_do_not_matter},
    {"the_tail", the_tail},
    {"none_is_captured", none_is_captured},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("output", tests, argc, argv);
}
