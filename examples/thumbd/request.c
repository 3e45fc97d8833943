/* thumbd: the life of a request: it stands in its connection's line until its
 * reply is written, or until its task has settled where the client has gone. */
#include "server.h"
#include "thumb.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BODY 16384 /* bytes to begin a body of unknown size with */

struct request *
request_new(struct connection *c)
{
    struct request *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    r->server = c->server;
    r->connection = c;
    r->began = uv_now(&c->server->loop);
    if (c->last != NULL)
        c->last->next = r;
    else
        c->first = r;
    c->last = r;
    c->unanswered++;
    c->server->request_count++;
    return r;
}

void
request_free(struct request *r)
{
    struct server *s = r->server;

    pool_future_free(r->future);
    free(r->body);
    free(r->text);
    free(r);
    s->request_count--;
    server_maybe_end(s);
}

/* Take a request out of its connection's line, and free it. */
void
request_drop(struct request *r)
{
    struct connection *c = r->connection;
    struct request **at = &c->first, *before = NULL;

    while (*at != r) {
        before = *at;
        at = &before->next;
    }
    *at = r->next;
    if (c->last == r)
        c->last = before;
    c->unanswered--;
    request_free(r);
}

/* The client has gone: what no worker has begun never will be; what one runs
 * ends unseen, and its callback frees the request. */
void
request_abandon(struct request *r)
{
    r->connection = NULL;
    r->next = NULL;
    if (r->state == WORKING)
        pool_future_cancel(r->future);
    else
        request_free(r);
}

/* ---- the body --------------------------------------------------------------
 */

bool
request_has_length(const http_parser *parser)
{
    return (parser->flags & F_CONTENTLENGTH) != 0;
}

/* Room for SIZE more bytes: a small body that is announced gets what it needs,
 * others twice as much each time, as they come. */
static int
make_room(struct request *r, const http_parser *parser, size_t size)
{
    size_t need = sizeof(struct thumb_order) + r->received + size;
    size_t capacity = r->body_capacity * 2;

    if (need <= r->body_capacity)
        return 0;
    if (request_has_length(parser) &&
        need + parser->content_length < FIRST_BODY)
        capacity = need + parser->content_length;
    else if (capacity < FIRST_BODY)
        capacity = FIRST_BODY;
    if (capacity < need)
        capacity = need;
    unsigned char *body = realloc(r->body, capacity);
    if (body == NULL)
        return -1;
    r->body = body;
    r->body_capacity = capacity;
    return 0;
}

/* Add to the body. -1: no memory. */
int
request_append(
    struct request *r, const http_parser *parser, const char *at, size_t size)
{
    if (make_room(r, parser, size) < 0)
        return -1;
    memcpy(r->body + sizeof(struct thumb_order) + r->received, at, size);
    r->received += size;
    return 0;
}
