/* RFC 8949's own examples: appendix A item by item, there and back, and every
 * malformed one of appendix F with the offset at which it is refused. */
#include "codec_check.h"
#include "forkpool_codec.h"

/* ---- Appendix A ---- */

/* Diagnostic notation as the appendix has it, but for floats, which are in
 * C's shortest %g that reads back the same, and chunked strings. */
struct example {
    const char *diagnostic;
    const char *hex;
    bool other; /* not how the encoder writes it */
};

static const struct example examples[] = {
    {"0", "00", 0},
    {"1", "01", 0},
    {"10", "0a", 0},
    {"23", "17", 0},
    {"24", "1818", 0},
    {"25", "1819", 0},
    {"100", "1864", 0},
    {"1000", "1903e8", 0},
    {"1000000", "1a000f4240", 0},
    {"1000000000000", "1b000000e8d4a51000", 0},
    {"18446744073709551615", "1bffffffffffffffff", 0},
    {"2(h'010000000000000000')", "c249010000000000000000", 0},
    {"-18446744073709551616", "3bffffffffffffffff", 0},
    {"3(h'010000000000000000')", "c349010000000000000000", 0},
    {"-1", "20", 0},
    {"-10", "29", 0},
    {"-100", "3863", 0},
    {"-1000", "3903e7", 0},
    {"0.0", "f90000", 0},
    {"-0.0", "f98000", 0},
    {"1.0", "f93c00", 0},
    {"1.1", "fb3ff199999999999a", 0},
    {"1.5", "f93e00", 0},
    {"65504.0", "f97bff", 0},
    {"1e+05", "fa47c35000", 0},
    {"3.4028234663852886e+38", "fa7f7fffff", 0},
    {"1e+300", "fb7e37e43c8800759c", 0},
    {"5.9604644775390625e-08", "f90001", 0},
    {"6.103515625e-05", "f90400", 0},
    {"-4.0", "f9c400", 0},
    {"-4.1", "fbc010666666666666", 0},
    {"inf", "f97c00", 0},
    {"nan", "f97e00", 0},
    {"-inf", "f9fc00", 0},
    {"inf", "fa7f800000", 1},
    {"nan", "fa7fc00000", 1},
    {"-inf", "faff800000", 1},
    {"inf", "fb7ff0000000000000", 1},
    {"nan", "fb7ff8000000000000", 1},
    {"-inf", "fbfff0000000000000", 1},
    {"false", "f4", 0},
    {"true", "f5", 0},
    {"null", "f6", 0},
    {"undefined", "f7", 0},
    {"simple(16)", "f0", 0},
    {"simple(255)", "f8ff", 0},
    {"0(\"2013-03-21T20:04:00Z\")",
        "c074323031332d30332d32315432303a30343a30305a", 0},
    {"1(1363896240)", "c11a514b67b0", 0},
    {"1(1363896240.5)", "c1fb41d452d9ec200000", 0},
    {"23(h'01020304')", "d74401020304", 0},
    {"24(h'6449455446')", "d818456449455446", 0},
    {"32(\"http://www.example.com\")",
        "d82076687474703a2f2f7777772e6578616d706c652e636f6d", 0},
    {"h''", "40", 0},
    {"h'01020304'", "4401020304", 0},
    {"\"\"", "60", 0},
    {"\"a\"", "6161", 0},
    {"\"IETF\"", "6449455446", 0},
    {"\"\"\\\"", "62225c", 0},
    {"\"\u00fc\"", "62c3bc", 0},
    {"\"\u6c34\"", "63e6b0b4", 0},
    {"\"\U00010151\"", "64f0908591", 0},
    {"[]", "80", 0},
    {"[1, 2, 3]", "83010203", 0},
    {"[1, [2, 3], [4, 5]]", "8301820203820405", 0},
    {"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, "
     "20, 21, 22, 23, 24, 25]",
        "98190102030405060708090a0b0c0d0e0f101112131415161718181819", 0},
    {"{}", "a0", 0},
    {"{1: 2, 3: 4}", "a201020304", 0},
    {"{\"a\": 1, \"b\": [2, 3]}", "a26161016162820203", 0},
    {"[\"a\", {\"b\": \"c\"}]", "826161a161626163", 0},
    {"{\"a\": \"A\", \"b\": \"B\", \"c\": \"C\", \"d\": \"D\", \"e\": \"E\"}",
        "a56161614161626142616361436164614461656145", 0},
    {"(_ h'0102', h'030405')", "5f42010243030405ff", 1},
    {"(_ \"strea\", \"ming\")", "7f657374726561646d696e67ff", 1},
    {"[_ ]", "9fff", 1},
    {"[_ 1, [2, 3], [_ 4, 5]]", "9f018202039f0405ffff", 1},
    {"[_ 1, [2, 3], [4, 5]]", "9f01820203820405ff", 1},
    {"[1, [2, 3], [_ 4, 5]]", "83018202039f0405ff", 1},
    {"[1, [_ 2, 3], [4, 5]]", "83019f0203ff820405", 1},
    {"[_ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, "
     "20, 21, 22, 23, 24, 25]",
        "9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff", 1},
    {"{_ \"a\": 1, \"b\": [_ 2, 3]}", "bf61610161629f0203ffff", 1},
    {"[\"a\", {_ \"b\": \"c\"}]", "826161bf61626163ff", 1},
    {"{_ \"Fun\": true, \"Amt\": -2}", "bf6346756ef563416d7421ff", 1},
};

