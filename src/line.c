/* A rank's line to its peers.
 *
 * Invariant: while a rank is in a collective the host sends it parts, their
 * end, and perhaps that a scatter is over, nothing else: it gives no other
 * task to a worker that runs a peer. */
#include "line.h"

#include <string.h>

#include "error.h"
#include "mem.h"

static void
give(void *data, const struct pool__gift *gift)
{
    struct pool__line *line = data;
    uint8_t head[POOL__OFFER_SIZE];
    size_t sizes = gift->sizes_count * sizeof *gift->sizes;
    struct iovec pieces[POOL__LINE_PIECES] = {{head, sizeof head},
        {(void *)(size_t)gift->sizes, sizes},
        {(void *)(size_t)gift->data, gift->size}};
    struct pool__frame frame = {.type = POOL__FRAME_COLLECTIVE,
        .id = line->call,
        .size = (uint32_t)(sizeof head + sizes + gift->size)};

    pool__offer_put(head, &gift->offer);
    line->send(line->worker, &frame, pieces, POOL__LINE_PIECES);
}

/* The models of a scatter that is over wait until the call has ended: this may
 * be a call of it. Without memory they stay until the worker ends. */
static void
put_aside(struct pool__line *line, uint64_t scatter)
{
    uint64_t *ids =
        pool__realloc(line->aside, (line->aside_count + 1) * sizeof *ids);

    if (ids == NULL)
        return;
    ids[line->aside_count++] = scatter;
    line->aside = ids;
}

void
pool__line_clear(struct pool__line *line)
{
    pool__free(line->aside);
    line->aside = NULL;
    line->aside_count = 0;
}

static int
next(void *data, uint64_t *size)
{
    struct pool__line *line = data;
    struct pool__frame frame;
    uint8_t head[POOL__FRAME_HEADER];

    do {
        if (!line->read(line->worker, head, sizeof head))
            return pool__fail(POOL_EDIED, "the group has ended");
        if (pool__frame_split(
                head, sizeof head, POOL__FRAME_MAX_PAYLOAD, &frame) < 0)
            return POOL_EPROTO;
        if (frame.type == POOL__FRAME_STOP)
            put_aside(line, frame.id);
    } while (frame.type == POOL__FRAME_STOP);
    if (frame.type != POOL__FRAME_COLLECTIVE || frame.id != line->call)
        return pool__fail(POOL_EPROTO, "a frame inside a collective");
    *size = line->part_left = frame.size;
    line->part_padding =
        (size_t)(pool__frame_extent(frame.size) - sizeof head - frame.size);
    return frame.flags == POOL__COLLECTIVE_PART;
}

/* Where the host wants no more, `next` says so. */
static void
read_part(void *data, void *to, size_t n)
{
    struct pool__line *line = data;
    uint8_t padding[8];

    if (!line->read(line->worker, to, n))
        memset(to, 0, n);
    line->part_left -= n;
    if (line->part_left == 0)
        (void)line->read(line->worker, padding, line->part_padding);
}

const struct pool__peers pool__line_peers = {give, next, read_part};
