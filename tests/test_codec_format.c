/* The format front: every code there and back, its range edges, every
 * mismatch by its message, formats that lie, and buffers of every size. */
#include <limits.h>
#include <math.h>

#include "codec_check.h"
#include "forkpool_codec.h"

static unsigned char buffer[512] __attribute__((aligned(8)));

/* Decode one hexadecimal payload, from an exact block, as a format without
 * out-pointers; the code, and the message in pool_errmsg. */
static int
decode_hex(const char *hex, const char *format)
{
    unsigned char bytes[256];
    size_t size = unhex(hex, bytes);
    unsigned char *data = exact_copy(bytes, size);
    int rc = pool_decode(
        data, size, format, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

    free(data);
    return rc;
}

/* ---- There and back ---- */

static const int32_t ints[] = {INT32_MIN, -1, 0, INT32_MAX};
static const uint32_t uints[] = {0, 1, UINT32_MAX};
static const int64_t longs[] = {INT64_MIN, 5, INT64_MAX};
static const uint64_t ulongs[] = {0, UINT64_MAX};
static const double doubles[] = {0.5, -1e300, 1.0 / 3};

#define FORMAT "biuxtdsayaiauaxatadvs"
#define ARGUMENTS                                                              \
    true, INT32_MIN, UINT32_MAX, INT64_MIN, UINT64_MAX, 0.1, "caf\u00e9",      \
        "\0\1\2", (size_t)3, ints, COUNT(ints), uints, COUNT(uints), longs,    \
        COUNT(longs), ulongs, COUNT(ulongs), doubles, COUNT(doubles),          \
        "\x82\x01\x02", (size_t)3, ""

START_TEST(test_every_code)
{
    size_t size, counted, bytes_size, value_size, n[5];
    const void *bytes, *value;
    const int32_t *i32;
    const uint32_t *u32;
    const int64_t *i64;
    const uint64_t *u64;
    const double *f64;
    const char *text, *empty;
    bool b;
    int32_t i;
    uint32_t u;
    int64_t x;
    uint64_t t;
    double d;

    ck_assert_int_eq(
        pool_encode(buffer, sizeof buffer, &size, FORMAT, ARGUMENTS), 0);
    ck_assert_int_eq(pool_encode(NULL, 0, &counted, FORMAT, ARGUMENTS), 0);
    ck_assert_uint_eq(size, counted);
    ck_assert_int_eq(pool_check(buffer, size, 0, NULL), 0);
    for (int again = 0; again < 2; again++) {
        unsigned char *data = exact_copy(buffer, size);
        ck_assert_msg(
            pool_decode(data, size, FORMAT, &b, &i, &u, &x, &t, &d, &text,
                &bytes, &bytes_size, &i32, &n[0], &u32, &n[1], &i64, &n[2],
                &u64, &n[3], &f64, &n[4], &value, &value_size, &empty) == 0,
            "%s", pool_errmsg());
        ck_assert(b);
        ck_assert_int_eq(i, INT32_MIN);
        ck_assert_uint_eq(u, UINT32_MAX);
        ck_assert_int_eq(x, INT64_MIN);
        ck_assert_uint_eq(t, UINT64_MAX);
        ck_assert(d == 0.1);
        ck_assert_str_eq(text, "caf\u00e9");
        ck_assert_uint_eq(bytes_size, 3);
        ck_assert_mem_eq(bytes, "\0\1\2", 3);
        ck_assert_uint_eq(n[0], COUNT(ints));
        ck_assert_mem_eq(i32, ints, sizeof ints);
        ck_assert_uint_eq(n[1], COUNT(uints));
        ck_assert_mem_eq(u32, uints, sizeof uints);
        ck_assert_uint_eq(n[2], COUNT(longs));
        ck_assert_mem_eq(i64, longs, sizeof longs);
        ck_assert_uint_eq(n[3], COUNT(ulongs));
        ck_assert_mem_eq(u64, ulongs, sizeof ulongs);
        ck_assert_uint_eq(n[4], COUNT(doubles));
        ck_assert_mem_eq(f64, doubles, sizeof doubles);
        ck_assert_uint_eq(value_size, 3);
        ck_assert_mem_eq(value, "\x82\x01\x02", 3);
        ck_assert_str_eq(empty, "");
        free(data);
    }
}
END_TEST

/* What single values look like on the wire. */
START_TEST(test_wire)
{
    static const struct {
        const char *code;
        double number; /* the argument, as the code has it */
        const char *hex;
    } rows[] = {{"b", 0, "f4"}, {"b", 1, "f5"}, {"b", 7, "f5"}, {"i", 0, "00"},
        {"i", -1, "20"}, {"i", 23, "17"}, {"i", 24, "1818"}, {"i", -25, "3818"},
        {"i", 255, "18ff"}, {"i", 256, "190100"}, {"i", 65536, "1a00010000"},
        {"i", INT32_MIN, "3a7fffffff"}, {"u", UINT32_MAX, "1affffffff"},
        {"x", 4294967296.0, "1b0000000100000000"},
        {"x", -9223372036854775808.0, "3b7fffffffffffffff"},
        {"t", 9223372036854775808.0, "1b8000000000000000"}, {"d", 0, "f90000"},
        {"d", 1e5, "fa47c35000"}, {"d", 0.1, "fb3fb999999999999a"}};

    for (size_t r = 0; r < COUNT(rows); r++) {
        unsigned char bytes[16];
        size_t size, n = unhex(rows[r].hex, bytes);
        double x = rows[r].number;
        const char *code = rows[r].code;
        int rc =
            *code == 'd'   ? pool_encode(buffer, 64, &size, code, x)
            : *code == 't' ? pool_encode(buffer, 64, &size, code, (uint64_t)x)
            : *code == 'x' ? pool_encode(buffer, 64, &size, code, (int64_t)x)
            : *code == 'u' ? pool_encode(buffer, 64, &size, code, (uint32_t)x)
                           : pool_encode(buffer, 64, &size, code, (int)x);
        ck_assert_int_eq(rc, 0);
        ck_assert_uint_eq(size, n);
        ck_assert_mem_eq(buffer, bytes, n);
    }
}
END_TEST

/* A string is one text that ends in its NUL. */
START_TEST(test_string_wire)
{
    size_t size;

    ck_assert_int_eq(pool_encode(buffer, 64, &size, "s", "ab"), 0);
    ck_assert_uint_eq(size, 4);
    ck_assert_mem_eq(buffer, "\x63\x61\x62\x00", 4);
}
END_TEST

/* Self-described CBOR before any value is skipped, longer heads taken too. */
START_TEST(test_self_described)
{
    static const struct {
        const char *code, *hex;
    } rows[] = {{"b", "f5"}, {"i", "20"}, {"u", "01"}, {"x", "1901ff"},
        {"t", "1900ff"}, {"d", "f93c00"}, {"s", "626100"}, {"ay", "4101"},
        {"ai", "d84e40"}, {"v", "8101"}};
    static const char *const tags[] = {
        "d9d9f7", "d9d9f7d9d9f7", "da0000d9f7", "db000000000000d9f7"};
    char hex[64];

    for (size_t r = 0; r < COUNT(rows); r++) {
        for (size_t t = 0; t < COUNT(tags); t++) {
            snprintf(hex, sizeof hex, "%s%s", tags[t], rows[r].hex);
            ck_assert_msg(
                decode_hex(hex, rows[r].code) == 0, "%s", pool_errmsg());
        }
        snprintf(hex, sizeof hex, "d9d9f6%s", rows[r].hex);
        ck_assert_int_eq(decode_hex(hex, rows[r].code),
            *rows[r].code == 'v' ? 0 : POOL_EFORMAT);
    }
}
END_TEST

/* ---- Ranges ---- */

START_TEST(test_ranges)
{
    static const struct {
        const char *hex;
        const char *fits; /* of "iuxt" */
    } rows[] = {{"00", "iuxt"}, {"20", "ix"}, {"1b0000000000000001", "iuxt"},
        {"1a7fffffff", "iuxt"}, {"1a80000000", "uxt"}, {"1affffffff", "uxt"},
        {"1b0000000100000000", "xt"}, {"3a7fffffff", "ix"}, {"3a80000000", "x"},
        {"1b7fffffffffffffff", "xt"}, {"1b8000000000000000", "t"},
        {"1bffffffffffffffff", "t"}, {"3b7fffffffffffffff", "x"},
        {"3b8000000000000000", ""}, {"3bffffffffffffffff", ""},
        {"3b0000000000000000", "ix"}};

    for (size_t r = 0; r < COUNT(rows); r++)
        for (const char *code = "iuxtdbs"; *code != '\0'; code++) {
            const char format[] = {*code, '\0'};
            bool fits = strchr(rows[r].fits, *code) != NULL;
            ck_assert_msg(
                decode_hex(rows[r].hex, format) == (fits ? 0 : POOL_EFORMAT),
                "%s as %s", rows[r].hex, format);
        }
}
END_TEST

START_TEST(test_floats_of_any_width)
{
    static const struct {
        const char *hex;
        double number;
    } rows[] = {{"f93c00", 1}, {"fa3f800000", 1}, {"fb3ff0000000000000", 1},
        {"f90001", 0x1p-24}, {"fa00000001", 0x1p-149}, {"f9fc00", -INFINITY}};

    for (size_t r = 0; r < COUNT(rows); r++) {
        double x = 77;
        size_t n = unhex(rows[r].hex, buffer);
        ck_assert_int_eq(pool_decode(buffer, n, "d", &x), 0);
        ck_assert(x == rows[r].number);
    }
}
END_TEST

/* ---- Mismatches ---- */

static const struct {
    const char *hex, *format, *message;
} mismatches[] = {
    {"", "i",
        "argument 1, byte 0: expected int32 (i), found the end of the data"},
    {"01", "ii",
        "argument 2, byte 1: expected int32 (i), found the end of the data"},
    {"0102", "i", "byte 1: expected the end of the data, found integer 2"},
    {"01", "", "byte 0: expected the end of the data, found integer 1"},
    {"01", "b", "argument 1, byte 0: expected bool (b), found integer 1"},
    {"f6", "b", "expected bool (b), found null"},
    {"f7", "b", "expected bool (b), found undefined"},
    {"f0", "b", "expected bool (b), found a simple value"},
    {"f5", "i", "expected int32 (i), found a bool"},
    {"1a80000000", "i", "expected int32 (i), found integer 2147483648"},
    {"3a80000000", "i", "expected int32 (i), found integer -2147483649"},
    {"20", "u", "expected uint32 (u), found integer -1"},
    {"1b0000000100000000", "u",
        "expected uint32 (u), found integer 4294967296"},
    {"1b8000000000000000", "x",
        "expected int64 (x), found integer 9223372036854775808"},
    {"3bffffffffffffffff", "x",
        "expected int64 (x), found integer -18446744073709551616"},
    {"20", "t", "expected uint64 (t), found integer -1"},
    {"f93c00", "i", "expected int32 (i), found a float"},
    {"01", "d", "expected double (d), found integer 1"},
    {"f5fb3ff0000000000000626869", "bds",
        "argument 3, byte 10: expected string (s), found text that does not "
        "end in U+0000"},
    {"4100", "s", "expected string (s), found bytes"},
    {"626100", "ay", "expected bytes (ay), found text"},
    {"80", "s", "expected string (s), found an array"},
    {"a0", "ay", "expected bytes (ay), found a map"},
    {"60", "s", "does not end in U+0000"},
    {"6161", "s", "does not end in U+0000"},
    {"63610000", "s", "U+0000 inside"},
    {"63c32800", "s", "not UTF-8"},
    {"7f62610060ff", "s", "in chunks"},
    {"5f4161ff", "ay", "in chunks"},
    {"c000", "i", "expected int32 (i), found tag 0"},
    {"d9d9f7f5", "i", "argument 1, byte 3: expected int32 (i), found a bool"},
    {"83010203", "ai", "expected an array of int32 (ai), found an array"},
    {"d85640", "ai", "expected an array of int32 (ai), found tag 86"},
    {"d84e40", "au", "expected an array of uint32 (au), found tag 78"},
    {"d84e40", "ax", "expected an array of int64 (ax), found tag 78"},
    {"d84e40", "at", "expected an array of uint64 (at), found tag 78"},
    {"d84e40", "ad", "expected an array of double (ad), found tag 78"},
    {"d84e4101", "ai", "not a whole number of elements"},
    {"d84e4400000000", "ai", "not aligned"},
    {"", "v", "expected a value (v), found the end of the data"},
    {"ff", "i", "expected int32 (i), found a break"},
    {"ff", "v", "a break out of place"},
    {"011c", "ii", "argument 2, byte 1: reserved additional information"},
    {"1b00", "t", "byte 0: the data ends within an item"},
    {"6561", "s", "byte 0: more is promised than bytes follow"},
    {"d9d9f7", "i", "byte 3: the data ends within an item"},
    {"828201", "v", "argument 1, byte 1: more is promised than bytes follow"},
    {"9bffffffffffffffff", "v", "byte 0: more is promised"},
};

START_TEST(test_mismatch)
{
    const char *message = mismatches[_i].message;

    ck_assert_int_eq(
        decode_hex(mismatches[_i].hex, mismatches[_i].format), POOL_EFORMAT);
    ck_assert_msg(strstr(pool_errmsg(), message) != NULL, "%s\nis not in\n%s",
        message, pool_errmsg());
    ck_assert_int_eq(strncmp(pool_errmsg(), "pool_dec", 8), 0);
}
END_TEST

/* Nothing is stored for the value at fault or those after it. */
START_TEST(test_outputs_before_the_fault)
{
    int32_t a = 1, b = 2, c = 3;

    ck_assert_int_eq(
        pool_decode("\x0a\xf5\x0b", 3, "iii", &a, &b, &c), POOL_EFORMAT);
    ck_assert_int_eq(a, 10);
    ck_assert_int_eq(b, 2);
    ck_assert_int_eq(c, 3);
}
END_TEST

/* ---- Misuse ---- */

START_TEST(test_lying_formats)
{
    static const struct {
        const char *format, *message;
    } rows[] = {{"q", "argument 1: the format has an unknown code 'q'"},
        {"iq", "argument 2: the format has an unknown code 'q'"},
        {"a", "argument 1: the format ends after 'a'"},
        {"ia", "argument 2: the format ends after 'a'"},
        {"as", "unknown code 's'"}, {"av", "unknown code 'v'"},
        {"ab", "unknown code 'b'"}, {"aai", "unknown code 'a'"},
        {"i i", "unknown code ' '"}, {"y", "unknown code 'y'"},
        {"\x80", "unknown code '?'"}, {NULL, "the format is NULL"}};

    for (size_t r = 0; r < COUNT(rows); r++) {
        const char *format = rows[r].format;
        size_t size = 99;
        ck_assert_int_eq(
            pool_encode(buffer, 64, &size, format, 1, 1), POOL_EINVAL);
        ck_assert_ptr_nonnull(strstr(pool_errmsg(), rows[r].message));
        ck_assert_uint_eq(size, 99);
        ck_assert_int_eq(
            pool_decode("\x01\x01", 2, format, NULL, NULL), POOL_EINVAL);
        ck_assert_ptr_nonnull(strstr(pool_errmsg(), rows[r].message));
    }
}
END_TEST

START_TEST(test_null_pointers)
{
    size_t size = 0;

    ck_assert_int_eq(pool_encode(NULL, 1, &size, "i", 1), POOL_EINVAL);
    ck_assert_int_eq(pool_encode(buffer, 64, NULL, "i", 1), 0);
    ck_assert_int_eq(pool_encode(buffer, 64, &size, "s", NULL), POOL_EINVAL);
    ck_assert_ptr_nonnull(strstr(pool_errmsg(), "argument 1: a NULL string"));
    ck_assert_int_eq(
        pool_encode(buffer, 64, &size, "iay", 1, NULL, 1ul), POOL_EINVAL);
    ck_assert_ptr_nonnull(strstr(pool_errmsg(), "argument 2"));
    ck_assert_int_eq(
        pool_encode(buffer, 64, &size, "ad", NULL, 1ul), POOL_EINVAL);
    ck_assert_int_eq(
        pool_encode(buffer, 64, &size, "v", NULL, 0ul), POOL_EINVAL);
    ck_assert_int_eq(
        pool_encode(buffer, 64, &size, "ayad", NULL, 0ul, NULL, 0ul), 0);
    ck_assert_int_eq(
        pool_encode(NULL, 0, &size, "ad", buffer, SIZE_MAX), POOL_ETOOBIG);
    ck_assert_int_eq(pool_encode(NULL, 0, &size, "ayay", buffer,
                         (size_t)PTRDIFF_MAX - 100, buffer, 200ul),
        POOL_ETOOBIG);
    ck_assert_int_eq(pool_decode(NULL, 1, "i", NULL), POOL_EINVAL);
    ck_assert_int_eq(pool_decode(NULL, 0, ""), 0);
    ck_assert_int_eq(pool_check(NULL, 1, 0, NULL), POOL_EINVAL);
    ck_assert_int_eq(pool_check(NULL, 0, 0, NULL), 0);
    ck_assert_int_eq(pool_encode(NULL, 0, &size, ""), 0);
    ck_assert_uint_eq(size, 0);
}
END_TEST

/* Values to encode that are none. */
START_TEST(test_bad_values)
{
    static const struct {
        const char *hex;
        bool good;
    } rows[] = {{"01", 1}, {"8101", 1}, {"bf0102ff", 1}, {"0102", 0}, {"", 0},
        {"81", 0}, {"ff", 0}, {"1c", 0}, {"8100ff", 0}};

    for (size_t r = 0; r < COUNT(rows); r++) {
        unsigned char bytes[16];
        size_t size, n = unhex(rows[r].hex, bytes);
        unsigned char *value = exact_copy(bytes, n);
        int rc = pool_encode(buffer, 64, &size, "bv", 1, value, n);
        ck_assert_int_eq(rc, rows[r].good ? 0 : POOL_EFORMAT);
        if (rc < 0)
            ck_assert_ptr_nonnull(strstr(pool_errmsg(), "argument 2"));
        free(value);
    }
}
END_TEST

/* ---- UTF-8 ---- */

START_TEST(test_utf8)
{
    static const struct {
        const char *text;
        bool good;
    } rows[] = {{"", 1}, {"plain", 1}, {"more than eight bytes", 1},
        {"\xc2\x80", 1}, {"\xdf\xbf", 1}, {"\xe0\xa0\x80", 1},
        {"\xed\x9f\xbf", 1}, {"\xee\x80\x80", 1}, {"\xef\xbf\xbf", 1},
        {"\xf0\x90\x80\x80", 1}, {"\xf4\x8f\xbf\xbf", 1},
        {"12345678\xc3\xa9", 1}, {"1234567\xc3\xa9", 1}, {"\x80", 0},
        {"\xbf", 0}, {"\xc0\x80", 0}, {"\xc1\xbf", 0}, {"\xc2", 0},
        {"\xc2\x41", 0}, {"\xe0\x9f\xbf", 0}, {"\xe0\xa0", 0},
        {"\xe1\x80\x41", 0}, {"\xed\xa0\x80", 0}, {"\xed\xbf\xbf", 0},
        {"\xf0\x8f\xbf\xbf", 0}, {"\xf0\x90\x80", 0}, {"\xf1\x80\x80\x41", 0},
        {"\xf1\x80\x41\x80", 0}, {"\xf4\x90\x80\x80", 0},
        {"\xf5\x80\x80\x80", 0}, {"\xff", 0}, {"\xfe", 0}, {"12345678\xc3", 0},
        {"1234567\xc3", 0}, {"\xe2\x82\xac\xe2\x82", 0}};

    for (size_t r = 0; r < COUNT(rows); r++) {
        const char *text = rows[r].text, *out;
        unsigned char *exact = exact_copy(text, strlen(text));
        int expected = rows[r].good ? 0 : POOL_EFORMAT;
        size_t size;
        pool_enc_t enc;
        ck_assert_int_eq(pool_check_utf8(exact, strlen(text)), expected);
        free(exact);
        ck_assert_int_eq(pool_encode(buffer, 64, &size, "s", text), expected);
        pool_enc_init(&enc, buffer, sizeof buffer);
        pool_enc_text(&enc, text, strlen(text) + 1);
        ck_assert_int_eq(pool_decode(buffer, enc.size, "s", &out), expected);
        if (expected == 0)
            ck_assert_str_eq(out, text);
    }
}
END_TEST

/* ---- Sizes ---- */

/* Every capacity below the need: the need is told, nothing past it touched. */
START_TEST(test_every_capacity)
{
    unsigned char whole[512] __attribute__((aligned(8)));
    size_t need, size;

    ck_assert_int_eq(
        pool_encode(whole, sizeof whole, &need, FORMAT, ARGUMENTS), 0);
    for (size_t capacity = 0; capacity < need + 12; capacity++) {
        memset(buffer, 0xa5, sizeof buffer);
        int rc = pool_encode(buffer, capacity, &size, FORMAT, ARGUMENTS);
        ck_assert_int_eq(rc, capacity < need ? POOL_ENOSPC : 0);
        ck_assert_uint_eq(size, need);
        if (rc == 0)
            ck_assert_mem_eq(buffer, whole, need);
        for (size_t i = capacity; i < sizeof buffer; i++)
            ck_assert_uint_eq(buffer[i], 0xa5);
    }
}
END_TEST

/* A payload cut anywhere is refused, and not read past the cut. */
START_TEST(test_every_cut)
{
    size_t size;

    ck_assert_int_eq(
        pool_encode(buffer, sizeof buffer, &size, FORMAT, ARGUMENTS), 0);
    for (size_t n = 0; n < size; n++) {
        unsigned char *data = exact_copy(buffer, n);
        ck_assert_int_eq(
            pool_decode(data, n, FORMAT, NULL, NULL, NULL, NULL, NULL, NULL,
                NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                NULL, NULL, NULL, NULL, NULL, NULL, NULL),
            POOL_EFORMAT);
        free(data);
    }
}
END_TEST

/* ---- Depth ---- */

static int
nested(unsigned char opener, size_t depth, unsigned max_depth, size_t *offset)
{
    unsigned char *data = malloc(depth + 1);

    memset(data, opener, depth);
    data[depth] = 0x00;
    int rc = pool_check(data, depth + 1, max_depth, offset);
    free(data);
    return rc;
}

START_TEST(test_depth)
{
    static const unsigned limits[] = {0, 1, 2, 64, 255, POOL_DEPTH_MAX};
    size_t offset;

    for (size_t i = 0; i < COUNT(limits); i++) {
        size_t limit = limits[i] > 0 ? limits[i] : POOL_DEPTH_DEFAULT;
        ck_assert_int_eq(nested(0x81, limit, limits[i], &offset), 0);
        ck_assert_int_eq(
            nested(0x81, limit + 1, limits[i], &offset), POOL_ETOOBIG);
        ck_assert_uint_eq(offset, limit);
    }
    ck_assert_int_eq(nested(0x81, 3, POOL_DEPTH_MAX + 1, NULL), POOL_EINVAL);
    ck_assert_int_eq(nested(0x81, 100000, 0, NULL), POOL_ETOOBIG);
    ck_assert_int_eq(nested(0x9f, 100000, 0, NULL), POOL_ETOOBIG);
    ck_assert_int_eq(nested(0xc1, 100000, 0, NULL), 0); /* tags */
}
END_TEST

/* The same in the front; an empty container counts as well. */
START_TEST(test_depth_of_values)
{
    unsigned char *data = malloc(100000);
    pool_dec_t dec;

    memset(data, 0x81, 100000);
    ck_assert_int_eq(pool_decode(data, 100000, "v", NULL, NULL), POOL_ETOOBIG);
    ck_assert_ptr_nonnull(
        strstr(pool_errmsg(), "argument 1, byte 64: nested too deep"));
    ck_assert_int_eq(
        pool_encode(NULL, 0, NULL, "v", data, 100000ul), POOL_EFORMAT);
    free(data);

    pool_dec_init(&dec, "\x80", 1);
    ck_assert_int_eq(pool_dec_set_depth(&dec, 0), 0);
    ck_assert_int_eq(pool_dec_skip(&dec), POOL_ETOOBIG);
    ck_assert_int_eq(pool_dec_set_depth(&dec, POOL_DEPTH_MAX + 1), POOL_EINVAL);
}
END_TEST

int
main(void)
{
    const struct test tests[] = {
        {"every code", test_every_code, 0},
        {"wire", test_wire, 0},
        {"strings on the wire", test_string_wire, 0},
        {"self-described", test_self_described, 0},
        {"ranges", test_ranges, 0},
        {"floats of any width", test_floats_of_any_width, 0},
        {"mismatches", test_mismatch, COUNT(mismatches)},
        {"outputs before the fault", test_outputs_before_the_fault, 0},
        {"lying formats", test_lying_formats, 0},
        {"NULL pointers", test_null_pointers, 0},
        {"bad values", test_bad_values, 0},
        {"UTF-8", test_utf8, 0},
        {"every capacity", test_every_capacity, 0},
        {"every cut", test_every_cut, 0},
        {"depth", test_depth, 0},
        {"depth of values", test_depth_of_values, 0},
    };

    return run_tests("codec: formats", tests, COUNT(tests));
}