static void
print_float(FILE *out, double number)
{
    char text[32];
    int digits = 1;

    do
        snprintf(text, sizeof text, "%.*g", digits, number);
    while (strtod(text, NULL) != number && digits++ < 17);
    if (number != number)
        strcpy(text, "nan");
    fprintf(out, "%s%s", text, strpbrk(text, ".einf") ? "" : ".0");
}

static void print_item(FILE *out, pool_dec_t *dec);

/* What follows a head up to its count or break. */
static void
print_contents(FILE *out, pool_dec_t *dec, uint64_t count, bool map)
{
    for (uint64_t i = 0; i < count && !pool_dec_break(dec); i++) {
        fputs(i > 0 ? ", " : "", out);
        print_item(out, dec);
        if (map) {
            fputs(": ", out);
            print_item(out, dec);
        }
    }
}

static void
print_container(FILE *out, pool_dec_t *dec, const pool_item_t *item)
{
    bool map = item->type == POOL_ITEM_MAP;
    bool array = item->type == POOL_ITEM_ARRAY;
    bool indefinite = item->value == POOL_INDEFINITE;

    fprintf(out, "%c%s", map ? '{' : array ? '[' : '(', indefinite ? "_ " : "");
    print_contents(out, dec, item->value, map);
    fputc(map ? '}' : array ? ']' : ')', out);
}

static void
print_scalar(FILE *out, const pool_item_t *item)
{
    const unsigned char *bytes = item->data;
    unsigned long long n = item->value;

    switch (item->type) {
    case POOL_ITEM_UINT:
        fprintf(out, "%llu", n);
        break;
    case POOL_ITEM_NINT:
        fprintf(
            out, n == UINT64_MAX ? "-18446744073709551616" : "-%llu", n + 1);
        break;
    case POOL_ITEM_BYTES:
        fputs("h'", out);
        for (size_t i = 0; i < n; i++)
            fprintf(out, "%02x", bytes[i]);
        fputc('\'', out);
        break;
    case POOL_ITEM_TEXT:
        fprintf(out, "\"%.*s\"", (int)n, (const char *)item->data);
        break;
    case POOL_ITEM_BOOL:
        fputs(n ? "true" : "false", out);
        break;
    case POOL_ITEM_NULL:
        fputs("null", out);
        break;
    case POOL_ITEM_UNDEFINED:
        fputs("undefined", out);
        break;
    case POOL_ITEM_SIMPLE:
        fprintf(out, "simple(%llu)", n);
        break;
    case POOL_ITEM_FLOAT:
        print_float(out, item->number);
        break;
    default:
        fprintf(out, "?%d", (int)item->type);
    }
}

static void
print_item(FILE *out, pool_dec_t *dec)
{
    pool_item_type_t peeked = pool_dec_peek(dec);
    pool_item_t item;

    ck_assert_msg(pool_dec_next(dec, &item) == 0, "%s", pool_errmsg());
    ck_assert_int_eq(item.type, peeked);
    bool string = item.type == POOL_ITEM_BYTES || item.type == POOL_ITEM_TEXT;
    if (item.type == POOL_ITEM_TAG) {
        fprintf(out, "%llu(", (unsigned long long)item.value);
        print_item(out, dec);
        fputc(')', out);
    } else if (item.type == POOL_ITEM_ARRAY || item.type == POOL_ITEM_MAP ||
               (string && item.data == NULL)) {
        print_container(out, dec, &item);
    } else {
        print_scalar(out, &item);
    }
}

