/* POOL_SUBMIT: the format comes from the types, the values arrive exactly. */
#include "support.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* What the task got, as the bytes that were sent. */
static pool_future_t *future;

static void
expect(const char *format, ...)
{
    unsigned char buffer[1024];
    const void *data;
    size_t size;
    pool_enc_t enc;
    va_list args;

    pool_enc_init(&enc, buffer, sizeof buffer);
    va_start(args, format);
    ck_assert_int_eq(pool_vencode(&enc, format, args), 0);
    va_end(args);
    size_t expected = 0;
    ck_assert_int_eq(pool_enc_finish(&enc, &expected), 0);
    ck_assert_int_eq(pool_future_bytes(future, PATIENCE_MS, &data, &size), 0);
    ck_assert_uint_eq(size, expected);
    ck_assert(size == 0 || memcmp(data, buffer, size) == 0);
    pool_future_free(future);
}

#define SUBMIT(...) ck_assert_int_eq(POOL_SUBMIT(pool, &future, __VA_ARGS__), 0)

/* ---- one type at a time ----------------------------------------------- */

static void
integers(pool_t *pool)
{
    /* clang-format off */
    SUBMIT(task_echo, (bool)true); expect("b", 1);
    SUBMIT(task_echo, (bool)false); expect("b", 0);
    SUBMIT(task_echo, (char)CHAR_MIN); expect("i", CHAR_MIN);
    SUBMIT(task_echo, (char)CHAR_MAX); expect("i", CHAR_MAX);
    SUBMIT(task_echo, (signed char)SCHAR_MIN); expect("i", SCHAR_MIN);
    SUBMIT(task_echo, (unsigned char)UCHAR_MAX); expect("u", UCHAR_MAX);
    SUBMIT(task_echo, (short)SHRT_MIN); expect("i", SHRT_MIN);
    SUBMIT(task_echo, (short)SHRT_MAX); expect("i", SHRT_MAX);
    SUBMIT(task_echo, (unsigned short)USHRT_MAX); expect("u", USHRT_MAX);
    SUBMIT(task_echo, INT_MIN); expect("i", INT_MIN);
    SUBMIT(task_echo, INT_MAX); expect("i", INT_MAX);
    SUBMIT(task_echo, UINT_MAX); expect("u", UINT_MAX);
    SUBMIT(task_echo, LONG_MIN); expect("x", (int64_t)LONG_MIN);
    SUBMIT(task_echo, LONG_MAX); expect("x", (int64_t)LONG_MAX);
    SUBMIT(task_echo, ULONG_MAX); expect("t", (uint64_t)ULONG_MAX);
    SUBMIT(task_echo, LLONG_MIN); expect("x", (int64_t)LLONG_MIN);
    SUBMIT(task_echo, LLONG_MAX); expect("x", (int64_t)LLONG_MAX);
    SUBMIT(task_echo, ULLONG_MAX); expect("t", (uint64_t)ULLONG_MAX);
    SUBMIT(task_echo, INT32_MIN); expect("i", INT32_MIN);
    SUBMIT(task_echo, INT64_MIN); expect("x", INT64_MIN);
    SUBMIT(task_echo, UINT64_MAX); expect("t", UINT64_MAX);
    SUBMIT(task_echo, sizeof(int)); expect("t", (uint64_t)sizeof(int));
    SUBMIT(task_echo, 'a'); expect("i", 'a'); /* an int in C */
    SUBMIT(task_echo, 0); expect("i", 0);
    /* clang-format on */
}

static void
floats(pool_t *pool)
{
    static const double list[] = {0.0, -0.0, 0x1p-1074, -0x1.fffffffffffffp1023,
        1.0 / 3, HUGE_VAL, -HUGE_VAL, 65504.0, 65505.0};
    static const float singles[] = {
        0.0f, -0.0f, 0x1p-149f, 0x1.fffffep127f, 1.0f / 3};

    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        SUBMIT(task_echo, list[i]);
        expect("d", list[i]);
    }
    for (size_t i = 0; i < sizeof singles / sizeof singles[0]; i++) {
        SUBMIT(task_echo, singles[i]);
        expect("d", (double)singles[i]);
    }
}

