/* The decoder: one item after another out of bytes that nobody vouches for.
 *
 * Invariants: start <= at <= end, and no byte outside [start, end) is read.
 * Every item that ends at or before `checked` is well-formed, so heads in
 * there need no second look. After an error at == end. No recursion and no
 * allocation; the one stack has POOL_DEPTH_MAX entries. */
#include "dec.h"

#include <inttypes.h>
#include <stdio.h>

#include "error.h"

const struct pool__number pool__numbers[] = {
#define NUMBER(type, tag, width) [type] = {(tag), (width)},
    POOL__NUMBERS(NUMBER)
#undef NUMBER
};

const char pool__mismatch[] = "not a value of the type asked for";

/* ---- Beginning and end ---- */

int
pool__dec_fail(
    pool_dec_t *dec, int code, const unsigned char *at, const char *reason)
{
    if (dec->error != 0)
        return dec->error;
    dec->error = code;
    dec->reason = reason;
    dec->offset = (size_t)(at - dec->start);
    dec->at = dec->end;
    return pool__fail(code, "pool_dec: byte %zu: %s", dec->offset, reason);
}

void
pool_dec_init(pool_dec_t *dec, const void *data, size_t size)
{
    static const unsigned char nothing[1];
    const unsigned char *start = data != NULL ? data : nothing;

    dec->start = dec->at = dec->checked = start;
    dec->end = start;
    dec->reason = NULL;
    dec->offset = 0;
    dec->max_depth = POOL_DEPTH_DEFAULT;
    dec->error = 0;
    if ((data == NULL && size > 0) || size > PTRDIFF_MAX)
        pool__dec_fail(dec, POOL_EINVAL, start, "data is NULL or too large");
    else
        dec->end = start + size;
}

int
pool_dec_set_depth(pool_dec_t *dec, unsigned max_depth)
{
    if (max_depth > POOL_DEPTH_MAX)
        return pool__fail(POOL_EINVAL,
            "pool_dec_set_depth: %u is more than POOL_DEPTH_MAX", max_depth);
    dec->max_depth = max_depth;
    return 0;
}

size_t
pool_dec_offset(const pool_dec_t *dec)
{
    return dec->error != 0 ? dec->offset : (size_t)(dec->at - dec->start);
}

int
pool_dec_finish(const pool_dec_t *dec)
{
    char found[64];

    if (dec->error != 0)
        return pool__fail(dec->error, "pool_dec_finish: byte %zu: %s",
            dec->offset, dec->reason);
    if (dec->at == dec->end)
        return 0;
    pool__dec_describe(dec, dec->at, found, sizeof found);
    return pool__fail(POOL_EFORMAT,
        "pool_dec_finish: byte %zu: expected the end of the data, found %s",
        pool_dec_offset(dec), found);
}

/* What an initial byte begins. */
static pool_item_type_t
item_type(unsigned char initial)
{
    if (initial >> 5 != POOL__SIMPLE)
        return (pool_item_type_t)(POOL_ITEM_UINT + (initial >> 5));
    switch (initial & 31) {
    case POOL__FALSE:
    case POOL__TRUE:
        return POOL_ITEM_BOOL;
    case POOL__NULL:
        return POOL_ITEM_NULL;
    case POOL__UNDEFINED:
        return POOL_ITEM_UNDEFINED;
    case POOL__INFO_16:
    case POOL__INFO_32:
    case POOL__INFO_64:
        return POOL_ITEM_FLOAT;
    case POOL__INFO_INDEFINITE:
        return POOL_ITEM_BREAK;
    default:
        return POOL_ITEM_SIMPLE;
    }
}

pool_item_type_t
pool_dec_peek(const pool_dec_t *dec)
{
    return dec->at < dec->end ? item_type(*dec->at) : POOL_ITEM_END;
}

