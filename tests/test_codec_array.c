/* Typed arrays: every element type at every residue and across every size of
 * head, in the fewest bytes, aligned, and read where they lie. */
#include "codec_check.h"
#include "forkpool_codec.h"

/* RFC 8746 table 1; tags differ by the byte order. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ORDER 4
#else
#define ORDER 0
#endif

static const struct {
    pool_number_t type;
    unsigned tag, width;
} types[] = {{POOL_U8, 64, 1}, {POOL_U16, 65 + ORDER, 2},
    {POOL_U32, 66 + ORDER, 4}, {POOL_U64, 67 + ORDER, 8}, {POOL_I8, 72, 1},
    {POOL_I16, 73 + ORDER, 2}, {POOL_I32, 74 + ORDER, 4},
    {POOL_I64, 75 + ORDER, 8}, {POOL_F32, 81 + ORDER, 4},
    {POOL_F64, 82 + ORDER, 8}};

static const size_t counts[] = {0, 1, 2, 3, 22, 23, 24, 25, 31, 32, 255, 256,
    257, 8191, 8192, 65535, 65536, 65537};

#define LARGEST (65537 * 8)

static unsigned char elements[LARGEST];
static unsigned char buffer[LARGEST + 64] __attribute__((aligned(8)));

/* One type: all counts at all residues, in an exact block. */
START_TEST(test_every_residue)
{
    size_t width = types[_i].width;

    for (size_t i = 0; i < sizeof elements; i++)
        elements[i] = (unsigned char)(i * 167 + 13);
    for (size_t c = 0; c < COUNT(counts); c++) {
        for (size_t before = 0; before < 8; before++) {
            pool_enc_t enc;
            size_t size, count;
            const void *found;
            pool_dec_t dec;

            pool_enc_init(&enc, buffer, sizeof buffer);
            for (size_t i = 0; i < before; i++)
                pool_enc_uint(&enc, 0);
            pool_enc_numbers(&enc, types[_i].type, elements, counts[c]);
            ck_assert_int_eq(pool_enc_finish(&enc, &size), 0);

            unsigned char *data = exact_copy(buffer, size);
            ck_assert_int_eq(pool_check(data, size, 0, NULL), 0);
            pool_dec_init(&dec, data, size);
            for (size_t i = 0; i < before; i++)
                pool_dec_skip(&dec);
            ck_assert_msg(
                pool_dec_numbers(&dec, types[_i].type, &found, &count) == 0,
                "%s", pool_errmsg());
            ck_assert_int_eq(pool_dec_finish(&dec), 0);
            ck_assert_uint_eq(count, counts[c]);
            ck_assert_ptr_eq(
                (const unsigned char *)found + count * width, data + size);
            ck_assert_uint_eq((uintptr_t)found % 8, 0);
            ck_assert_int_eq(memcmp(found, elements, count * width), 0);
            free(data);
        }
    }
}
END_TEST

/* The heads are well-formed, say the right tag and length, and no shorter
 * choice would do. Lengths beyond 4 GiB are seen by counting alone. */
START_TEST(test_fewest_bytes)
{
    static const uint64_t lengths[] = {
        0, 23, 24, 255, 256, 65535, 65536, UINT32_MAX, UINT64_C(0x100000000)};
    static const unsigned sizes[] = {1, 2, 3, 5, 9}, selves[] = {0, 3, 5, 9};
    static const unsigned least[] = {0, 0, 1, 1, 2, 2, 3, 3, 4};

    for (size_t l = 0; l < COUNT(lengths); l++) {
        for (unsigned before = 0; before < 8; before++) {
            unsigned best = 99;
            for (unsigned s = 0; s < COUNT(selves); s++)
                for (unsigned t = 1; t < COUNT(sizes); t++)
                    for (unsigned n = least[l]; n < COUNT(sizes); n++) {
                        unsigned head = selves[s] + sizes[t] + sizes[n];
                        if ((before + head) % 8 == 0 && head < best)
                            best = head;
                    }
            pool_enc_t enc;
            pool_enc_init(&enc, NULL, 0);
            enc.size = before;
            pool_enc_numbers(&enc, POOL_U8, elements, lengths[l]);
            ck_assert_int_eq(enc.error, 0);
            ck_assert_uint_eq(enc.size - before - lengths[l], best);
        }
    }
}
END_TEST