/* Encode what a cursor reads, item by item. */
static void
encode_again(pool_enc_t *enc, pool_dec_t *dec)
{
    pool_item_t item;

    while (pool_dec_next(dec, &item) == 0 && item.type != POOL_ITEM_END) {
        if (item.type == POOL_ITEM_FLOAT)
            pool_enc_double(enc, item.number);
        else if (item.type == POOL_ITEM_BYTES)
            pool_enc_bytes(enc, item.data, item.value);
        else if (item.type == POOL_ITEM_TEXT)
            pool_enc_text(enc, item.data, item.value);
        else if (item.type == POOL_ITEM_BOOL)
            pool_enc_bool(enc, item.value == 1);
        else if (item.type == POOL_ITEM_NULL)
            pool_enc_null(enc);
        else if (item.type == POOL_ITEM_UNDEFINED)
            pool_enc_undefined(enc);
        else if (item.type == POOL_ITEM_SIMPLE)
            pool_enc_simple(enc, (unsigned)item.value);
        else
            pool_enc_head(enc, item.type - POOL_ITEM_UINT, item.value);
    }
}

START_TEST(test_example_reads)
{
    const struct example *example = &examples[_i];
    unsigned char bytes[64];
    char *text;
    size_t length, offset, size = unhex(example->hex, bytes);
    unsigned char *data = exact_copy(bytes, size);
    pool_dec_t dec;

    ck_assert_int_eq(pool_check(data, size, 0, &offset), 0);
    ck_assert_uint_eq(offset, size);
    pool_dec_init(&dec, data, size);
    FILE *out = open_memstream(&text, &length);
    print_item(out, &dec);
    fclose(out);
    ck_assert_str_eq(text, example->diagnostic);
    ck_assert_int_eq(pool_dec_finish(&dec), 0);
    free(text);
    free(data);
}
END_TEST

START_TEST(test_example_writes)
{
    const struct example *example = &examples[_i];
    unsigned char bytes[64], again[64];
    size_t n, size = unhex(example->hex, bytes);
    pool_dec_t dec;
    pool_enc_t enc;

    if (example->other)
        return;
    pool_dec_init(&dec, bytes, size);
    pool_enc_init(&enc, again, sizeof again);
    encode_again(&enc, &dec);
    ck_assert_int_eq(pool_enc_finish(&enc, &n), 0);
    ck_assert_uint_eq(n, size);
    ck_assert_mem_eq(again, bytes, size);
}
END_TEST

/* A cut example is malformed, wherever it is cut. */
START_TEST(test_example_cut)
{
    unsigned char bytes[64];
    size_t size = unhex(examples[_i].hex, bytes);

    for (size_t n = 1; n < size; n++) {
        unsigned char *data = exact_copy(bytes, n);
        size_t offset;
        ck_assert_int_eq(pool_check(data, n, 0, &offset), POOL_EFORMAT);
        ck_assert_uint_le(offset, n);
        free(data);
    }
}
END_TEST

/* ---- Appendix F ---- */

/* The offset is that of the head that is wrong, cut off or promises too much,
 * or of the break out of place. */
