/* The encoder: values in, CBOR in its shortest form out.
 *
 * Invariants: size never exceeds PTRDIFF_MAX, nor does capacity, so sums of
 * size and a head cannot wrap; nothing is written at or past capacity; once
 * size has passed capacity nothing more is written, but counted on. */
#include "dec.h"
#include "error.h"
#include "mem.h"
#include "wire.h"

#define SMALLEST ((size_t)256) /* bytes of a growable buffer */

static void
fail(pool_enc_t *enc, int code)
{
    if (enc->error == 0)
        enc->error = code;
}

/* Room for enc->size bytes, of which the first USED are there. False: the
 * buffer is the caller's, or there is no memory. */
static bool
grow(pool_enc_t *enc, size_t used)
{
    if (!enc->growable || used > enc->capacity)
        return false;
    size_t capacity = enc->capacity > 0 ? 2 * enc->capacity : SMALLEST;
    capacity = enc->size > capacity ? enc->size : capacity;
    void *block = pool__malloc_large(capacity);
    if (block == NULL) {
        fail(enc, POOL_ENOMEM);
        return false;
    }
    if (used > 0)
        memcpy(block, enc->base, used);
    pool__free(enc->base);
    enc->base = block;
    enc->capacity = capacity;
    return true;
}

/* Take n bytes; NULL where they are only counted. */
static inline unsigned char *
take(pool_enc_t *enc, size_t n)
{
    size_t at = enc->size;

    if (n > PTRDIFF_MAX - at) {
        fail(enc, POOL_ETOOBIG);
        return NULL;
    }
    enc->size = at + n;
    if (enc->size > enc->capacity && !grow(enc, at))
        return NULL;
    return enc->base + at;
}

static void
put(pool_enc_t *enc, const void *data, size_t n)
{
    if (n == 0)
        return;
    if (data == NULL) {
        fail(enc, POOL_EINVAL);
        return;
    }
    unsigned char *to = take(enc, n);
    if (to != NULL)
        memcpy(to, data, n);
}

void
pool_enc_init(pool_enc_t *enc, void *buffer, size_t capacity)
{
    enc->base = buffer;
    enc->capacity = capacity < PTRDIFF_MAX ? capacity : PTRDIFF_MAX;
    enc->size = 0;
    enc->error = 0;
    enc->growable = false;
    if (buffer == NULL && capacity > 0) {
        enc->capacity = 0;
        enc->error = POOL_EINVAL;
    }
}

void
pool_enc_init_growable(pool_enc_t *enc)
{
    pool_enc_init(enc, NULL, 0);
    enc->growable = true;
}

void
pool_enc_free(pool_enc_t *enc)
{
    if (!enc->growable)
        return;
    pool__free(enc->base);
    pool_enc_init_growable(enc);
}

int
pool_enc_finish(const pool_enc_t *enc, size_t *size)
{
    if (size != NULL)
        *size = enc->size;
    if (enc->error != 0)
        return pool__fail(
            enc->error, "pool_enc_finish: %s", pool_strerror(enc->error));
    if (enc->base != NULL && enc->size > enc->capacity)
        return pool__fail(POOL_ENOSPC,
            "pool_enc_finish: %zu bytes needed, the buffer has %zu", enc->size,
            enc->capacity);
    return 0;
}

/* The bytes of a head in its shortest form. */
static inline unsigned
head_size(uint64_t n)
{
    if (n < 24)
        return 1;
    return n <= 0xff ? 2 : n <= 0xffff ? 3 : n <= 0xffffffff ? 5 : 9;
}

/* Write a head of 1, 2, 3, 5 or 9 bytes. */
static inline unsigned char *
write_head(unsigned char *to, unsigned major, uint64_t n, unsigned size)
{
    if (size == 1) {
        *to++ = (unsigned char)(major << 5 | n);
        return to;
    }
    unsigned width = size - 1;
    unsigned info = POOL__INFO_8 + (unsigned)__builtin_ctz(width);
    *to++ = (unsigned char)(major << 5 | info);
    for (unsigned i = width; i-- > 0; n >>= 8)
        to[i] = (unsigned char)n;
    return to + width;
}

