/* thumbd: an HTTP server that makes thumbnails in worker processes.
 *
 * An example of forkpool in host drive: one libuv loop carries the sockets
 * and the pool, and never waits for a worker. A corrupt or hostile image
 * costs its own request and nothing else. This file makes the pool and the
 * listener, and ends them; see server.h for the rest.
 *
 * The end: a signal stops the listener and lets what is in flight finish;
 * when the last request and connection have gone the pool is closed, and the
 * loop, with nothing left in it, returns. */
#include "options.h"
#include "server.h"
#include "thumb.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static struct server server;

_Noreturn void
server_fail(const char *what, const char *why)
{
    fprintf(stderr, "thumbd: %s: %s\n", what, why);
    exit(1);
}

/* ---- the end ----------------------------------------------------------- */

static void
on_pool_closed(void *data)
{
    struct server *s = data;

    uv_close((uv_handle_t *)&s->sigterm, NULL);
    uv_close((uv_handle_t *)&s->sigint, NULL);
    uv_close((uv_handle_t *)&s->prepare, NULL);
}

/* Close the pool when a drain has nothing left to finish. */
void
server_maybe_end(struct server *s)
{
    if (!s->draining || s->ended || s->connection_count > 0 ||
        s->request_count > 0)
        return;
    s->ended = true;
    pool_close(s->pool, on_pool_closed, s);
}

static void
drain(struct server *s)
{
    s->draining = true;
    listen_end(s);
    for (struct connection *c = s->connections; c != NULL; c = c->next)
        conn_drain(c);
    server_maybe_end(s);
}

static void
on_signal(uv_signal_t *handle, int signum)
{
    struct server *s = handle->data;

    if (s->draining)
        _exit(128 + signum); /* the workers see it and go */
    stats_forget_turn(s);
    drain(s);
}

/* ---- the beginning ----------------------------------------------------- */

/* A connection costs a descriptor: take as many as we may. */
static void
raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Before any socket is open, so that no worker has one. */
static void
make_pool(struct server *s)
{
    const struct settings *settings = &s->settings;
    const char *faults = getenv("THUMBD_TEST_FAULTS");
    pool_options_t options = POOL_OPTIONS_INIT;

    thumb_test_faults = faults != NULL && strcmp(faults, "1") == 0;
    options.name = "thumbd";
    options.loop = &s->loop;
    options.workers = settings->workers;
    options.min_workers = settings->workers;
    options.deadline_ms = settings->deadline_ms;
    options.kill_grace_ms = POOL_NONE; /* a decoder has nothing to put away */
    options.max_pending = settings->max_pending;
    options.max_argument =
        settings->max_body + (int64_t)sizeof(struct thumb_order);
    options.max_result = THUMB_MAX_RESULT;
    options.max_worker_memory = settings->memory;
    options.initializer = thumb_initialize;
    options.worker_stdout = POOL_OUTPUT_NULL;
    options.worker_stderr = POOL_OUTPUT_CAPTURE;
    if (pool_create(&s->pool, &options) < 0)
        server_fail("no pool", pool_errmsg());
}

static void
watch_signals(struct server *s)
{
    uv_signal_init(&s->loop, &s->sigterm);
    uv_signal_init(&s->loop, &s->sigint);
    s->sigterm.data = s->sigint.data = s;
    uv_signal_start(&s->sigterm, on_signal, SIGTERM);
    uv_signal_start(&s->sigint, on_signal, SIGINT);
}

static void
say_goodbye(const struct server *s)
{
    uint64_t replies = 0;

    for (size_t i = 0; i < sizeof s->replies / sizeof *s->replies; i++)
        replies += s->replies[i];
    fprintf(stderr,
        "thumbd: %" PRIu64 " replies on %" PRIu64 " connections; the loop's"
        " longest stall: %.3f ms, of processor time %.3f ms\n",
        replies, s->accepted, (double)s->longest_stall / 1e6,
        (double)s->longest_cpu / 1e6);
}

int
main(int argc, char **argv)
{
    struct server *s = &server;

    options_read(&s->settings, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    http_parser_set_max_header_size(MAX_HEADERS);
    raise_descriptor_limit();
    uv_loop_init(&s->loop);
    make_pool(s);
    listen_begin(s);
    watch_signals(s);
    stats_watch_loop(s);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    say_goodbye(s);
    int rc = uv_loop_close(&s->loop);
    assert(rc == 0 && "something was left in the loop");
    return rc == 0 ? 0 : 1;
}
