/* thumbd: replies. They are written in the order of the requests, directly
 * from where they lie: static text, a malloc'ed text, or a future's memory,
 * which is freed when it is written. */
#include "server.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The time as HTTP writes it, made once a second. */
static const char *
date(void)
{
    static char text[40];
    static time_t made;
    time_t now = time(NULL);
    struct tm tm;

    if (now != made && gmtime_r(&now, &tm) != NULL) {
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        made = now;
    }
    return text;
}

static int
make_head(struct request *r)
{
    return snprintf(r->head, sizeof r->head,
        "HTTP/1.1 %d %s\r\n"
        "Date: %s\r\n"
        "Server: thumbd\r\n"
        "Content-Type: %s\r\n"
        "Content-Length: %zu\r\n"
        "Cache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Content-Security-Policy: default-src 'none'; connect-src 'self';"
        " img-src blob: data:; script-src 'unsafe-inline';"
        " style-src 'unsafe-inline'\r\n"
        "%s%s%s%s"
        "Connection: %s\r\n"
        "\r\n",
        r->status, http_status_str((enum http_status)r->status), date(),
        r->type, r->reply_size, r->status == 405 ? "Allow: " : "",
        r->status == 405 ? r->route->allow : "", r->status == 405 ? "\r\n" : "",
        r->status == 503 ? "Retry-After: 1\r\n" : "",
        r->keep_alive ? "keep-alive" : "close");
}

/* ---- writing ----------------------------------------------------------- */

static void
on_written(uv_write_t *write, int status)
{
    struct request *r = write->data;
    struct connection *c = r->connection;
    bool last = !r->keep_alive;

    if (c->closing)
        return; /* the request is freed with the connection */
    request_drop(r);
    if (status < 0 || (c->eof && c->first == NULL))
        conn_close(c);
    else if (last)
        conn_linger(c);
    else
        conn_resume(c);
    reply_flush(c);
    conn_arm(c);
}

static void
send_reply(struct request *r)
{
    struct connection *c = r->connection;
    uv_buf_t bufs[2];

    if (r->server->draining && r->next == NULL && c->left_size == 0)
        r->keep_alive = false;
    if (!r->keep_alive)
        c->discard = true;
    bufs[0] = uv_buf_init(r->head, (unsigned)make_head(r));
    /* uv_write only reads, though it takes a pointer to change */
    bufs[1] = uv_buf_init((char *)(uintptr_t)r->reply, (unsigned)r->reply_size);
    r->state = WRITING;
    r->write.data = r;
    r->server->replies[r->status]++;
    if (uv_write(&r->write, (uv_stream_t *)&c->tcp, bufs,
            r->method == HTTP_HEAD ? 1 : 2, on_written) < 0)
        conn_close(c);
}

static void
send_continue(struct request *r)
{
    static char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct connection *c = r->connection;
    uv_buf_t buf = uv_buf_init(text, sizeof text - 1);
    int sent = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);

    if (sent == UV_EAGAIN)
        return; /* again when the reply before it is written */
    r->expects = false;
    if (sent != (int)buf.len)
        conn_close(c);
}

/* Write what is ready and has nothing unanswered before it. */
void
reply_flush(struct connection *c)
{
    struct request *r = c->first;

    while (r != NULL && !c->closing && r->state >= READY) {
        if (r->state == READY)
            send_reply(r);
        r = r->next;
    }
    if (r != NULL && !c->closing && r->state == RECEIVING && r->expects)
        send_continue(r);
}

/* ---- making ------------------------------------------------------------ */

/* The body must live as long as the request. */
void
reply(struct request *r, int status, const char *type, const void *body,
    size_t size)
{
    r->status = status;
    r->type = type;
    r->reply = body;
    r->reply_size = size;
    r->expects = false;
    r->state = READY;
    if (r->connection == NULL) {
        request_free(r);
        return;
    }
    reply_flush(r->connection);
    conn_arm(r->connection);
}

/* A body that was malloc'ed, or NULL where that failed. */
void
reply_owned(
    struct request *r, int status, const char *type, char *text, size_t size)
{
    static const char none[] = "out of memory\n";

    r->text = text;
    if (text == NULL)
        reply(r, 503, "text/plain", none, sizeof none - 1);
    else
        reply(r, status, type, text, size);
}

void
reply_text(struct request *r, int status, const char *format, ...)
{
    va_list arguments;
    char line[1500];

    va_start(arguments, format);
    vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    strcat(line, "\n");
    reply_owned(
        r, status, "text/plain; charset=utf-8", strdup(line), strlen(line));
}