void
pool_enc_put_head(pool_enc_t *enc, unsigned major, uint64_t n)
{
    if (n >= 24 && enc->size + 9 <= enc->capacity) {
        pool__enc_long_head(enc, major, n);
        return;
    }
    unsigned size = head_size(n);
    unsigned char *to = take(enc, size);
    if (to != NULL)
        write_head(to, major, n, size);
}

/* Floats: exponent and mantissa bits of the three widths. */
struct layout {
    unsigned exponent, mantissa;
};

static const struct layout HALF = {5, 10}, SINGLE = {8, 23}, DOUBLE = {11, 52};

/* Turn the bits of a float into those of a narrower one; false where a bit
 * would be lost. */
static inline bool
narrow(uint64_t bits, struct layout from, struct layout to, uint64_t *out)
{
    uint64_t mantissa = bits & ((UINT64_C(1) << from.mantissa) - 1);
    uint64_t sign = bits >> (from.exponent + from.mantissa);
    int from_max = (1 << from.exponent) - 1;
    int to_max = (1 << to.exponent) - 1;
    int exponent = (int)(bits >> from.mantissa) & from_max;
    unsigned drop = from.mantissa - to.mantissa;

    if (exponent == from_max) {
        exponent = to_max;
    } else if (exponent != 0) {
        exponent -= from_max / 2 - to_max / 2;
        if (exponent >= to_max)
            return false;
        if (exponent <= 0) { /* subnormal there: the leading 1 is written */
            drop += (unsigned)(1 - exponent);
            mantissa |= UINT64_C(1) << from.mantissa;
            exponent = 0;
        }
    } else if (mantissa != 0) {
        return false;
    }
    if (drop > from.mantissa || (mantissa & ((UINT64_C(1) << drop) - 1)) != 0)
        return false;
    *out = (sign << to.exponent | (uint64_t)exponent) << to.mantissa |
           mantissa >> drop;
    return true;
}

static void
put_float(pool_enc_t *enc, uint64_t bits, unsigned size)
{
    unsigned char *to = take(enc, size);

    if (to != NULL)
        write_head(to, POOL__SIMPLE, bits, size);
}

static void
put_single(pool_enc_t *enc, uint64_t bits)
{
    uint64_t half;

    if (narrow(bits, SINGLE, HALF, &half))
        put_float(enc, half, 3);
    else
        put_float(enc, bits, 5);
}

/* Most halves are normal ones: an exponent of 5 bits fits, and the 42 bits that
 * a half lacks are zeros. False: it is none. */
static inline bool
put_normal_half(pool_enc_t *enc, uint64_t bits)
{
    uint64_t exponent = bits >> 52 & 0x7ff;

    if ((bits & ((UINT64_C(1) << 42) - 1)) != 0 || exponent < 1023 - 14 ||
        exponent > 1023 + 15)
        return false;
    uint64_t half = ((bits >> 42) - ((1023 - 15) << 10)) & 0x7fff;
    unsigned char *to = take(enc, 3);
    if (to == NULL)
        return true;
    to[0] = POOL__HALF;
    to[1] = (unsigned char)(bits >> 63 << 7 | half >> 8);
    to[2] = (unsigned char)half;
    return true;
}

void
pool_enc_put_double(pool_enc_t *enc, double value)
{
    uint64_t bits, single;

    memcpy(&bits, &value, sizeof bits);
    if (put_normal_half(enc, bits))
        return;
    if (narrow(bits, DOUBLE, SINGLE, &single))
        put_single(enc, single);
    else
        put_float(enc, bits, 9);
}

void
pool_enc_float(pool_enc_t *enc, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    put_single(enc, bits);
}

