/* The format front: pool_encode and pool_decode.
 *
 * Invariants: every code consumes the same arguments whether or not its value
 * is good, and the first bad one ends the call; messages count arguments from
 * 1, an array with its size as one. */
#include <stdio.h>

#include "dec.h"
#include "error.h"

/* A va_list that can be handed on by address. */
struct args {
    va_list list;
};

static bool
number_type(char code, pool_number_t *type)
{
    switch (code) {
    case 'i':
        *type = POOL_I32;
        return true;
    case 'u':
        *type = POOL_U32;
        return true;
    case 'x':
        *type = POOL_I64;
        return true;
    case 't':
        *type = POOL_U64;
        return true;
    case 'd':
        *type = POOL_F64;
        return true;
    default:
        return false;
    }
}

/* Why FORMAT, from the code at fault on, is none. */
static int
bad_format(const char *function, unsigned position, const char *code)
{
    char shown = *code >= ' ' && *code <= '~' ? *code : '?';

    if (*code == '\0')
        return pool__fail(POOL_EINVAL,
            "%s: argument %u: the format ends after 'a'", function, position);
    return pool__fail(POOL_EINVAL,
        "%s: argument %u: the format has an unknown code '%c'", function,
        position, shown);
}

/* ---- Encode ---- */

static void
put_string(pool_enc_t *enc, const char *s, const char **why)
{
    if (s == NULL) {
        enc->error = POOL_EINVAL;
        *why = "a NULL string";
        return;
    }
    size_t size = strlen(s);
    if (pool_check_utf8(s, size) < 0) {
        enc->error = POOL_EFORMAT;
        *why = "a string that is not UTF-8";
        return;
    }
    pool_enc_text(enc, s, size + 1);
}

/* What follows 'a': bytes or numbers. False where the code is neither. */
static bool
put_array(pool_enc_t *enc, char code, struct args *args)
{
    pool_number_t type = POOL_U8;

    if (code != 'y' && !number_type(code, &type))
        return false;
    const void *data = va_arg(args->list, const void *);
    size_t count = va_arg(args->list, size_t);
    if (code == 'y')
        pool_enc_bytes(enc, data, count);
    else
        pool_enc_numbers(enc, type, data, count);
    return true;
}

static void
put_value(pool_enc_t *enc, struct args *args, const char **why)
{
    const void *data = va_arg(args->list, const void *);
    size_t size = va_arg(args->list, size_t);

    pool_enc_value(enc, data, size);
    if (enc->error == POOL_EFORMAT)
        *why = "a value that is not exactly one well-formed item";
}

/* Append the value of the code at *format, which moves past it. False where
 * it is no code. */
static inline bool
put(pool_enc_t *enc, const char **format, struct args *args, const char **why)
{
    switch (*(*format)++) {
    case 'b':
        pool_enc_bool(enc, va_arg(args->list, int) != 0);
        return true;
    case 'i':
        pool_enc_int(enc, va_arg(args->list, int32_t));
        return true;
    case 'u':
        pool_enc_uint(enc, va_arg(args->list, uint32_t));
        return true;
    case 'x':
        pool_enc_int(enc, va_arg(args->list, int64_t));
        return true;
    case 't':
        pool_enc_uint(enc, va_arg(args->list, uint64_t));
        return true;
    case 'd':
        pool_enc_double(enc, va_arg(args->list, double));
        return true;
    case 's':
        put_string(enc, va_arg(args->list, const char *), why);
        return true;
    case 'v':
        put_value(enc, args, why);
        return true;
    case 'a':
        if (put_array(enc, **format, args)) {
            ++*format;
            return true;
        }
        return false;
    default:
        --*format;
        return false;
    }
}

