/* Pools whose lines of log are kept, for tests that look at them. */
#ifndef FORKPOOL_TESTS_LINES_H
#define FORKPOOL_TESTS_LINES_H

#include "support.h"

#include <string.h>

enum { LINES = 4000 };

struct lines {
    int count;
    pool_log_t line[LINES];
    char text[LINES][1100];
};

static inline void
keep_line(const pool_log_t *line, void *data)
{
    struct lines *lines = data;

    ck_assert_int_lt(lines->count, LINES);
    ck_assert_uint_eq(strlen(line->text), line->length);
    lines->line[lines->count] = *line;
    strcpy(lines->text[lines->count++], line->text);
}

static inline const pool_log_t *
find_line(const struct lines *lines, const char *text)
{
    for (int i = 0; i < lines->count; i++)
        if (strcmp(lines->text[i], text) == 0)
            return &lines->line[i];
    return NULL;
}

/* Wait for a line while the pool runs. */
static inline const pool_log_t *
await_line(pool_t *pool, const struct lines *lines, const char *text)
{
    const pool_log_t *line = NULL;

    for (int i = 0; i < PATIENCE_MS / 5; i++) {
        if ((line = find_line(lines, text)) != NULL)
            break;
        ck_assert_int_eq(pool_poll(pool, 5), 0);
    }
    ck_assert_msg(line != NULL, "no line '%s'", text);
    return line;
}

static struct lines lines;

static inline pool_options_t
with_log(int workers)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    memset(&lines, 0, sizeof lines);
    options.workers = options.min_workers = workers;
    options.log = keep_line;
    options.log_data = &lines;
    return options;
}

static inline pool_t *
make(const pool_options_t *options)
{
    pool_t *pool = NULL;
    int rc = pool_create(&pool, options);

    ck_assert_msg(rc == 0, "%s", pool_errmsg());
    return pool;
}

static inline void
run(pool_t *pool, pool_fn fn, int code)
{
    pool_future_t *f;

    ck_assert_int_eq(pool_submit(pool, &f, fn, ""), 0);
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), code);
    pool_future_free(f);
}

#endif
