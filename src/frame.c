/* Frames: see frame.h. Both functions look at a header once, with plain loads
 * and stores on a little-endian machine; flags are the caller's to judge. */
#define _GNU_SOURCE
#include "frame.h"

#include <endian.h>
#include <string.h>

#include "error.h"

struct wire {
    uint32_t size;
    uint16_t type;
    uint16_t flags;
    uint64_t id;
};

_Static_assert(sizeof(struct wire) == POOL__FRAME_HEADER, "no padding");

void
pool__frame_put(void *to, const struct pool__frame *frame)
{
    struct wire wire = {htole32(frame->size), htole16(frame->type),
        htole16(frame->flags), htole64(frame->id)};

    memcpy(to, &wire, sizeof wire);
}

/* The padding is the last bytes of the frame's last word: its top bytes as a
 * little-endian number. */
static inline int
padding_is_zero(const unsigned char *end, uint32_t size)
{
    unsigned padding = (0u - size) & 7;
    uint64_t word;

    if (padding == 0)
        return 1;
    memcpy(&word, end - sizeof word, sizeof word);
    return le64toh(word) >> (64 - 8 * padding) == 0;
}

static int __attribute__((cold))
refuse(const struct pool__frame *frame, uint32_t limit)
{
    if (frame->type == 0 || frame->type >= POOL__FRAME_TYPES)
        return pool__fail(
            POOL_EPROTO, "frame: type %u does not exist", frame->type);
    return pool__fail(POOL_EPROTO,
        "frame: a payload of %u bytes, the limit is %u", frame->size, limit);
}

int64_t
pool__frame_split(
    const void *data, size_t n, uint32_t limit, struct pool__frame *frame)
{
    struct wire wire;

    if (n < sizeof wire)
        return 0;
    memcpy(&wire, data, sizeof wire);
    frame->size = le32toh(wire.size);
    frame->type = le16toh(wire.type);
    frame->flags = le16toh(wire.flags);
    frame->id = le64toh(wire.id);
    if (frame->type - 1u >= POOL__FRAME_TYPES - 1u || frame->size > limit ||
        frame->size > POOL__FRAME_MAX_PAYLOAD)
        return refuse(frame, limit);
    uint64_t extent = pool__frame_extent(frame->size);
    if (n < extent)
        return 0;
    if (!padding_is_zero((const unsigned char *)data + extent, frame->size))
        return pool__fail(POOL_EPROTO, "frame: padding that is not zero");
    return (int64_t)extent;
}
