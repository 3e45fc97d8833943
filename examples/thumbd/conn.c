/* thumbd: connections. Each has one timer, whose meaning follows from what
 * the connection waits for (conn_arm):
 *
 *   a request        idle_ms, then it is closed
 *   its rest         idle_ms and a second for every 8 KiB that came, then 408
 *   a worker         the pool's deadline decides
 *   a reply to go    idle_ms, then it is closed
 *   the client's end LINGER_MS, then it is closed
 *
 * After the last reply our side is shut first and what still comes is read
 * and thrown away: to close at once would reset the connection, and the
 * client might lose the reply. */
#include "server.h"

#include <stdlib.h>

#define LINGER_MS 2000
#define DRAIN_MS 100 /* for a request that is on its way at a drain */
#define SLOWEST 8    /* bytes in a millisecond */

/* ---- the end ----------------------------------------------------------- */

static void
on_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    struct server *s = c->server;

    if (--c->open_handles > 0)
        return;
    for (struct request *r = c->first, *next; r != NULL; r = next) {
        next = r->next;
        request_abandon(r);
    }
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        s->connections = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    free(c->left);
    free(c);
    s->connection_count--;
    server_maybe_end(s);
}

void
conn_close(struct connection *c)
{
    if (c->closing)
        return;
    c->closing = true;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
    uv_close((uv_handle_t *)&c->timer, on_closed);
}

static void
on_shut(uv_shutdown_t *shutdown, int status)
{
    struct connection *c = shutdown->handle->data;

    if (status < 0 || c->eof)
        conn_close(c);
}

static void on_timer(uv_timer_t *timer);

void
conn_linger(struct connection *c)
{
    if (c->closing || c->lingering)
        return;
    c->lingering = c->discard = true;
    uv_timer_start(&c->timer, on_timer, LINGER_MS, 0);
    if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shut) < 0) {
        conn_close(c);
        return;
    }
    if (c->paused && !c->eof)
        conn_read(c);
    c->paused = false;
}

/* ---- timers ------------------------------------------------------------ */

/* The request that is being received, or NULL. It is always the last. */
static struct request *
receiving(struct connection *c)
{
    return c->last != NULL && c->last->state == RECEIVING ? c->last : NULL;
}

static uint64_t
time_left(struct request *r)
{
    struct server *s = r->server;
    uint64_t end =
        r->began + (uint64_t)s->settings.idle_ms + r->received / SLOWEST;

    return end > uv_now(&s->loop) ? end - uv_now(&s->loop) : 0;
}

void
conn_arm(struct connection *c)
{
    struct request *r = receiving(c);
    uint64_t ms = (uint64_t)c->server->settings.idle_ms;

    if (c->closing || c->lingering)
        return;
    if (r != NULL)
        ms = time_left(r);
    else if (c->first != NULL && c->first->state == WORKING) {
        uv_timer_stop(&c->timer);
        return;
    } else if (c->first == NULL && c->server->draining)
        ms = DRAIN_MS;
    uv_timer_start(&c->timer, on_timer, ms, 0);
}

static void
on_timer(uv_timer_t *timer)
{
    struct connection *c = timer->data;
    struct request *r = receiving(c);

    if (r == NULL || c->lingering) {
        conn_close(c);
    } else if (time_left(r) > 0) {
        conn_arm(c);
    } else {
        r->keep_alive = false;
        c->discard = true;
        reply_text(r, 408, "the request took too long to come");
    }
}

/* At a drain: an idle connection has a moment left, in case that a request is
 * on its way; others end with the reply that they wait for. */
void
conn_drain(struct connection *c)
{
    if (c->first == NULL)
        conn_arm(c);
}

/* ---- reading ----------------------------------------------------------- */

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct connection *c = handle->data;

    (void)suggested;
    *buf = uv_buf_init(c->server->input, sizeof c->server->input);
}

/* The client sends no more, but may still want its replies. */
static void
end_of_input(struct connection *c)
{
    struct request *r = receiving(c);

    c->eof = true;
    if (r != NULL)
        request_drop(r);
    if (c->lingering || c->first == NULL)
        conn_close(c);
    else
        conn_arm(c);
}

static void
on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct connection *c = stream->data;

    if (size == UV_EOF)
        end_of_input(c);
    else if (size < 0)
        conn_close(c);
    else if (size > 0 && !c->discard)
        parse_input(c, buf->base, (size_t)size);
}

void
conn_read(struct connection *c)
{
    if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0)
        conn_close(c);
}

/* A reply has gone: go on with what was read before, then with reading. */
void
conn_resume(struct connection *c)
{
    if (!c->paused || c->unanswered >= MAX_UNANSWERED || c->closing)
        return;
    char *left = c->left;
    size_t size = c->left_size;
    c->left = NULL;
    c->left_size = 0;
    c->paused = false;
    if (size > 0)
        parse_input(c, left, size);
    free(left);
    if (!c->paused && !c->closing)
        conn_read(c);
}
