/* The inline parts of forkpool_codec.h, which includes this: the common forms
 * of the common items. Everything else, errors too, is out of line. */
#ifndef FORKPOOL_CODEC_INLINE_H
#define FORKPOOL_CODEC_INLINE_H

static inline uint64_t
pool__big_endian(uint64_t n)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return __builtin_bswap64(n);
#else
    return n;
#endif
}

static inline const void *
pool_enc_data(const pool_enc_t *enc)
{
    return enc->base;
}

static inline void
pool_enc_clear(pool_enc_t *enc)
{
    enc->size = 0;
    enc->error = 0;
}

/* A head of two bytes or more where there is room for the longest: written
 * whole, without a branch on the width; size moves on by the shortest form's
 * bytes. */
static inline void
pool__enc_long_head(pool_enc_t *enc, unsigned major, uint64_t n)
{
    unsigned char *to = enc->base + enc->size;
    unsigned log = (n > 0xff ? 1u : 0u) + (n > 0xffff ? 1u : 0u) +
                   (n > 0xffffffff ? 1u : 0u);
    uint64_t wire = pool__big_endian(n << (64 - (8u << log)));

    to[0] = (unsigned char)(major << 5 | (24 + log));
    memcpy(to + 1, &wire, sizeof wire);
    enc->size += 1 + (1u << log);
}

static inline void
pool_enc_head(pool_enc_t *enc, unsigned major, uint64_t n)
{
    if (n < 24 && enc->size < enc->capacity)
        enc->base[enc->size++] = (unsigned char)(major << 5 | n);
    else
        pool_enc_put_head(enc, major, n);
}

static inline void
pool_enc_uint(pool_enc_t *enc, uint64_t n)
{
    if (n >= 24 && enc->size + 9 <= enc->capacity)
        pool__enc_long_head(enc, 0, n);
    else
        pool_enc_head(enc, 0, n);
}

static inline void
pool_enc_nint(pool_enc_t *enc, uint64_t n)
{
    pool_enc_head(enc, 1, n);
}

static inline void
pool_enc_int(pool_enc_t *enc, int64_t n)
{
    unsigned major = n < 0;
    uint64_t value = n < 0 ? ~(uint64_t)n : (uint64_t)n;

    if (value >= 24 && enc->size + 9 <= enc->capacity)
        pool__enc_long_head(enc, major, value);
    else
        pool_enc_head(enc, major, value);
}

/* A float of 9 or 5 bytes, its bits at the upper end of the word, where there
 * is room for 9. */
static inline void
pool__enc_float(pool_enc_t *enc, unsigned first, uint64_t bits, size_t bytes)
{
    unsigned char *to = enc->base + enc->size;
    uint64_t wire = pool__big_endian(bits);

    to[0] = (unsigned char)first;
    memcpy(to + 1, &wire, sizeof wire);
    enc->size += bytes;
}

static inline void
pool_enc_double(pool_enc_t *enc, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    uint64_t exponent = bits >> 52 & 0x7ff;
    if (enc->size + 9 > enc->capacity) {
        pool_enc_put_double(enc, value);
    } else if ((bits & 0x1fffffff) != 0) {
        /* One of the 29 bits that a single lacks. */
        pool__enc_float(enc, 0xfb, bits, 9);
    } else if ((bits & 0x3ffffffffff) != 0 && exponent > 1023 - 127 &&
               exponent <= 1023 + 127) {
        /* One of the 42 that a half lacks, and a normal single. */
        uint64_t single = (bits - ((uint64_t)(1023 - 127) << 52)) << 3;
        pool__enc_float(enc, 0xfa, single | (bits & UINT64_C(1) << 63), 5);
    } else {
        pool_enc_put_double(enc, value);
    }
}

static inline void
pool_enc_bool(pool_enc_t *enc, bool value)
{
    pool_enc_head(enc, 7, value ? 21 : 20);
}

static inline void
pool_enc_null(pool_enc_t *enc)
{
    pool_enc_head(enc, 7, 22);
}

static inline void
pool_enc_undefined(pool_enc_t *enc)
{
    pool_enc_head(enc, 7, 23);
}

static inline void
pool_enc_text(pool_enc_t *enc, const char *data, size_t size)
{
    /* The sum cannot wrap: neither is above PTRDIFF_MAX. */
    if (size < 24 && enc->size + 1 + size <= enc->capacity && data != NULL) {
        unsigned char *to = enc->base + enc->size;
        to[0] = (unsigned char)(3 << 5 | size);
        memcpy(to + 1, data, size);
        enc->size += 1 + size;
    } else {
        pool_enc_put_text(enc, data, size);
    }
}

