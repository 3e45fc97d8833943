/* Encoders with a buffer of their own: the same bytes as in a caller's buffer,
 * however often it grew; what clear and free leave; where memory ends. */
#include "codec_check.h"
#include "forkpool_codec.h"
#include "mem.h"

#define VALUES 4000
#define NUMBERS 400000 /* 3.2 MB: more than the least that gets huge pages */
#define LARGEST (8 * NUMBERS + 64)

static unsigned char buffer[LARGEST] __attribute__((aligned(8)));
static double numbers[NUMBERS];

/* A value whose kind and size depend on its place. */
static void
put(pool_enc_t *enc, size_t i)
{
    static const char text[] = "longer than the 23 bytes of a short one's head";

    switch (i % 7) {
    case 0:
        pool_enc_int(enc, (int64_t)(i * i * i) - 100000);
        return;
    case 1:
        pool_enc_double(enc, 0.1 * (double)i);
        return;
    case 2:
        pool_enc_text(enc, text, i % sizeof text);
        return;
    case 3:
        pool_enc_bytes(enc, numbers, i % 600);
        return;
    case 4:
        pool_enc_numbers(enc, POOL_F64, numbers, i % 40);
        return;
    case 5:
        pool_enc_array(enc, 1);
        pool_enc_float(enc, (float)i);
        return;
    default:
        pool_enc_null(enc);
    }
}

static size_t
finish(const pool_enc_t *enc)
{
    size_t size;

    ck_assert_int_eq(pool_enc_finish(enc, &size), 0);
    return size;
}

/* The payload of a growable encoder is that in the buffer. */
static void
expect_buffer(const pool_enc_t *grown, const pool_enc_t *fixed)
{
    size_t size = finish(fixed);

    ck_assert_uint_eq(finish(grown), size);
    ck_assert_uint_eq((uintptr_t)pool_enc_data(grown) % 8, 0);
    ck_assert_ptr_eq(pool_enc_data(fixed), buffer);
    ck_assert_int_eq(memcmp(pool_enc_data(grown), buffer, size), 0);
}

/* After each value, so that every kind of it meets a full buffer. */
START_TEST(test_same_bytes)
{
    for (size_t first = 0; first < 7; first++) {
        pool_enc_t grown, fixed;

        pool_enc_init_growable(&grown);
        ck_assert_ptr_null(pool_enc_data(&grown));
        ck_assert_uint_eq(finish(&grown), 0);
        pool_enc_init(&fixed, buffer, sizeof buffer);
        for (size_t i = 0; i < VALUES; i++) {
            put(&grown, first + i);
            put(&fixed, first + i);
            expect_buffer(&grown, &fixed);
        }
        ck_assert_int_eq(
            pool_check(pool_enc_data(&grown), finish(&grown), 0, NULL), 0);
        pool_enc_free(&grown);
    }
}
END_TEST

/* Of 2 MiB and more, where the buffer is another kind of block. */
START_TEST(test_large)
{
    const void *elements;
    pool_enc_t grown;
    pool_dec_t dec;
    size_t count;

    for (size_t i = 0; i < NUMBERS; i++)
        numbers[i] = (double)i;
    pool_enc_init_growable(&grown);
    for (int round = 0; round < 3; round++)
        pool_enc_numbers(&grown, POOL_F64, numbers, NUMBERS);
    pool_dec_init(&dec, pool_enc_data(&grown), finish(&grown));
    for (int round = 0; round < 3; round++) {
        ck_assert_int_eq(
            pool_dec_numbers(&dec, POOL_F64, &elements, &count), 0);
        ck_assert_uint_eq(count, NUMBERS);
        ck_assert_int_eq(memcmp(elements, numbers, sizeof numbers), 0);
    }
    ck_assert_int_eq(pool_dec_finish(&dec), 0);
    pool_enc_free(&grown);
}
END_TEST

/* A clear forgets the values and the error, and keeps the buffer; a free gives
 * it back, and the encoder is a new one. */
START_TEST(test_clear_and_free)
{
    long blocks = pool__mem_live;
    pool_enc_t grown, fixed;

    pool_enc_init_growable(&grown);
    for (size_t i = 0; i < VALUES; i++)
        put(&grown, i);
    const void *data = pool_enc_data(&grown);
    for (int round = 0; round < 3; round++) {
        pool_enc_simple(&grown, 24);
        ck_assert_int_eq(pool_enc_finish(&grown, NULL), POOL_EINVAL);
        pool_enc_clear(&grown);
        ck_assert_uint_eq(finish(&grown), 0);
        pool_enc_init(&fixed, buffer, sizeof buffer);
        for (size_t i = 1; i < VALUES; i++) {
            put(&grown, i);
            put(&fixed, i);
        }
        expect_buffer(&grown, &fixed);
        ck_assert_ptr_eq(pool_enc_data(&grown), data);
    }
    ck_assert_int_eq((int)(pool__mem_live - blocks), 1);
    for (int round = 0; round < 2; round++) {
        pool_enc_free(&grown);
        ck_assert_int_eq((int)(pool__mem_live - blocks), 0);
        ck_assert_ptr_null(pool_enc_data(&grown));
        ck_assert_uint_eq(finish(&grown), 0);
    }
    pool_enc_null(&grown);
    ck_assert_uint_eq(finish(&grown), 1);
    pool_enc_free(&grown);
}
END_TEST

