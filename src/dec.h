/* The decoder's inside: heads, the walk over an item, errors. */
#ifndef POOL_SRC_DEC_H
#define POOL_SRC_DEC_H

#include "forkpool_codec.h"
#include "wire.h"

struct pool__number {
    unsigned char tag, width;
};

/* The tag and the bytes of an element, by pool_number_t. */
extern const struct pool__number pool__numbers[];

/* Reasons of errors. The first is that of a value of another type than asked
 * for, which the format front says in words of its own. */
extern const char pool__mismatch[];
extern const char pool__truncated[];
extern const char pool__too_many[];

/* Keep the cursor's first error: code, the byte it concerns and a reason that
 * outlives the cursor. Later reads find the end. Returns the code. */
int pool__dec_fail(pool_dec_t *dec, int code, const unsigned char *at,
    const char *reason) __attribute__((cold));

/* Say in words what item begins at AT, for messages. */
void pool__dec_describe(const pool_dec_t *dec, const unsigned char *at,
    char *text, size_t size) __attribute__((cold));

/* Check the item at dec->at, contents included: its end, or NULL and the
 * cursor has failed. */
const unsigned char *pool__check_item(pool_dec_t *dec);

/* The bytes of an item by its first, where that tells; 0 where it does not. */
extern const unsigned char pool__item_size[256];

/* Walk over up to n items whose first byte tells their size. Returns how many
 * of the n are left: all that follows something else, or the end. */
static inline uint64_t
pool__walk_plain(const unsigned char **at, const unsigned char *end, uint64_t n)
{
    const unsigned char *p = *at;

    for (; n > 0 && p < end; n--) {
        size_t size = pool__item_size[*p];
        if (size == 0 || size > (size_t)(end - p))
            break;
        p += size;
    }
    *at = p;
    return n;
}

/* Whether data is exactly one well-formed item within the greatest depth, and
 * whether it holds typed arrays. */
bool pool__is_value(const void *data, size_t size, bool *numbers);

struct pool__head {
    unsigned major;
    unsigned info; /* POOL__INFO_INDEFINITE: no argument */
    uint64_t value;
};

static inline uint64_t
pool__read_big_endian(const unsigned char *p, unsigned width)
{
    uint64_t n = p[0];

    if (width == 8) {
        memcpy(&n, p, sizeof n);
        return pool__big_endian(n);
    }
    if (width >= 2)
        n = n << 8 | p[1];
    if (width == 4)
        n = n << 16 | (uint64_t)p[2] << 8 | p[3];
    return n;
}

/* Read the head at p < end: one past it, or NULL with *why. Takes no position
 * on where a break may stand. */
static inline const unsigned char *
pool__read_head(const unsigned char *p, const unsigned char *end,
    struct pool__head *head, const char **why)
{
    unsigned info = *p & 31;

    head->major = *p++ >> 5;
    head->info = info;
    head->value = info;
    if (info < POOL__INFO_8)
        return p;
    if (info <= POOL__INFO_64) {
        unsigned width = 1u << (info - POOL__INFO_8);
        if ((size_t)(end - p) < width) {
            *why = pool__truncated;
            return NULL;
        }
        head->value = pool__read_big_endian(p, width);
        if (head->major == POOL__SIMPLE && info == POOL__INFO_8 &&
            head->value < POOL__SIMPLE_LONG) {
            *why = "a simple value below 32 in two bytes";
            return NULL;
        }
        return p + width;
    }
    head->value = POOL_INDEFINITE;
    if (info == POOL__INFO_INDEFINITE && head->major != POOL__UINT &&
        head->major != POOL__NINT && head->major != POOL__TAG)
        return p;
    *why = "reserved additional information";
    return NULL;
}

/* The length in bytes of the UTF-8 sequence at p < end that is not ASCII; 0
 * where it is not valid. */
size_t pool__utf8_sequence(const unsigned char *p, const unsigned char *end);

#endif