static void
strings(pool_t *pool)
{
    char array[] = "an array";
    char *plain = array + 3;
    const char *constant = "na\xc3\xafve \xe2\x82\xac";

    SUBMIT(task_echo, "a literal");
    expect("s", "a literal");
    SUBMIT(task_echo, "");
    expect("s", "");
    SUBMIT(task_echo, array);
    expect("s", array);
    SUBMIT(task_echo, plain);
    expect("s", "array");
    SUBMIT(task_echo, constant);
    expect("s", constant);
    int rc = POOL_SUBMIT(pool, &future, task_echo, "\xff");
    ck_assert_int_eq(rc, POOL_EFORMAT);
}

static void
types(int unused)
{
    (void)unused;
    test_begin();
    pool_t *pool = test_pool(1);
    integers(pool);
    floats(pool);
    strings(pool);
    pool_destroy(pool);
    test_end();
}

/* ---- 0 to 12 arguments ------------------------------------------------ */

/* The twelve arguments that the cases are beginnings of. */
#define A1 (bool)true
#define A2 A1, -2
#define A3 A2, 3u
#define A4 A3, -4L
#define A5 A4, 5UL
#define A6 A5, -6LL
#define A7 A6, 7ULL
#define A8 A7, 8.5f
#define A9 A8, -9.25
#define A10 A9, "ten"
#define A11 A10, (short)-11
#define A12 A11, (unsigned char)12
/* The same as pool_submit wants them. */
#define B4 true, -2, 3u, (int64_t)-4
#define B8 B4, (uint64_t)5, (int64_t)-6, (uint64_t)7, 8.5

static void
numbers_of_arguments(int unused)
{
    (void)unused;
    test_begin();
    pool_t *pool = test_pool(2);
    /* clang-format off */
    SUBMIT(task_echo); expect("");
    SUBMIT(task_echo, A1); expect("b", true);
    SUBMIT(task_echo, A2); expect("bi", true, -2);
    SUBMIT(task_echo, A3); expect("biu", true, -2, 3u);
    SUBMIT(task_echo, A4); expect("biux", B4);
    SUBMIT(task_echo, A5); expect("biuxt", B4, (uint64_t)5);
    SUBMIT(task_echo, A6); expect("biuxtx", B4, (uint64_t)5, (int64_t)-6);
    SUBMIT(task_echo, A7);
    expect("biuxtxt", B4, (uint64_t)5, (int64_t)-6, (uint64_t)7);
    SUBMIT(task_echo, A8); expect("biuxtxtd", B8);
    SUBMIT(task_echo, A9); expect("biuxtxtdd", B8, -9.25);
    SUBMIT(task_echo, A10); expect("biuxtxtdds", B8, -9.25, "ten");
    SUBMIT(task_echo, A11); expect("biuxtxtddsi", B8, -9.25, "ten", -11);
    SUBMIT(task_echo, A12);
    expect("biuxtxtddsiu", B8, -9.25, "ten", -11, 12u);
    /* clang-format on */
    pool_destroy(pool);
    test_end();
}

/* ---- as an expression ------------------------------------------------- */

static int evaluated;

static int
once(void)
{
    return ++evaluated;
}

/* Arguments are evaluated once; errors and a NULL future are pool_submit's. */
static void
plain_call(int unused)
{
    double x = 0;

    (void)unused;
    test_begin();
    pool_t *pool = test_pool(1);
    const volatile int qualified = 7;
    evaluated = 0;
    SUBMIT(task_echo, once(), once() * 0 + qualified);
    ck_assert_int_eq(evaluated, 2);
    pool_future_free(future);
    SUBMIT(task_double, 21.0);
    ck_assert_int_eq(pool_future_result(future, PATIENCE_MS, "d", &x), 0);
    ck_assert_double_eq(x, 42);
    pool_future_free(future);
    ck_assert_int_eq(POOL_SUBMIT(pool, NULL, task_double, 1.0), 0);
    int rc = POOL_SUBMIT(NULL, &future, task_double, 1.0);
    ck_assert_int_eq(rc, POOL_EINVAL);
    pool_destroy(pool);
    test_end();
}

int
main(int argc, char **argv)
{
    static const struct test tests[] = {
        {"types", types},
        {"numbers_of_arguments", numbers_of_arguments},
        {"plain_call", plain_call},
        {NULL, NULL},
    };

    return test_main("submit macro", tests, argc, argv);
}