int
pool_vencode(pool_enc_t *enc, const char *format, va_list list)
{
    const char *why = "an argument that is NULL or too large";
    struct args args;
    unsigned position = 0;

    if (format == NULL || enc->error != 0) {
        if (enc->error == 0)
            enc->error = POOL_EINVAL;
        return pool__fail(enc->error, "pool_encode: %s",
            format == NULL ? "the format is NULL" : "the encoder has failed");
    }
    va_copy(args.list, list);
    while (enc->error == 0 && *format != '\0') {
        position++;
        if (!put(enc, &format, &args, &why)) {
            enc->error = bad_format("pool_encode", position, format);
            why = NULL;
        }
    }
    va_end(args.list);
    if (enc->error != 0 && why != NULL)
        pool__fail(enc->error, "pool_encode: argument %u: %s", position,
            enc->error == POOL_ENOMEM ? "no memory" : why);
    return enc->error;
}

int
pool_encode(
    void *buffer, size_t capacity, size_t *size, const char *format, ...)
{
    pool_enc_t enc;
    va_list args;

    pool_enc_init(&enc, buffer, capacity);
    if (enc.error != 0)
        return pool__fail(
            enc.error, "pool_encode: the buffer is NULL but has a capacity");
    va_start(args, format);
    int rc = pool_vencode(&enc, format, args);
    va_end(args);
    if (rc < 0)
        return rc;
    if (size != NULL)
        *size = enc.size;
    if (buffer != NULL && enc.size > enc.capacity)
        return pool__fail(POOL_ENOSPC,
            "pool_encode: %zu bytes needed, the buffer has %zu", enc.size,
            capacity);
    return 0;
}

/* ---- Decode ---- */

/* Every getter below returns 0 or the cursor's error; a value of the right
 * kind that the code does not hold is refused here. */
static int
out_of_range(pool_dec_t *dec, const unsigned char *at)
{
    return pool__dec_fail(dec, POOL_EFORMAT, at, pool__mismatch);
}

static inline int
get_int32(pool_dec_t *dec, int32_t *out)
{
    const unsigned char *at = dec->at;
    int64_t n;
    int rc = pool_dec_int(dec, &n);

    if (rc < 0)
        return rc;
    if (n < INT32_MIN || n > INT32_MAX)
        return out_of_range(dec, at);
    if (out != NULL)
        *out = (int32_t)n;
    return 0;
}

static inline int
get_uint32(pool_dec_t *dec, uint32_t *out)
{
    const unsigned char *at = dec->at;
    uint64_t n;
    int rc = pool_dec_uint(dec, &n);

    if (rc < 0)
        return rc;
    if (n > UINT32_MAX)
        return out_of_range(dec, at);
    if (out != NULL)
        *out = (uint32_t)n;
    return 0;
}

static int
get_string(pool_dec_t *dec, const char **out)
{
    const unsigned char *at = dec->at;
    const char *text;
    size_t size;
    int rc = pool_dec_text(dec, &text, &size);

    if (rc < 0)
        return rc;
    if (size == 0 || text[size - 1] != '\0')
        return pool__dec_fail(dec, POOL_EFORMAT, at,
            "expected string (s), found text that does not end in U+0000; "
            "append it, or read it with pool_dec_text");
    if (memchr(text, '\0', size - 1) != NULL)
        return pool__dec_fail(dec, POOL_EFORMAT, at,
            "expected string (s), found text with a U+0000 inside");
    if (pool_check_utf8(text, size - 1) < 0)
        return pool__dec_fail(dec, POOL_EFORMAT, at,
            "expected string (s), found text that is not UTF-8");
    if (out != NULL)
        *out = text;
    return 0;
}

/* What hands out a pointer and a size: bytes, a value or an array. */
static int
get_sized(pool_dec_t *dec, char code, struct args *args)
{
    const void **out = va_arg(args->list, const void **);
    size_t *out_size = va_arg(args->list, size_t *);
    pool_number_t type = POOL_U8;
    const void *data;
    size_t size;
    int rc;

    if (code == 'v')
        rc = pool_dec_value(dec, &data, &size);
    else if (number_type(code, &type))
        rc = pool_dec_numbers(dec, type, &data, &size);
    else
        rc = pool_dec_bytes(dec, &data, &size);
    if (rc < 0)
        return rc;
    if (out != NULL)
        *out = data;
    if (out_size != NULL)
        *out_size = size;
    return 0;
}

static inline int
get_int64(pool_dec_t *dec, int64_t *out)
{
    int64_t n;

    return pool_dec_int(dec, out != NULL ? out : &n);
}