static inline void
pool_enc_array(pool_enc_t *enc, uint64_t count)
{
    pool_enc_head(enc, 4, count);
}

static inline void
pool_enc_map(pool_enc_t *enc, uint64_t count)
{
    pool_enc_head(enc, 5, count);
}

static inline void
pool_enc_tag(pool_enc_t *enc, uint64_t number)
{
    pool_enc_head(enc, 6, number);
}

/* After an error at == end, and checked is never more: then the short ways
 * below are closed. */

/* The argument of 1, 2, 4 or 8 bytes of the head at `at` whose additional
 * information is info, 24 to 27. Nine bytes are read. */
static inline uint64_t
pool__dec_argument(const unsigned char *at, unsigned info)
{
    uint64_t wire;

    memcpy(&wire, at + 1, sizeof wire);
    return pool__big_endian(wire) >> (64 - (8u << (info - 24)));
}

static inline int
pool_dec_int(pool_dec_t *dec, int64_t *value)
{
    const unsigned char *at = dec->at;

    if (at < dec->end) {
        unsigned info = *at & 0xdfu; /* of either sign; above 31: no integer */
        uint64_t sign = *at & 0x20 ? UINT64_MAX : 0;
        if (info < 24) {
            *value = (int64_t)(info ^ sign);
            dec->at = at + 1;
            return 0;
        }
        if (info < 28 && dec->end - at >= 9) {
            uint64_t n = pool__dec_argument(at, info);
            if (n <= INT64_MAX) {
                *value = (int64_t)(n ^ sign);
                dec->at = at + 1 + (1u << (info - 24));
                return 0;
            }
        }
    }
    return pool_dec_get_int(dec, value);
}

static inline int
pool_dec_uint(pool_dec_t *dec, uint64_t *value)
{
    const unsigned char *at = dec->at;

    if (at < dec->end) {
        unsigned info = *at;
        if (info < 24) {
            *value = info;
            dec->at = at + 1;
            return 0;
        }
        if (info < 28 && dec->end - at >= 9) {
            *value = pool__dec_argument(at, info);
            dec->at = at + 1 + (1u << (info - 24));
            return 0;
        }
    }
    return pool_dec_get_uint(dec, value);
}

/* The bits of the double that a single is, unless it is subnormal, infinite or
 * a NaN. The single's are the upper half of bits. */
static inline bool
pool__dec_single(uint64_t bits, uint64_t *out)
{
    uint64_t exponent = bits >> 55 & 0xff;

    *out = (bits & UINT64_C(1) << 63) |
           ((bits >> 3 & UINT64_C(0x0fffffffe0000000)) +
               ((uint64_t)(1023 - 127) << 52));
    return exponent != 0 && exponent != 0xff;
}

/* A branch for each width: where it is foreseen, the next item need not wait
 * for this one's first byte. */
static inline int
pool_dec_double(pool_dec_t *dec, double *value)
{
    const unsigned char *at = dec->at;

    if (dec->end - at >= 9) {
        uint64_t bits = pool__dec_argument(at, 27);
        if (*at == 0xfb) {
            memcpy(value, &bits, sizeof *value);
            dec->at = at + 9;
            return 0;
        }
        if (*at == 0xfa && pool__dec_single(bits, &bits)) {
            memcpy(value, &bits, sizeof *value);
            dec->at = at + 5;
            return 0;
        }
    }
    return pool_dec_get_double(dec, value);
}

static inline int
pool_dec_bool(pool_dec_t *dec, bool *value)
{
    const unsigned char *at = dec->at;

    if (at < dec->end && (*at | 1) == 0xf5) {
        *value = *at & 1;
        dec->at = at + 1;
        return 0;
    }
    return pool_dec_get_bool(dec, value);
}

static inline int
pool_dec_text(pool_dec_t *dec, const char **data, size_t *size)
{
    const unsigned char *at = dec->at;

    if (at < dec->end && (*at ^ 0x60u) < 24 && (*at & 31) < dec->end - at) {
        *data = (const char *)at + 1;
        *size = *at & 31;
        dec->at = at + 1 + (*at & 31);
        return 0;
    }
    return pool_dec_get_text(dec, data, size);
}

static inline int
pool_dec_array(pool_dec_t *dec, uint64_t *count)
{
    const unsigned char *at = dec->at;

    if (at < dec->checked && (*at ^ 0x80u) < 24) {
        *count = *at & 31;
        dec->at = at + 1;
        return 0;
    }
    return pool_dec_get_array(dec, count);
}

static inline int
pool_dec_skip(pool_dec_t *dec)
{
    return pool_dec_value(dec, NULL, NULL);
}

#endif