/* The heads of lengths beyond 4 GiB, written where the elements do not fit. */
START_TEST(test_long_heads)
{
    const uint64_t length = UINT64_C(0x123456789);

    for (unsigned before = 0; before < 8; before++) {
        unsigned char bytes[64];
        pool_item_t item;
        pool_enc_t enc;
        pool_dec_t dec;

        pool_enc_init(&enc, bytes, sizeof bytes);
        enc.size = before;
        pool_enc_numbers(&enc, POOL_F32, elements, 0);
        size_t small = enc.size;
        ck_assert_uint_eq(small % 8, 0);
        enc.size = before;
        pool_enc_numbers(&enc, POOL_U8, elements, length);
        ck_assert_int_eq(pool_enc_finish(&enc, NULL), POOL_ENOSPC);
        size_t heads = enc.size - length - before;
        ck_assert_uint_eq((before + heads) % 8, 0);
        /* Make it an array of that many items, to read its head alone. */
        const unsigned char *tail = bytes + before + heads - 9;
        ck_assert_uint_eq(tail[0], 0x5b);
        ck_assert_mem_eq(tail + 1, "\0\0\0\1\x23\x45\x67\x89", 8);
        bytes[before + heads - 9] = 0x1b;
        pool_dec_init(&dec, bytes + before, heads);
        do
            ck_assert_int_eq(pool_dec_next(&dec, &item), 0);
        while (item.type == POOL_ITEM_TAG && item.value == 55799);
        ck_assert_int_eq(item.type, POOL_ITEM_TAG);
        ck_assert_uint_eq(item.value, 64);
        ck_assert_int_eq(pool_dec_next(&dec, &item), 0);
        ck_assert_uint_eq(item.value, length);
    }
}
END_TEST

/* The tag on the wire is the RFC's for the type, and no other type reads. */
START_TEST(test_tags)
{
    for (size_t w = 0; w < COUNT(types); w++) {
        uint64_t element = 0;
        pool_item_t item;
        pool_enc_t enc;
        pool_dec_t dec;

        pool_enc_init(&enc, buffer, sizeof buffer);
        pool_enc_numbers(&enc, types[w].type, &element, 1);
        pool_dec_init(&dec, buffer, enc.size);
        ck_assert_int_eq(pool_dec_next(&dec, &item), 0);
        ck_assert_int_eq(item.type, POOL_ITEM_TAG);
        ck_assert_uint_eq(item.value, types[w].tag);
        for (size_t r = 0; r < COUNT(types); r++) {
            const void *found;
            size_t count;
            pool_dec_init(&dec, buffer, enc.size);
            int rc = pool_dec_numbers(&dec, types[r].type, &found, &count);
            ck_assert_int_eq(rc, r == w ? 0 : POOL_EFORMAT);
        }
    }
}
END_TEST

/* Memory decides, element by element size: the same payload at 8 addresses. */
START_TEST(test_misaligned)
{
    const uint64_t values[3] = {1, 2, 3};
    unsigned width = types[_i].width;
    pool_enc_t enc;
    pool_dec_t dec;

    pool_enc_init(&enc, buffer, sizeof buffer);
    pool_enc_numbers(&enc, types[_i].type, values, 3);
    for (size_t at = 0; at < 8; at++) {
        static unsigned char moved[64] __attribute__((aligned(8)));
        const void *found;
        size_t count;

        memcpy(moved + at, buffer, enc.size);
        pool_dec_init(&dec, moved + at, enc.size);
        int rc = pool_dec_numbers(&dec, types[_i].type, &found, &count);
        ck_assert_int_eq(rc, at % width == 0 ? 0 : POOL_EFORMAT);
        if (rc < 0)
            ck_assert_ptr_nonnull(strstr(pool_errmsg(), "aligned"));
    }
}
END_TEST