/* The caller's buffer: begun anew by a clear, untouched by a free. */
START_TEST(test_callers_buffer)
{
    unsigned char small[4];
    size_t size;
    pool_enc_t enc;

    pool_enc_init(&enc, small, sizeof small);
    pool_enc_double(&enc, 0.1);
    ck_assert_int_eq(pool_enc_finish(&enc, &size), POOL_ENOSPC);
    ck_assert_uint_eq(size, 9);
    pool_enc_clear(&enc);
    pool_enc_int(&enc, 7);
    pool_enc_free(&enc);
    ck_assert_ptr_eq(pool_enc_data(&enc), small);
    ck_assert_uint_eq(finish(&enc), 1);
    ck_assert_uint_eq(small[0], 7);
}
END_TEST

/* Memory runs out at each growth in turn, and is there again later: told at the
 * end, counted all the same, nothing more written before the next clear. */
START_TEST(test_memory_runs_out)
{
    long blocks = pool__mem_live, n = 0;
    size_t size, needed;
    pool_enc_t grown, counter;

    pool_enc_init(&counter, NULL, 0);
    for (size_t i = 0; i < VALUES; i++)
        put(&counter, i);
    needed = finish(&counter);
    for (int rc = -1; rc != 0; n++) {
        pool_enc_init_growable(&grown);
        pool__mem_fail_after = n;
        for (size_t i = 0; i < VALUES / 2; i++)
            put(&grown, i);
        pool__mem_fail_after = -1;
        rc = pool_enc_finish(&grown, NULL);
        const void *data = pool_enc_data(&grown);
        for (size_t i = VALUES / 2; i < VALUES; i++)
            put(&grown, i);
        ck_assert_int_eq(pool_enc_finish(&grown, &size), rc);
        ck_assert(rc == 0 || pool_enc_data(&grown) == data);
        ck_assert_uint_eq(size, needed);
        ck_assert_int_eq(rc, rc != 0 ? POOL_ENOMEM : 0);
        pool_enc_clear(&grown);
        pool_enc_init(&counter, buffer, sizeof buffer);
        for (size_t i = 0; i < VALUES; i++) {
            put(&grown, i);
            put(&counter, i);
        }
        expect_buffer(&grown, &counter);
        pool_enc_free(&grown);
    }
    ck_assert_int_gt((int)n, 10);
    ck_assert_int_eq((int)(pool__mem_live - blocks), 0);
}
END_TEST

/* The same through formats, whose errors say so. */
static int
encode(pool_enc_t *enc, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int rc = pool_vencode(enc, format, args);
    va_end(args);
    return rc;
}

START_TEST(test_formats)
{
    const double *found;
    const char *name;
    size_t count;
    pool_enc_t grown;

    pool_enc_init_growable(&grown);
    ck_assert_int_eq(encode(&grown, "s", "name"), 0);
    ck_assert_int_eq(encode(&grown, "ad", numbers, (size_t)1000), 0);
    ck_assert_int_eq(pool_decode(pool_enc_data(&grown), finish(&grown), "sad",
                         &name, &found, &count),
        0);
    ck_assert_str_eq(name, "name");
    ck_assert_uint_eq(count, 1000);
    ck_assert_int_eq(memcmp(found, numbers, 1000 * sizeof *found), 0);
    pool_enc_clear(&grown);
    pool__mem_fail_after = 0;
    ck_assert_int_eq(
        encode(&grown, "iad", 1, numbers, (size_t)NUMBERS), POOL_ENOMEM);
    pool__mem_fail_after = -1;
    ck_assert_str_eq(pool_errmsg(), "pool_encode: argument 2: no memory");
    ck_assert_int_eq(encode(&grown, "i", 1), POOL_ENOMEM);
    pool_enc_free(&grown);
}
END_TEST

int
main(void)
{
    const struct test tests[] = {
        {"same bytes", test_same_bytes, 0},
        {"large", test_large, 0},
        {"clear and free", test_clear_and_free, 0},
        {"the caller's buffer", test_callers_buffer, 0},
        {"memory runs out", test_memory_runs_out, 0},
        {"formats", test_formats, 0},
    };

    return run_tests("codec: growable encoders", tests, COUNT(tests));
}
