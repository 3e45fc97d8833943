/* Encoders with a buffer of their own: the same bytes as in a caller's buffer,
 * however often it grew; what clear and free leave; where memory ends. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "forkpool_codec.h"
#include "mem.h"
#include "support.h"

#define VALUES 4000
#define NUMBERS 400000 /* 3.2 MB: more than the least that gets huge pages */
#define HUGE_PAGE ((size_t)2 << 20)
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
static void
same_bytes(int unused)
{
    (void)unused;
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

/* Of 2 MiB and more: a block of whole huge pages. */
static void
large(int unused)
{
    const void *elements;
    pool_enc_t grown;
    pool_dec_t dec;
    size_t count;

    (void)unused;
    for (size_t i = 0; i < NUMBERS; i++)
        numbers[i] = (double)i;
    pool_enc_init_growable(&grown);
    for (int round = 0; round < 3; round++) {
        pool_enc_numbers(&grown, POOL_F64, numbers, NUMBERS);
        ck_assert_uint_eq((uintptr_t)pool_enc_data(&grown) % HUGE_PAGE, 0);
    }
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

/* A clear forgets the values and the error, and keeps the buffer; a free gives
 * it back, and the encoder is a new one. */
static void
clear_and_free(int unused)
{
    long blocks = pool__mem_live;
    pool_enc_t grown, fixed;

    (void)unused;
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

/* The caller's buffer: begun anew by a clear, untouched by a free. */
static void
callers_buffer(int unused)
{
    unsigned char small[4];
    size_t size;
    pool_enc_t enc;

    (void)unused;
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

/* Memory runs out at each growth in turn, and is there again later: told at the
 * end, counted all the same, nothing more written before the next clear. */
static void
memory_runs_out(int unused)
{
    long blocks = pool__mem_live, n = 0;
    size_t size, needed;
    pool_enc_t grown, counter;

    (void)unused;
    pool_enc_init(&counter, NULL, 0);
    for (size_t i = 0; i < VALUES; i++)
        put(&counter, i);
    needed = finish(&counter);
    for (int rc = -1; rc != 0; n++) {
        ck_assert_int_lt((int)n, 32); /* it grows by factors, not by values */
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

/* The same through formats, whose errors say so. */
static void
through_formats(int unused)
{
    const double *found;
    const char *name;
    size_t count;
    pool_enc_t grown;

    (void)unused;
    pool_enc_init_growable(&grown);
    ck_assert_int_eq(test_encode(&grown, "s", "name"), 0);
    ck_assert_int_eq(test_encode(&grown, "ad", numbers, (size_t)1000), 0);
    ck_assert_int_eq(pool_decode(pool_enc_data(&grown), finish(&grown), "sad",
                         &name, &found, &count),
        0);
    ck_assert_str_eq(name, "name");
    ck_assert_uint_eq(count, 1000);
    ck_assert_int_eq(memcmp(found, numbers, 1000 * sizeof *found), 0);
    pool_enc_clear(&grown);
    pool__mem_fail_after = 0;
    ck_assert_int_eq(
        test_encode(&grown, "iad", 1, numbers, (size_t)NUMBERS), POOL_ENOMEM);
    pool__mem_fail_after = -1;
    ck_assert_str_eq(pool_errmsg(), "pool_encode: argument 2: no memory");
    ck_assert_int_eq(test_encode(&grown, "i", 1), POOL_ENOMEM);
    pool_enc_free(&grown);
}

static const struct test tests[] = {
    {"same_bytes", same_bytes},
    {"large", large},
    {"clear_and_free", clear_and_free},
    {"callers_buffer", callers_buffer},
    {"memory_runs_out", memory_runs_out},
    {"through_formats", through_formats},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("codec: growable encoders", tests, argc, argv);
}