void
pool_enc_simple(pool_enc_t *enc, unsigned number)
{
    if (number > 0xff || (number >= 24 && number < POOL__SIMPLE_LONG))
        fail(enc, POOL_EINVAL);
    else
        pool_enc_put_head(enc, POOL__SIMPLE, number);
}

void
pool_enc_bytes(pool_enc_t *enc, const void *data, size_t size)
{
    pool_enc_head(enc, POOL__BYTES, size);
    put(enc, data, size);
}

void
pool_enc_put_text(pool_enc_t *enc, const char *data, size_t size)
{
    pool_enc_head(enc, POOL__TEXT, size);
    put(enc, data, size);
}

/* The bytes of the heads before a typed array's elements: the tag 55799, the
 * array's tag, the length. */
struct heads {
    unsigned char self, tag, length;
};

/* The fewest bytes that bring the elements to a multiple of 8: by the least
 * size of the length's head (1, 2, 3, 5, 9) and the offset modulo 8. */
static const struct heads heads_table[5][8] = {
    {{0, 3, 5}, {0, 2, 5}, {0, 3, 3}, {0, 2, 3}, {0, 2, 2}, {0, 2, 1},
        {0, 5, 5}, {3, 3, 3}},
    {{0, 3, 5}, {0, 2, 5}, {0, 3, 3}, {0, 2, 3}, {0, 2, 2}, {0, 2, 9},
        {0, 5, 5}, {3, 3, 3}},
    {{0, 3, 5}, {0, 2, 5}, {0, 3, 3}, {0, 2, 3}, {0, 3, 9}, {0, 2, 9},
        {0, 5, 5}, {3, 3, 3}},
    {{0, 3, 5}, {0, 2, 5}, {0, 5, 9}, {3, 5, 5}, {0, 3, 9}, {0, 2, 9},
        {0, 5, 5}, {3, 5, 9}},
    {{5, 2, 9}, {3, 3, 9}, {0, 5, 9}, {3, 9, 9}, {0, 3, 9}, {0, 2, 9},
        {0, 9, 9}, {3, 5, 9}},
};

static void
put_array_heads(pool_enc_t *enc, unsigned tag, uint64_t bytes)
{
    unsigned least = head_size(bytes);
    unsigned row = least < 4 ? least - 1 : least == 5 ? 3 : 4;
    struct heads heads = heads_table[row][enc->size % 8];
    unsigned char *to =
        take(enc, (size_t)heads.self + heads.tag + heads.length);

    if (to == NULL)
        return;
    if (heads.self != 0)
        to = write_head(to, POOL__TAG, POOL__TAG_SELF_DESCRIBED, heads.self);
    to = write_head(to, POOL__TAG, tag, heads.tag);
    write_head(to, POOL__BYTES, bytes, heads.length);
}

void
pool_enc_numbers(
    pool_enc_t *enc, pool_number_t type, const void *elements, size_t count)
{
    if ((unsigned)type >= POOL__NUMBER_TYPES) {
        fail(enc, POOL_EINVAL);
        return;
    }
    struct pool__number number = pool__numbers[type];
    if (count > PTRDIFF_MAX / number.width) {
        fail(enc, POOL_ETOOBIG);
        return;
    }
    put_array_heads(enc, number.tag, (uint64_t)count * number.width);
    put(enc, elements, count * number.width);
}

void
pool_enc_value(pool_enc_t *enc, const void *data, size_t size)
{
    bool numbers;

    if (data == NULL) {
        fail(enc, POOL_EINVAL);
        return;
    }
    if (!pool__is_value(data, size, &numbers)) {
        fail(enc, POOL_EFORMAT);
        return;
    }
    /* A head of three bytes reaches every residue, at the seventh at most. */
    while (numbers && (enc->size - (uintptr_t)data) % 8 != 0)
        pool_enc_head(enc, POOL__TAG, POOL__TAG_SELF_DESCRIBED);
    put(enc, data, size);
}