static const struct {
    const char *hex;
    unsigned offset;
} malformed[] = {
    /* End of input in a head. */
    {"18", 0},
    {"19", 0},
    {"1a", 0},
    {"1b", 0},
    {"1901", 0},
    {"1a0102", 0},
    {"1b01020304050607", 0},
    {"38", 0},
    {"58", 0},
    {"78", 0},
    {"98", 0},
    {"9a01ff00", 0},
    {"b8", 0},
    {"d8", 0},
    {"f8", 0},
    {"f900", 0},
    {"fa0000", 0},
    {"fb000000", 0},
    /* Definite-length strings with short data. */
    {"41", 0},
    {"61", 0},
    {"5affffffff00", 0},
    {"5bffffffffffffffff010203", 0},
    {"7affffffff00", 0},
    {"7b7fffffffffffffff010203", 0},
    /* Definite-length maps and arrays not closed with enough items. */
    {"81", 0},
    {"818181818181818181", 8},
    {"8200", 0},
    {"a1", 0},
    {"a20102", 0},
    {"a100", 0},
    {"a2000000", 0},
    /* Tag number not followed by tag content. */
    {"c0", 1},
    /* Indefinite-length strings not closed by a break. */
    {"5f4100", 3},
    {"7f6100", 3},
    /* Indefinite-length maps and arrays not closed by a break. */
    {"9f", 1},
    {"9f0102", 3},
    {"bf", 1},
    {"bf01020102", 5},
    {"819f", 2},
    {"9f8000", 3},
    {"9f9f9f9f9fffffffff", 9},
    {"9f819f819f9fffffff", 9},
    /* Reserved additional information. */
    {"1c", 0},
    {"1d", 0},
    {"1e", 0},
    {"3c", 0},
    {"3d", 0},
    {"3e", 0},
    {"5c", 0},
    {"5d", 0},
    {"5e", 0},
    {"7c", 0},
    {"7d", 0},
    {"7e", 0},
    {"9c", 0},
    {"9d", 0},
    {"9e", 0},
    {"bc", 0},
    {"bd", 0},
    {"be", 0},
    {"dc", 0},
    {"dd", 0},
    {"de", 0},
    {"fc", 0},
    {"fd", 0},
    {"fe", 0},
    /* Reserved two-byte encodings of simple values. */
    {"f800", 0},
    {"f801", 0},
    {"f818", 0},
    {"f81f", 0},
    /* Indefinite-length string chunks not of the correct type. */
    {"5f00ff", 1},
    {"5f21ff", 1},
    {"5f6100ff", 1},
    {"5f80ff", 1},
    {"5fa0ff", 1},
    {"5fc000ff", 1},
    {"5fe0ff", 1},
    {"7f4100ff", 1},
    /* Indefinite-length string chunks not definite length. */
    {"5f5f4100ffff", 1},
    {"7f7f6100ffff", 1},
    /* Break occurring on its own outside of an indefinite-length item. */
    {"ff", 0},
    /* Break occurring in a definite-length array or map or a tag. */
    {"81ff", 1},
    {"8200ff", 2},
    {"a1ff", 0},
    {"a1ff00", 1},
    {"a100ff", 2},
    {"a20000ff", 0},
    {"9f81ff", 2},
    {"9f829f819f9fffffffff", 9},
    /* Break in an indefinite-length map after an odd number of items. */
    {"bf00ff", 2},
    {"bf000000ff", 4},
    /* Major types 0, 1, 6 with additional information 31. */
    {"1f", 0},
    {"3f", 0},
    {"df", 0},
    /* Not in the appendix: a tag before a break, counts beyond all memory. */
    {"9fc0ff", 2},
    {"bf00c0ff", 3},
    {"9bffffffffffffffff00", 0},
    {"bbffffffffffffffff00", 0},
    {"bb800000000000000000", 0},
    {"9b7fffffffffffffff00", 0},
};

/* Every way in refuses it, at the same byte, and stays at the error. */
START_TEST(test_malformed)
{
    unsigned char bytes[64];
    size_t offset, size = unhex(malformed[_i].hex, bytes);
    unsigned char *data = exact_copy(bytes, size);
    pool_item_t item;
    pool_dec_t dec;

    ck_assert_int_eq(pool_check(data, size, 0, &offset), POOL_EFORMAT);
    ck_assert_uint_eq(offset, malformed[_i].offset);

    pool_dec_init(&dec, data, size);
    ck_assert_int_eq(pool_dec_skip(&dec), POOL_EFORMAT);
    ck_assert_uint_eq(pool_dec_offset(&dec), malformed[_i].offset);
    ck_assert_int_eq(pool_dec_finish(&dec), POOL_EFORMAT);

    pool_dec_init(&dec, data, size);
    ck_assert_int_eq(pool_dec_next(&dec, &item), POOL_EFORMAT);
    ck_assert_int_eq(item.type, POOL_ITEM_END);
    ck_assert_uint_eq(pool_dec_offset(&dec), malformed[_i].offset);
    ck_assert_int_eq(pool_dec_next(&dec, &item), POOL_EFORMAT);
    ck_assert_int_eq(pool_decode(data, size, "v", NULL, NULL), POOL_EFORMAT);
    free(data);
}
END_TEST

int
main(void)
{
    const struct test tests[] = {
        {"appendix A reads", test_example_reads, COUNT(examples)},
        {"appendix A writes", test_example_writes, COUNT(examples)},
        {"appendix A cut short", test_example_cut, COUNT(examples)},
        {"appendix F refused", test_malformed, COUNT(malformed)},
    };

    return run_tests("codec: RFC 8949's examples", tests, COUNT(tests));
}
