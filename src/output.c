/* What a worker prints, on its way to the owner line by line.
 *
 * Invariants: what is read is a stranger's bytes and leaves printable. The
 * pipe's end says nothing: grandchildren may hold it after the worker's death,
 * or it may have closed it and live on. */
#include "output.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "fdio.h"
#include "forkpool_error.h"
#include "frame.h"
#include "mem.h"
#include "proto.h"
#include "util.h"
#include "watch.h"

#define DRAIN_MOST (2u << 20) /* bytes; more than a pipe holds */
#define READ_SIZE (16u << 10) /* at once */

struct pool__printed {
    char line[POOL__LOG_MAX + 1]; /* the beginning of a line */
    size_t have;
    char tail[POOL__TAIL_MAX]; /* a ring: byte i of all is at i % its size */
    uint64_t total;
};

/* ---- lines ------------------------------------------------------------ */

/* Tell the first N bytes that are there; the rest begins the next line. */
static void
tell(struct pool__output *o, size_t n)
{
    struct pool__printed *p = o->printed;
    size_t rest = p->have - n;
    char kept[4];

    memcpy(kept, p->line + n, rest);
    p->line[n] = '\0';
    pool__make_printable(p->line, n);
    o->line(o->owner, p->line, n);
    memcpy(p->line, kept, rest);
    p->have = rest;
}

/* Where a line that is too long may be cut: not inside a character, of which
 * at most 3 bytes are there. */
static size_t
whole_characters(const char *text, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = (unsigned char)text[n - back];
        size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        if (c >= 0xc0 && length > back)
            return n - back;
        if (c >> 6 != 2)
            break;
    }
    return n;
}

static void
split_lines(struct pool__output *o, const char *bytes, size_t n)
{
    struct pool__printed *p = o->printed;

    while (n != 0) {
        if (p->have == POOL__LOG_MAX && *bytes != '\n')
            tell(o, whole_characters(p->line, p->have));
        const char *feed = memchr(bytes, '\n', n);
        size_t part = feed != NULL ? (size_t)(feed - bytes) : n;
        size_t fits = pool__min(part, POOL__LOG_MAX - p->have);
        memcpy(p->line + p->have, bytes, fits);
        p->have += fits;
        bytes += fits;
        n -= fits;
        if (feed == bytes) {
            tell(o, p->have);
            bytes++;
            n--;
        }
    }
}

/* ---- the tail --------------------------------------------------------- */

static void
keep_tail(struct pool__printed *p, const char *bytes, size_t n)
{
    if (n > POOL__TAIL_MAX) {
        p->total += n - POOL__TAIL_MAX;
        bytes += n - POOL__TAIL_MAX;
        n = POOL__TAIL_MAX;
    }
    size_t at = p->total % POOL__TAIL_MAX;
    size_t first = pool__min(n, POOL__TAIL_MAX - at);
    memcpy(p->tail + at, bytes, first);
    memcpy(p->tail, bytes + first, n - first);
    p->total += n;
}

static void
make_lines_printable(char *text, size_t n)
{
    while (n != 0) {
        char *feed = memchr(text, '\n', n);
        size_t part = feed != NULL ? (size_t)(feed - text) : n;
        pool__make_printable(text, part);
        part += feed != NULL;
        text += part;
        n -= part;
    }
}

size_t
pool__output_tail(const struct pool__output *o, char *to, size_t size)
{
    const struct pool__printed *p = o->printed;

    if (size == 0)
        return 0;
    size_t n =
        p != NULL && p->total < POOL__TAIL_MAX ? p->total : POOL__TAIL_MAX;
    n = p != NULL ? pool__min(n, size - 1) : 0;
    uint64_t from = p != NULL ? p->total - n : 0;
    if (from != 0) /* not from the middle of a character */
        for (int i = 0; i < 3 && n != 0; i++, from++, n--)
            if ((unsigned char)p->tail[from % POOL__TAIL_MAX] >> 6 != 2)
                break;
    for (size_t i = 0; i < n; i++)
        to[i] = p->tail[(from + i) % POOL__TAIL_MAX];
    to[n] = '\0';
    make_lines_printable(to, n);
    return n;
}

/* ---- reading ---------------------------------------------------------- */

/* At most BUDGET bytes; how the last read went. */
static ssize_t
read_some(struct pool__output *o, size_t budget)
{
    char bytes[READ_SIZE];
    ssize_t got = 1;

    for (size_t sum = 0; sum < budget && got > 0; sum += (size_t)got) {
        got = pool__read(o->read, bytes, sizeof bytes);
        if (got <= 0)
            break;
        keep_tail(o->printed, bytes, (size_t)got);
        split_lines(o, bytes, (size_t)got);
    }
    return got;
}

static void
on_readable(uv_poll_t *handle, int status, int events)
{
    struct pool__output *o = handle->data;
    size_t most = o->share != NULL ? *o->share : SIZE_MAX;
    ssize_t got = status < 0 ? 0 : read_some(o, pool__min(most, READ_SIZE));

    (void)events;
    if (got <= 0 && got != -EAGAIN)
        uv_poll_stop(handle); /* it closed its end: nothing comes any more */
}

void
pool__output_drain(struct pool__output *o)
{
    if (o->printed == NULL)
        return;
    (void)read_some(o, DRAIN_MOST);
    if (o->open)
        uv_poll_stop(&o->readable);
    if (o->printed->have != 0)
        tell(o, o->printed->have);
}

/* ---- life ------------------------------------------------------------- */

int
pool__output_init(struct pool__output *o, bool captured,
    void (*line)(void *owner, const char *text, size_t size), void *owner)
{
    int ends[2] = {-1, -1};

    memset(o, 0, sizeof *o);
    o->read = o->write = -1;
    o->line = line;
    o->owner = owner;
    if (!captured)
        return 0;
    int rc = pool__pipe(ends);
    o->read = ends[0];
    o->write = ends[1];
    if (rc == 0)
        rc = pool__set_nonblocking(o->read);
    if (rc == 0 && (o->printed = pool__zalloc(sizeof *o->printed)) == NULL)
        rc = POOL_ENOMEM;
    if (rc < 0)
        pool__output_fini(o);
    return rc;
}

int
pool__output_open(struct pool__output *o, uv_loop_t *loop)
{
    int rc = uv_poll_init(loop, &o->readable, o->read);

    if (rc < 0)
        return rc;
    o->readable.data = o;
    o->open = true;
    pool__close(&o->write);
    return pool__watch_start(&o->readable, UV_READABLE, on_readable);
}

void
pool__output_close(struct pool__output *o, uv_close_cb closed)
{
    o->open = false;
    uv_close((uv_handle_t *)&o->readable, closed);
}

void
pool__output_fini(struct pool__output *o)
{
    pool__close(&o->read);
    pool__close(&o->write);
    pool__free(o->printed);
    o->printed = NULL;
}