START_TEST(test_refused)
{
    static const struct {
        const char *hex;
        unsigned offset;
    } rows[] = {
        {"d8564700000000000000", 0},                   /* 7 bytes of doubles */
        {"d85680", 2},                                 /* an array in the tag */
        {"d8565f48000000000000000000ff", 2},           /* in chunks */
        {"d85648000000", 2},                           /* cut short */
        {"d856", 2},                                   /* no content */
        {"82fb3ff0000000000000fb3ff0000000000000", 0}, /* no typed array */
        {"4800000000000000f0", 0}, /* bytes without the tag */
        {"d8565bffffffffffffffff", 2},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned char bytes[64];
        size_t count, size = unhex(rows[i].hex, bytes);
        const void *found = NULL;
        pool_dec_t dec;
        unsigned char *data = exact_copy(bytes, size);

        pool_dec_init(&dec, data, size);
        ck_assert_int_eq(
            pool_dec_numbers(&dec, POOL_F64, &found, &count), POOL_EFORMAT);
        ck_assert_uint_eq(pool_dec_offset(&dec), rows[i].offset);
        ck_assert_ptr_null(found);
        free(data);
    }
}
END_TEST

START_TEST(test_misuse)
{
    static const struct {
        size_t count;
        pool_number_t type;
        int error;
    } rows[] = {{1, POOL_U8, POOL_EINVAL}, {0, POOL_F64, 0},
        {SIZE_MAX, POOL_U8, POOL_ETOOBIG}, {SIZE_MAX, POOL_F64, POOL_ETOOBIG},
        {SIZE_MAX / 8 + 1, POOL_F64, POOL_ETOOBIG},
        {PTRDIFF_MAX / 8, POOL_F64, POOL_EINVAL},
        {0, (pool_number_t)10, POOL_EINVAL},
        {0, (pool_number_t)-1, POOL_EINVAL}};

    for (size_t i = 0; i < COUNT(rows); i++) {
        pool_enc_t enc;
        pool_enc_init(&enc, NULL, 0);
        pool_enc_numbers(&enc, rows[i].type, NULL, rows[i].count);
        ck_assert_int_eq(pool_enc_finish(&enc, NULL), rows[i].error);
    }
}
END_TEST

/* An encoded value with arrays in it is readable in place wherever it is put
 * and however often it is handed on. */
START_TEST(test_value_keeps_alignment)
{
    const double numbers[] = {1.5, 2.5, 3.5};
    unsigned char inner[64] __attribute__((aligned(8)));
    size_t inner_size;

    ck_assert_int_eq(
        pool_encode(inner, sizeof inner, &inner_size, "ad", numbers, 3ul), 0);
    for (int before = 0; before < 8; before++) {
        const void *value = inner, *found;
        size_t value_size = inner_size, count, size;
        unsigned char relay[2][128] __attribute__((aligned(8)));
        for (int hop = 0; hop < 2; hop++) {
            pool_enc_t enc;
            pool_dec_t dec;
            pool_enc_init(&enc, relay[hop], sizeof relay[hop]);
            for (int i = 0; i < before + hop; i++)
                pool_enc_null(&enc);
            pool_enc_value(&enc, value, value_size);
            ck_assert_int_eq(pool_enc_finish(&enc, &size), 0);
            pool_dec_init(&dec, relay[hop], size);
            for (int i = 0; i < before + hop; i++)
                pool_dec_skip(&dec);
            ck_assert_int_eq(pool_dec_value(&dec, &value, &value_size), 0);
            ck_assert_int_eq(pool_dec_finish(&dec), 0);
            ck_assert_uint_eq(value_size, inner_size);
            ck_assert_mem_eq(value, inner, inner_size);
            ck_assert_msg(
                pool_decode(value, value_size, "ad", &found, &count) == 0, "%s",
                pool_errmsg());
            ck_assert_mem_eq(found, numbers, sizeof numbers);
        }
    }
}
END_TEST

int
main(void)
{
    const struct test tests[] = {
        {"every residue", test_every_residue, COUNT(types)},
        {"fewest bytes", test_fewest_bytes, 0},
        {"long heads", test_long_heads, 0},
        {"tags", test_tags, 0},
        {"misaligned", test_misaligned, COUNT(types)},
        {"refused", test_refused, 0},
        {"misuse", test_misuse, 0},
        {"values keep alignment", test_value_keeps_alignment, 0},
    };

    return run_tests("codec: typed arrays", tests, COUNT(tests));
}