static inline int
get_uint64(pool_dec_t *dec, uint64_t *out)
{
    uint64_t n;

    return pool_dec_uint(dec, out != NULL ? out : &n);
}

static inline int
get_double(pool_dec_t *dec, double *out)
{
    double x;

    return pool_dec_double(dec, out != NULL ? out : &x);
}

static inline int
get_bool(pool_dec_t *dec, bool *out)
{
    bool b;

    return pool_dec_bool(dec, out != NULL ? out : &b);
}

/* Read the value of the code at *format, which moves past it. Returns 1 where
 * it is no code. */
static inline int
get(pool_dec_t *dec, const char **format, struct args *args)
{
    pool_number_t type;
    char element;

    switch (*(*format)++) {
    case 'b':
        return get_bool(dec, va_arg(args->list, bool *));
    case 'i':
        return get_int32(dec, va_arg(args->list, int32_t *));
    case 'u':
        return get_uint32(dec, va_arg(args->list, uint32_t *));
    case 'x':
        return get_int64(dec, va_arg(args->list, int64_t *));
    case 't':
        return get_uint64(dec, va_arg(args->list, uint64_t *));
    case 'd':
        return get_double(dec, va_arg(args->list, double *));
    case 's':
        return get_string(dec, va_arg(args->list, const char **));
    case 'v':
        return get_sized(dec, 'v', args);
    case 'a':
        element = **format;
        if (element != 'y' && !number_type(element, &type))
            return 1;
        ++*format;
        return get_sized(dec, element, args);
    default:
        --*format;
        return 1;
    }
}

/* What the code at CODE asks for, in words. */
static const char *
expected(const char *code)
{
    static const char *const words[][2] = {{"b", "bool (b)"},
        {"i", "int32 (i)"}, {"u", "uint32 (u)"}, {"x", "int64 (x)"},
        {"t", "uint64 (t)"}, {"d", "double (d)"}, {"s", "string (s)"},
        {"v", "a value (v)"}, {"ay", "bytes (ay)"},
        {"ai", "an array of int32 (ai)"}, {"au", "an array of uint32 (au)"},
        {"ax", "an array of int64 (ax)"}, {"at", "an array of uint64 (at)"},
        {"ad", "an array of double (ad)"}};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strncmp(code, words[i][0], strlen(words[i][0])) == 0)
            return words[i][1];
    return "a value";
}

/* Put the cursor's error into the words of the format. */
static int __attribute__((cold))
explain(const pool_dec_t *dec, unsigned position, const char *code)
{
    char found[64];

    if (dec->reason != pool__mismatch)
        return pool__fail(dec->error, "pool_decode: argument %u, byte %zu: %s",
            position, dec->offset, dec->reason);
    pool__dec_describe(dec, dec->start + dec->offset, found, sizeof found);
    return pool__fail(dec->error,
        "pool_decode: argument %u, byte %zu: expected %s, found %s", position,
        dec->offset, expected(code), found);
}

int
pool_vdecode(pool_dec_t *dec, const char *format, va_list list)
{
    struct args args;
    unsigned position = 0;
    const char *code = format;
    int rc = 0;

    if (format == NULL || dec->error != 0)
        return pool__fail(dec->error != 0 ? dec->error : POOL_EINVAL,
            "pool_decode: %s",
            format == NULL ? "the format is NULL" : dec->reason);
    va_copy(args.list, list);
    while (rc == 0 && *format != '\0') {
        position++;
        code = format;
        rc = get(dec, &format, &args);
    }
    va_end(args.list);
    if (rc < 0)
        return explain(dec, position, code);
    if (rc > 0) {
        pool__dec_fail(dec, POOL_EINVAL, dec->at, "the format is wrong");
        return bad_format("pool_decode", position, format);
    }
    return 0;
}

int
pool_decode(const void *data, size_t size, const char *format, ...)
{
    pool_dec_t dec;
    va_list args;

    pool_dec_init(&dec, data, size);
    va_start(args, format);
    int rc = pool_vdecode(&dec, format, args);
    va_end(args);
    return rc < 0 ? rc : pool_dec_finish(&dec);
}
