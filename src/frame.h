/* Frames: the unit that travels over a worker's pipes. Sans-I/O.
 *
 * A frame is a 16-byte little-endian header, its payload, and zeros up to a
 * multiple of 8; the header's size counts the payload alone. */
#ifndef POOL_SRC_FRAME_H
#define POOL_SRC_FRAME_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "util.h"

enum pool__frame_type {
    POOL__FRAME_HELLO = 1,
    POOL__FRAME_CALL,
    POOL__FRAME_REPLY,
    POOL__FRAME_ERROR,
    POOL__FRAME_LOG,
    POOL__FRAME_COLLECTIVE,
    POOL__FRAME_STOP,
    POOL__FRAME_PLACED, /* a call or a reply whose payload is in the segment */
    POOL__FRAME_TYPES
};

#define POOL__FRAME_HEADER 16
#define POOL__FRAME_MAX_PAYLOAD 0xfffffff0u

/* The id of a call: number of the task << these bits | how often it was sent.
 * So no id is used twice: each sending of a task counts up. */
#define POOL__ID_SENDS_BITS 20

/* Payloads from here on are not copied into buffers. Bytes. */
#define POOL__LARGE (64u << 10)
#define POOL__PLACED_SIZE 8u /* bytes of a placed frame: how many there are */

#define POOL__LOG_MAX 1023u /* bytes of a log frame's text; at least 1 */

struct pool__frame {
    uint32_t size; /* of the payload, bytes */
    uint16_t type;
    uint16_t flags;
    uint64_t id;
};

/* The bytes that a frame with this payload takes on the wire. */
static inline uint64_t
pool__frame_extent(uint32_t size)
{
    return POOL__FRAME_HEADER + (((uint64_t)size + 7) & ~UINT64_C(7));
}

static inline uint64_t
pool__frame_id(uint64_t number, uint32_t sends)
{
    return number << POOL__ID_SENDS_BITS |
           (sends & ((1u << POOL__ID_SENDS_BITS) - 1));
}

struct pool__frame_wire {
    uint32_t size;
    uint16_t type;
    uint16_t flags;
    uint64_t id;
};

_Static_assert(
    sizeof(struct pool__frame_wire) == POOL__FRAME_HEADER, "no padding");

/* Write a header to 16 bytes at TO. */
static inline void
pool__frame_put(void *to, const struct pool__frame *frame)
{
    struct pool__frame_wire wire = {htole32(frame->size), htole16(frame->type),
        htole16(frame->flags), htole64(frame->id)};

    memcpy(to, &wire, sizeof wire);
}

/* POOL_EPROTO, and why. */
POOL__SHARED int pool__frame_refuse(
    const struct pool__frame *frame, uint32_t limit);

/* The padding is the last bytes of the frame's last word: its top bytes as a
 * little-endian number. */
static inline int
pool__frame_padded(const unsigned char *end, uint32_t size)
{
    unsigned padding = (0u - size) & 7;
    uint64_t word;

    if (padding == 0)
        return 1;
    memcpy(&word, end - sizeof word, sizeof word);
    return le64toh(word) >> (64 - 8 * padding) == 0;
}

/* Look at the first frame of the N bytes at DATA.
 * > 0: a whole frame of that many bytes; *frame is its header, its payload
 *      begins at DATA + 16.
 * 0:   part of a frame; where N >= 16, *frame is its header already checked.
 * < 0: POOL_EPROTO: a type that does not exist, a payload above LIMIT, or a
 *      padding that is not zero. */
static inline int64_t
pool__frame_split(
    const void *data, size_t n, uint32_t limit, struct pool__frame *frame)
{
    struct pool__frame_wire wire;

    if (n < sizeof wire)
        return 0;
    memcpy(&wire, data, sizeof wire);
    frame->size = le32toh(wire.size);
    frame->type = le16toh(wire.type);
    frame->flags = le16toh(wire.flags);
    frame->id = le64toh(wire.id);
    if (pool__unlikely(frame->type - 1u >= POOL__FRAME_TYPES - 1u ||
                       frame->size > limit ||
                       frame->size > POOL__FRAME_MAX_PAYLOAD))
        return pool__frame_refuse(frame, limit);
    uint64_t extent = pool__frame_extent(frame->size);
    if (n < extent)
        return 0;
    if (pool__unlikely(!pool__frame_padded(
            (const unsigned char *)data + extent, frame->size)))
        return pool__frame_refuse(frame, limit);
    return (int64_t)extent;
}

#endif