/* Turn the bits of a half (5, 10) or a single (8, 23) into a double's. */
static inline uint64_t
widen(uint64_t bits, unsigned exponent_bits, unsigned mantissa_bits)
{
    uint64_t mantissa = bits & ((UINT64_C(1) << mantissa_bits) - 1);
    uint64_t max = (UINT64_C(1) << exponent_bits) - 1;
    uint64_t exponent = (bits >> mantissa_bits) & max;
    uint64_t sign = bits >> (exponent_bits + mantissa_bits);

    if (exponent == max) {
        exponent = 0x7ff;
    } else if (exponent != 0) {
        exponent += 1023 - max / 2;
    } else if (mantissa != 0) { /* subnormal here: its leading 1 is implied */
        unsigned shift =
            (unsigned)__builtin_clzll(mantissa) - 63 + mantissa_bits;
        mantissa = mantissa << shift & ((UINT64_C(1) << mantissa_bits) - 1);
        exponent = 1023 - max / 2 + 1 - shift;
    }
    return sign << 63 | exponent << 52 | mantissa << (52 - mantissa_bits);
}

static double
float_value(const struct pool__head *head)
{
    uint64_t bits = head->value;
    double value;

    if (head->info == POOL__INFO_16)
        bits = widen(bits, 5, 10);
    else if (head->info == POOL__INFO_32)
        bits = widen(bits, 8, 23);
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Fill in an item from a head that has been checked. */
static void
make_item(
    pool_item_t *item, const struct pool__head *head, const unsigned char *at)
{
    item->type = item_type(*at);
    item->value = head->value;
    item->data = NULL;
    item->number = 0;
    if (item->type == POOL_ITEM_BOOL)
        item->value = head->value - POOL__FALSE;
    else if (item->type == POOL_ITEM_FLOAT)
        item->number = float_value(head);
}

int
pool_dec_next(pool_dec_t *dec, pool_item_t *item)
{
    const unsigned char *at = dec->at;
    struct pool__head head = {POOL__SIMPLE, 0, 0};
    const char *why;

    item->type = POOL_ITEM_END;
    item->data = NULL;
    if (dec->error != 0 || at == dec->end)
        return dec->error;
    const unsigned char *p = pool__read_head(at, dec->end, &head, &why);
    if (p == NULL)
        return pool__dec_fail(dec, POOL_EFORMAT, at, why);
    bool deep = head.info == POOL__INFO_INDEFINITE ||
                (head.major >= POOL__ARRAY && head.major <= POOL__TAG);
    if (deep && at >= dec->checked && pool__check_item(dec) == NULL)
        return dec->error;
    make_item(item, &head, at);
    dec->at = p;
    if (item->type != POOL_ITEM_BYTES && item->type != POOL_ITEM_TEXT)
        return 0;
    if (head.info == POOL__INFO_INDEFINITE)
        return 0;
    if (head.value > (size_t)(dec->end - p)) {
        item->type = POOL_ITEM_END;
        return pool__dec_fail(dec, POOL_EFORMAT, at, pool__too_many);
    }
    item->data = p;
    dec->at = p + head.value;
    return 0;
}

/* value_head where it is not plain: an error, the end, tags 55799. */
static const unsigned char *__attribute__((noinline)) value_head_slowly(
    pool_dec_t *dec, struct pool__head *head, const unsigned char **from)
{
    const unsigned char *p = dec->at;
    const char *why = pool__truncated;

    if (dec->error != 0)
        return NULL;
    if (p == dec->end)
        why = pool__mismatch;
    do {
        *from = p;
        if (p != dec->end)
            p = pool__read_head(p, dec->end, head, &why);
        if (p == NULL || p == *from) {
            pool__dec_fail(dec, POOL_EFORMAT, *from, why);
            return NULL;
        }
    } while (
        head->major == POOL__TAG && head->value == POOL__TAG_SELF_DESCRIBED);
    return p;
}

/* Read the head of a value, after any tags 55799: one past it, or NULL. Where
 * *from is the head itself. */
static inline const unsigned char *
value_head(pool_dec_t *dec, struct pool__head *head, const unsigned char **from)
{
    const unsigned char *p = dec->at;
    const char *why;

    *from = p;
    if (p < dec->end && *p >> 5 != POOL__TAG) {
        p = pool__read_head(p, dec->end, head, &why);
        if (p != NULL)
            return p;
    }
    return value_head_slowly(dec, head, from);
}

static int
mismatch(pool_dec_t *dec, const unsigned char *at)
{
    return pool__dec_fail(dec, POOL_EFORMAT, at, pool__mismatch);
}

int
pool_dec_get_int(pool_dec_t *dec, int64_t *value)
{
    const unsigned char *from, *p;
    struct pool__head head;

    p = value_head(dec, &head, &from);
    if (p == NULL)
        return dec->error;
    if (head.major > POOL__NINT || head.value > INT64_MAX)
        return mismatch(dec, from);
    *value = (int64_t)(head.major == POOL__UINT ? head.value : ~head.value);
    dec->at = p;
    return 0;
}

int
pool_dec_get_uint(pool_dec_t *dec, uint64_t *value)
{
    const unsigned char *from, *p;
    struct pool__head head;

    p = value_head(dec, &head, &from);
    if (p == NULL)
        return dec->error;
    if (head.major != POOL__UINT)
        return mismatch(dec, from);
    *value = head.value;
    dec->at = p;
    return 0;
}

int
pool_dec_get_double(pool_dec_t *dec, double *value)
{
    const unsigned char *from = dec->at, *p;
    struct pool__head head;

    if (dec->end - from >= 3 && *from == POOL__HALF) {
        uint64_t bits = widen(pool__read_big_endian(from + 1, 2), 5, 10);
        memcpy(value, &bits, sizeof bits);
        dec->at = from + 3;
        return 0;
    }
    p = value_head(dec, &head, &from);
    if (p == NULL)
        return dec->error;
    if (item_type(*from) != POOL_ITEM_FLOAT)
        return mismatch(dec, from);
    *value = float_value(&head);
    dec->at = p;
    return 0;
}

int
pool_dec_get_bool(pool_dec_t *dec, bool *value)
{
    const unsigned char *from, *p;
    struct pool__head head;

    p = value_head(dec, &head, &from);
    if (p == NULL)
        return dec->error;
    if (item_type(*from) != POOL_ITEM_BOOL)
        return mismatch(dec, from);
    *value = head.value == POOL__TRUE;
    dec->at = p;
    return 0;
}

static int
get_string(
    pool_dec_t *dec, unsigned major, const unsigned char **data, size_t *size)
{
    const unsigned char *from, *p;
    struct pool__head head;

    p = value_head(dec, &head, &from);
    if (p == NULL)
        return dec->error;
    if (head.major != major)
        return mismatch(dec, from);
    if (head.info == POOL__INFO_INDEFINITE)
        return pool__dec_fail(dec, POOL_EFORMAT, from,
            "a string in chunks cannot be read in place");
    if (head.value > (size_t)(dec->end - p))
        return pool__dec_fail(dec, POOL_EFORMAT, from, pool__too_many);
    *data = p;
    *size = (size_t)head.value;
    dec->at = p + head.value;
    return 0;
}

int
pool_dec_bytes(pool_dec_t *dec, const void **data, size_t *size)
{
    const unsigned char *bytes;
    int rc = get_string(dec, POOL__BYTES, &bytes, size);

    if (rc == 0)
        *data = bytes;
    return rc;
}

int
pool_dec_get_text(pool_dec_t *dec, const char **data, size_t *size)
{
    const unsigned char *bytes;
    int rc = get_string(dec, POOL__TEXT, &bytes, size);

    if (rc == 0)
        *data = (const char *)bytes;
    return rc;
}

/* enter where more than the first bytes of the items must be looked at. */
static int __attribute__((noinline))
enter_slowly(pool_dec_t *dec, unsigned major, uint64_t *count)
{
    const unsigned char *from, *p;
    struct pool__head head;

    p = value_head(dec, &head, &from);
    if (p == NULL)
        return dec->error;
    if (head.major != major)
        return mismatch(dec, from);
    if (from >= dec->checked && pool__check_item(dec) == NULL)
        return dec->error;
    *count = head.value;
    dec->at = p;
    return 0;
}

/* Enter a container; it is checked whole, unless it lies in one that was. A
 * short one of plain items, as records are, needs no walk with a stack. */
static inline int
enter(pool_dec_t *dec, unsigned major, uint64_t *count)
{
    const unsigned char *at = dec->at;

    if (at < dec->end && at >= dec->checked && dec->max_depth > 0 &&
        (*at ^ major << 5) < POOL__INFO_8) {
        unsigned n = *at & 31;
        const unsigned char *p = at + 1;
        if (pool__walk_plain(&p, dec->end, n << (major == POOL__MAP)) == 0) {
            dec->checked = p;
            dec->at = at + 1;
            *count = n;
            return 0;
        }
    }
    return enter_slowly(dec, major, count);
}

int
pool_dec_get_array(pool_dec_t *dec, uint64_t *count)
{
    return enter(dec, POOL__ARRAY, count);
}

int
pool_dec_map(pool_dec_t *dec, uint64_t *count)
{
    return enter(dec, POOL__MAP, count);
}

bool
pool_dec_break(pool_dec_t *dec)
{
    if (dec->at >= dec->checked || *dec->at != POOL__BREAK)
        return false;
    dec->at++;
    return true;
}

int
pool_dec_numbers(
    pool_dec_t *dec, pool_number_t type, const void **elements, size_t *count)
{
    const unsigned char *from, *p, *data;
    struct pool__head head;
    size_t size;

    if ((unsigned)type >= POOL__NUMBER_TYPES)
        return pool__fail(POOL_EINVAL, "pool_dec_numbers: no such type");
    struct pool__number number = pool__numbers[type];
    p = value_head(dec, &head, &from);
    if (p == NULL)
        return dec->error;
    if (head.major != POOL__TAG || head.value != number.tag)
        return mismatch(dec, from);
    dec->at = p;
    int rc = get_string(dec, POOL__BYTES, &data, &size);
    if (rc < 0)
        return rc;
    if (size % number.width != 0)
        return pool__dec_fail(dec, POOL_EFORMAT, from,
            "a typed array that is not a whole number of elements");
    if (size > 0 && (uintptr_t)data % number.width != 0)
        return pool__dec_fail(dec, POOL_EFORMAT, from,
            "a typed array that is not aligned for its elements in memory");
    *elements = data;
    *count = size / number.width;
    return 0;
}

int
pool_dec_value(pool_dec_t *dec, const void **data, size_t *size)
{
    const unsigned char *from, *p;
    struct pool__head head;

    if (value_head(dec, &head, &from) == NULL)
        return dec->error;
    dec->at = from;
    p = pool__check_item(dec);
    if (p == NULL)
        return dec->error;
    if (data != NULL)
        *data = from;
    if (size != NULL)
        *size = (size_t)(p - from);
    dec->at = p;
    return 0;
}

void
pool__dec_describe(
    const pool_dec_t *dec, const unsigned char *at, char *text, size_t size)
{
    static const char *const names[] = {"the end of the data", "", "", "bytes",
        "text", "an array", "a map", "tag", "a bool", "null", "undefined",
        "a simple value", "a float", "a break"};
    struct pool__head head = {POOL__SIMPLE, 0, 0};
    const char *why;
    pool_item_type_t type = at < dec->end ? item_type(*at) : POOL_ITEM_END;

    if (at < dec->end && pool__read_head(at, dec->end, &head, &why) == NULL)
        snprintf(text, size, "%s", why);
    else if (type == POOL_ITEM_UINT)
        snprintf(text, size, "integer %" PRIu64, head.value);
    else if (type == POOL_ITEM_NINT && head.value < UINT64_MAX)
        snprintf(text, size, "integer -%" PRIu64, head.value + 1);
    else if (type == POOL_ITEM_NINT)
        snprintf(text, size, "integer -18446744073709551616");
    else if (type == POOL_ITEM_TAG)
        snprintf(text, size, "tag %" PRIu64, head.value);
    else
        snprintf(text, size, "%s", names[type]);
}
