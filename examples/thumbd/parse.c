/* thumbd: bytes to requests. What is wrong with a request is decided when its
 * headers are complete; its body is then thrown away as it comes, so that the
 * connection can go on, unless it would be too much: then it ends with the
 * reply (refuse). */
#include "server.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static struct request *
current(http_parser *parser)
{
    struct connection *c = parser->data;

    return c->last;
}

/* Reply now and parse no more of this connection. Always -1. */
static int
refuse(struct request *r, int status, const char *why)
{
    r->connection->discard = true;
    r->keep_alive = false;
    reply_text(r, status, "%s", why);
    return -1;
}

/* ---- the head ---------------------------------------------------------- */

static int
on_message_begin(http_parser *parser)
{
    struct connection *c = parser->data;

    c->field_length = c->value_length = 0;
    c->in_value = false;
    if (request_new(c) == NULL) {
        conn_close(c);
        return -1;
    }
    conn_arm(c);
    return 0;
}

static int
on_url(http_parser *parser, const char *at, size_t size)
{
    struct request *r = current(parser);

    if (r->url_length + size <= MAX_URL)
        memcpy(r->url + r->url_length, at, size);
    r->url_length += size;
    return 0;
}

static bool
is(const char *text, size_t length, const char *name)
{
    return length == strlen(name) && strncasecmp(text, name, length) == 0;
}

static void
end_header(struct connection *c)
{
    struct request *r = c->last;

    if (is(c->field, c->field_length, "host"))
        r->hosts++;
    if (is(c->field, c->field_length, "expect")) {
        if (is(c->value, c->value_length, "100-continue"))
            r->expects = true;
        else
            r->status = 417;
    }
    c->field_length = c->value_length = 0;
    c->in_value = false;
}

/* Keeps the start of a text that comes in pieces; counts all of it. */
static void
keep(char *to, size_t room, size_t *length, const char *at, size_t size)
{
    if (*length < room)
        memcpy(to + *length, at, size < room - *length ? size : room - *length);
    *length += size;
}

static int
on_header_field(http_parser *parser, const char *at, size_t size)
{
    struct connection *c = parser->data;

    if (c->in_value)
        end_header(c);
    keep(c->field, sizeof c->field, &c->field_length, at, size);
    return 0;
}

static int
on_header_value(http_parser *parser, const char *at, size_t size)
{
    struct connection *c = parser->data;

    c->in_value = true;
    keep(c->value, sizeof c->value, &c->value_length, at, size);
    return 0;
}

/* ---- what is wrong with it --------------------------------------------- */

/* What makes the rest of the connection unreadable or unwanted. */
static int
fatal_status(const http_parser *parser, const struct request *r)
{
    const struct settings *settings = &r->server->settings;

    if (parser->http_major != 1)
        return 505;
    if (r->url_length > MAX_URL)
        return 414;
    if (r->hosts > 1 || (r->hosts == 0 && !r->version_10))
        return 400;
    if (r->status != 0)
        return r->status;
    if (request_has_length(parser) &&
        parser->content_length > (uint64_t)settings->max_body)
        return 413;
    return 0;
}

static const char *
reason(int status)
{
    switch (status) {
    case 400:
        return "exactly one Host header is needed";
    case 413:
        return "the body is larger than this server takes";
    case 414:
        return "the address is too long";
    case 417:
        return "only 100-continue can be expected";
    default:
        return "HTTP/1.0 and HTTP/1.1 are spoken here";
    }
}

static int
on_headers_complete(http_parser *parser)
{
    struct connection *c = parser->data;
    struct request *r = c->last;

    if (c->in_value)
        end_header(c);
    parser->upgrade = 0; /* offers to change the protocol are not taken */
    r->method = parser->method;
    r->version_10 = parser->http_major == 1 && parser->http_minor == 0;
    r->keep_alive =
        http_should_keep_alive(parser) != 0 && parser->method != HTTP_CONNECT;
    int status = fatal_status(parser, r);
    if (status != 0)
        return refuse(r, status, reason(status));
    r->route = route_find(r, &r->status);
    if (r->status == 0 && parser->method == HTTP_POST &&
        !request_has_length(parser) && (parser->flags & F_CHUNKED) == 0)
        r->status = 411;
    r->expects = r->expects && !r->version_10;
    if (r->status != 0 && r->expects) /* will the body come? Nobody knows */
        return refuse(r, r->status, "not done");
    reply_flush(c); /* for the 100 Continue */
    return 0;
}

/* ---- the body ---------------------------------------------------------- */

static int
on_body(http_parser *parser, const char *at, size_t size)
{
    struct request *r = current(parser);

    r->expects = false; /* it did not wait */
    if (r->received + size > (uint64_t)r->server->settings.max_body)
        return refuse(r, 413, reason(413));
    if (r->status != 0)
        r->received += size; /* thrown away */
    else if (request_append(r, parser, at, size) < 0)
        return refuse(r, 503, "no memory for the body");
    return 0;
}

static void
dispatch(struct request *r)
{
    if (r->status == 404)
        reply_text(r, 404, "there is nothing at this address");
    else if (r->status == 405)
        reply_text(r, 405, "this address takes %s", r->route->allow);
    else if (r->status == 411)
        reply_text(r, 411, "a body is needed, of which the length is told");
    else if (r->status != 0)
        reply_text(r, r->status, "this address cannot be read");
    else
        r->route->handle(r);
}

static int
on_message_complete(http_parser *parser)
{
    struct connection *c = parser->data;
    struct request *r = c->last;
    bool last = !r->keep_alive;

    r->expects = false;
    dispatch(r);
    if (last)
        c->discard = true;
    if (last || c->unanswered >= MAX_UNANSWERED)
        http_parser_pause(parser, 1);
    conn_arm(c);
    return 0;
}

const http_parser_settings parse_settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- the driver -------------------------------------------------------- */

/* Keep what there is no room for, and read no more. */
static void
pause_reading(struct connection *c, const char *data, size_t size)
{
    http_parser_pause(&c->parser, 0);
    uv_read_stop((uv_stream_t *)&c->tcp);
    c->paused = true;
    if (size == 0)
        return;
    c->left = malloc(size);
    if (c->left == NULL) {
        conn_close(c);
        return;
    }
    memcpy(c->left, data, size);
    c->left_size = size;
}

static void
bad_input(struct connection *c, enum http_errno error)
{
    struct request *r = c->last;

    if (r == NULL || r->state != RECEIVING)
        r = request_new(c);
    if (r == NULL)
        conn_close(c);
    else if (error == HPE_HEADER_OVERFLOW)
        refuse(r, 431, "the headers are too large");
    else
        refuse(r, 400, http_errno_description(error));
}

void
parse_input(struct connection *c, const char *data, size_t size)
{
    size_t used = http_parser_execute(&c->parser, &parse_settings, data, size);
    enum http_errno error = HTTP_PARSER_ERRNO(&c->parser);

    if (c->closing || c->discard)
        return;
    if (error == HPE_PAUSED)
        pause_reading(c, data + used, size - used);
    else if (error != HPE_OK)
        bad_input(c, error);
}
