/* thumbd: what is done for each path, and what becomes of a thumbnail. */
#include "image.h"
#include "server.h"
#include "thumb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- thumbnails -------------------------------------------------------- */

/* A worker's failure, as a reply. */
static void
reply_failure(struct request *r, int code)
{
    const pool_failure_t *failure = pool_future_failure(r->future);
    const char *message = failure != NULL ? failure->message : "";
    const char *tail = failure != NULL ? failure->stderr_tail : NULL;
    bool ours = code == POOL_EBROKEN || code == POOL_ECANCELED ||
                code == POOL_ESHUTDOWN || code == POOL_ENOMEM;

    if (tail == NULL)
        tail = "";
    size_t length = strcspn(tail, "\r\n"); /* its first line will do */
    reply_text(r, ours ? 503 : 502, "%s%s%.*s",
        *message != '\0' ? message : pool_strerror(code),
        length > 0 ? "; it said: " : "", length < 200 ? (int)length : 200,
        tail);
}

static void
on_done(pool_future_t *future, void *data)
{
    struct request *r = data;
    const void *bytes;
    size_t size;
    int rc = pool_future_bytes(future, 0, &bytes, &size);

    if (rc < 0) {
        reply_failure(r, rc);
        return;
    }
    switch (image_type(bytes, size)) {
    case IMAGE_JPEG:
        reply(r, 200, "image/jpeg", bytes, size);
        break;
    case IMAGE_PNG:
        reply(r, 200, "image/png", bytes, size);
        break;
    default:
        reply_text(r, 502, "the worker made something that is no image");
    }
}

/* The number of ?width=N, the default where there is none; 0: not valid. */
static uint32_t
wanted_width(const char *url)
{
    const char *at = strchr(url, '?');

    while (at != NULL) {
        at++;
        if (strncmp(at, "width=", 6) == 0) {
            char *end;
            long n = strtol(at + 6, &end, 10);
            bool whole = end != at + 6 && strchr("&#", *end) != NULL;
            return whole && n >= 1 && n <= THUMB_MAX_WIDTH ? (uint32_t)n : 0;
        }
        at = strchr(at, '&');
    }
    return THUMB_WIDTH;
}

static void
post_thumbnail(struct request *r)
{
    struct thumb_order order = {wanted_width(r->url), 0};
    int rc;

    if (order.width == 0) {
        reply_text(r, 400, "width must be 1 to %d", THUMB_MAX_WIDTH);
        return;
    }
    if (r->body == NULL) /* an empty one */
        r->body = malloc(sizeof order);
    if (r->body == NULL) {
        reply_text(r, 503, "out of memory");
        return;
    }
    memcpy(r->body, &order, sizeof order);
    rc = pool_submit_owned(r->server->pool, &r->future, NULL, thumb_task,
        r->body, sizeof order + r->received, free);
    if (rc < 0) {
        reply_text(r, rc == POOL_ETOOBIG ? 413 : 503, "%s",
            rc == POOL_EAGAIN ? "too many images wait; come again"
                              : pool_strerror(rc));
        return;
    }
    r->body = NULL; /* the pool's now */
    r->state = WORKING;
    if (pool_future_add_done_callback(r->future, on_done, r) < 0) {
        pool_future_cancel(r->future);
        reply_text(r, 503, "out of memory");
    }
}

/* ---- the rest ---------------------------------------------------------- */

static void
get_page(struct request *r)
{
    reply(r, 200, "text/html; charset=utf-8", page_html, page_html_size);
}

static void
get_health(struct request *r)
{
    if (r->server->draining)
        reply_text(r, 503, "draining");
    else
        reply_text(r, 200, "ok");
}

static const struct route routes[] = {
    {"/", "GET, HEAD", get_page},
    {"/thumbnail", "POST", post_thumbnail},
    {"/metrics", "GET, HEAD", stats_reply_metrics},
    {"/stats.json", "GET, HEAD", stats_reply_json},
    {"/healthz", "GET, HEAD", get_health},
};

static bool
allows(const struct route *route, unsigned method)
{
    const char *name = http_method_str(method);
    const char *at = strstr(route->allow, name);

    return at != NULL && strchr(", ", at[strlen(name)]) != NULL;
}

/* The route of a request; in *status 0, or what is wrong with it. */
const struct route *
route_find(const struct request *r, int *status)
{
    struct http_parser_url url;

    http_parser_url_init(&url);
    *status = 400;
    if (http_parser_parse_url(
            r->url, r->url_length, r->method == HTTP_CONNECT, &url) != 0)
        return NULL;
    const char *path = r->url + url.field_data[UF_PATH].off;
    size_t length = url.field_data[UF_PATH].len;
    *status = 404;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strlen(routes[i].path) != length ||
            memcmp(routes[i].path, path, length) != 0)
            continue;
        *status = allows(&routes[i], r->method) ? 0 : 405;
        return &routes[i];
    }
    return NULL;
}
