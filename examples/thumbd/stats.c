/* thumbd: figures. The pool's own, the server's, and how long the loop was
 * held up: the time of one turn of the loop without what it slept, longest so
 * far, by the clock and by the processor time that it took. */
#include "server.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- the loop ---------------------------------------------------------- */

static uint64_t
cpu_time(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Once in each turn, before the loop sleeps. */
static void
on_prepare(uv_prepare_t *prepare)
{
    struct server *s = prepare->data;
    uint64_t now = uv_hrtime(), cpu = cpu_time();
    uint64_t idle = uv_metrics_idle_time(&s->loop);

    if (s->turn_began != 0) {
        uint64_t stall = now - s->turn_began - (idle - s->turn_idle);
        uint64_t used = cpu - s->turn_cpu;
        s->longest_stall = stall > s->longest_stall ? stall : s->longest_stall;
        s->longest_cpu = used > s->longest_cpu ? used : s->longest_cpu;
    }
    s->turn_began = now;
    s->turn_idle = idle;
    s->turn_cpu = cpu;
}

/* Do not measure this turn: libuv forgets what it slept until a signal. */
void
stats_forget_turn(struct server *s)
{
    s->turn_began = 0;
}

void
stats_watch_loop(struct server *s)
{
    uv_loop_configure(&s->loop, UV_METRICS_IDLE_TIME);
    uv_prepare_init(&s->loop, &s->prepare);
    s->prepare.data = s;
    uv_prepare_start(&s->prepare, on_prepare);
    uv_unref((uv_handle_t *)&s->prepare);
}

/* ---- /metrics ---------------------------------------------------------- */

struct text {
    char *at;
    size_t size, length;
};

static void add(struct text *text, const char *format, ...) POOL_PRINTF(2, 3);

static void
add(struct text *text, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int n = vsnprintf(
        text->at + text->length, text->size - text->length, format, arguments);
    va_end(arguments);
    if (n > 0 && (size_t)n < text->size - text->length)
        text->length += (size_t)n;
}

static void
add_figure(struct text *text, const char *name, const char *kind,
    const char *help, double value)
{
    add(text, "# HELP thumbd_%s %s\n# TYPE thumbd_%s %s\nthumbd_%s %.9g\n",
        name, help, name, kind, name, value);
}

static void
add_server(struct text *text, const struct server *s)
{
    add_figure(
        text, "connections", "gauge", "Open connections.", s->connection_count);
    add_figure(text, "connections_total", "counter", "Accepted connections.",
        (double)s->accepted);
    add_figure(text, "loop_longest_stall_seconds", "gauge",
        "Longest turn of the event loop, sleep not counted.",
        (double)s->longest_stall / 1e9);
    add_figure(text, "loop_longest_stall_cpu_seconds", "gauge",
        "Most processor time that a turn of the event loop took.",
        (double)s->longest_cpu / 1e9);
    add(text, "# HELP thumbd_replies_total Replies by status.\n"
              "# TYPE thumbd_replies_total counter\n");
    for (int i = 0; i < 600; i++)
        if (s->replies[i] > 0)
            add(text, "thumbd_replies_total{status=\"%d\"} %" PRIu64 "\n", i,
                s->replies[i]);
}

void
stats_reply_metrics(struct request *r)
{
    pool_t *pool = r->server->pool;
    struct text text = {NULL, 0, 0};

    pool_stats_text(pool, NULL, 0, &text.size);
    text.size += 4096;
    text.at = malloc(text.size);
    if (text.at != NULL &&
        pool_stats_text(pool, text.at, text.size, &text.length) < 0)
        text.length = 0;
    if (text.at != NULL)
        add_server(&text, r->server);
    reply_owned(r, 200, "text/plain; version=0.0.4; charset=utf-8", text.at,
        text.length);
}

/* ---- /stats.json ------------------------------------------------------- */

void
stats_reply_json(struct request *r)
{
    const struct server *s = r->server;
    pool_stats_t stats = POOL_STATS_INIT;
    struct text text = {malloc(1024), 1024, 0};

    if (text.at == NULL || pool_stats(s->pool, &stats) < 0) {
        free(text.at);
        reply_text(r, 503, "no figures");
        return;
    }
    add(&text,
        "{\"pending\":%" PRIu64 ",\"running\":%" PRIu64 ",\"workers\":%" PRIu64
        ",\"completed\":%" PRIu64 ",\"failed\":%" PRIu64
        ",\"rejected\":%" PRIu64 ",\"workers_died\":%" PRIu64,
        stats.pending, stats.running, stats.workers, stats.completed,
        stats.failed, stats.rejected, stats.workers_died);
    add(&text,
        ",\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"connections\":%d"
        ",\"longest_stall_ms\":%.3f}\n",
        (double)stats.run_time.p50_ns / 1e6,
        (double)stats.run_time.p99_ns / 1e6, s->connection_count,
        (double)s->longest_stall / 1e6);
    reply_owned(r, 200, "application/json", text.at, text.length);
}
