/* What the codec's test programs share: hexadecimal, exact copies, a seeded
 * random source, a generator of foreign CBOR, and main. */
#ifndef TESTS_CODEC_CHECK_H
#define TESTS_CODEC_CHECK_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "require.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* Read digits into bytes; their number. */
static inline size_t
unhex(const char *digits, unsigned char *bytes)
{
    size_t n = strlen(digits) / 2;

    for (size_t i = 0; i < n; i++) {
        const char pair[] = {digits[2 * i], digits[2 * i + 1], '\0'};
        bytes[i] = (unsigned char)strtoul(pair, NULL, 16);
    }
    return n;
}

/* A copy in a block of exactly its size, so that sanitizers see an overread;
 * also of 0 bytes. */
static inline unsigned char *
exact_copy(const void *data, size_t size)
{
    unsigned char *copy = malloc(size > 0 ? size : 1);

    require(copy != NULL);
    if (size == 0)
        return realloc(copy, 1);
    return memcpy(copy, data, size);
}

/* ---- Random source: splitmix64, seeded by FORKPOOL_TEST_SEED ---- */

static uint64_t random_state;

static inline uint64_t
random_u64(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline uint64_t
random_below(uint64_t n)
{
    return random_u64() % n;
}

/* Numbers of all magnitudes, their edges more often than chance has it. */
static inline uint64_t
random_magnitude(void)
{
    uint64_t n = random_u64() >> random_below(64);

    return random_below(4) > 0 ? n
                               : (UINT64_C(1) << random_below(64)) - (n & 1);
}

static inline void
random_seed(const char *test)
{
    const char *seed = getenv("FORKPOOL_TEST_SEED");

    random_state = seed != NULL ? strtoull(seed, NULL, 0) : 8949;
    printf("%s: FORKPOOL_TEST_SEED=%llu\n", test,
        (unsigned long long)random_state);
    fflush(stdout);
}

/* How often a random test goes round: 100 times more in the full tier. */
static inline unsigned
rounds(unsigned n)
{
    const char *full = getenv("FORKPOOL_TEST_FULL");

    return full != NULL && full[0] == '1' ? 100 * n : n;
}

/* ---- Foreign CBOR: well-formed, but as no tidy encoder writes it ---- */

struct foreign {
    unsigned char *at, *end;
};

static inline void
foreign_head(struct foreign *out, unsigned major, uint64_t n)
{
    unsigned least = n < 24            ? 0
                     : n <= 0xff       ? 1
                     : n <= 0xffff     ? 2
                     : n <= 0xffffffff ? 3
                                       : 4;
    unsigned size = least + (unsigned)random_below(5 - least);

    if (random_below(2))
        size = least;
    if (size == 0) {
        *out->at++ = (unsigned char)(major << 5 | n);
        return;
    }
    unsigned width = 1u << (size - 1);
    *out->at++ = (unsigned char)(major << 5 | (23 + size));
    for (unsigned i = width; i-- > 0;)
        *out->at++ = (unsigned char)(n >> (8 * i));
}

static inline void
foreign_string(struct foreign *out, unsigned major)
{
    size_t n = random_below(random_below(8) ? 12 : 300);

    if (n + 9 > (size_t)(out->end - out->at))
        n = 0;
    foreign_head(out, major, n);
    for (size_t i = 0; i < n; i++)
        *out->at++ = (unsigned char)('a' + random_below(26));
}

/* A simple value or a float of some width. */
static inline void
foreign_simple(struct foreign *out)
{
    switch (random_below(4)) {
    case 0:
        *out->at++ = (unsigned char)(0xe0 | random_below(24));
        break;
    case 1:
        *out->at++ = 0xf8;
        *out->at++ = (unsigned char)(32 + random_below(224));
        break;
    default: {
        unsigned size = 1 + (unsigned)random_below(3);
        *out->at++ = (unsigned char)(0xf8 + size);
        for (unsigned i = 0; i < 1u << size; i++)
            *out->at++ = (unsigned char)random_u64();
    }
    }
}

static inline void foreign_item(struct foreign *out, unsigned depth);

static inline void
foreign_container(struct foreign *out, unsigned major, unsigned depth)
{
    size_t count = random_below(5);
    bool indefinite = random_below(3) == 0;

    if (indefinite)
        *out->at++ = (unsigned char)(major << 5 | 31);
    else
        foreign_head(out, major, count);
    for (size_t i = 0; i < count << (major == 5); i++)
        foreign_item(out, depth - 1);
    if (indefinite)
        *out->at++ = 0xff;
}

/* One item. The caller leaves 32 KiB, which this depth never fills. */
static inline void
foreign_item(struct foreign *out, unsigned depth)
{
    unsigned major = (unsigned)random_below(8);
    bool full = out->end - out->at < 1024;

    if (full || (depth == 0 && major >= 4 && major <= 6)) {
        *out->at++ = (unsigned char)random_below(24);
    } else if (major < 2) {
        foreign_head(out, major, random_magnitude());
    } else if (major < 4 && random_below(4) == 0) {
        *out->at++ = (unsigned char)(major << 5 | 31);
        for (size_t i = random_below(3); i > 0; i--)
            foreign_string(out, major);
        *out->at++ = 0xff;
    } else if (major < 4) {
        foreign_string(out, major);
    } else if (major < 6) {
        foreign_container(out, major, depth);
    } else if (major == 6) {
        foreign_head(out, 6, random_magnitude());
        foreign_item(out, depth - 1);
    } else {
        foreign_simple(out);
    }
}

/* ---- main ---- */

struct test {
    const char *name;
    const TTest *test;
    int rounds; /* of a loop test over a table; 0: once */
};

static inline int
run_tests(const char *name, const struct test *tests, size_t n)
{
    Suite *suite = suite_create(name);

    for (size_t i = 0; i < n; i++) {
        TCase *tcase = tcase_create(tests[i].name);
        tcase_set_timeout(tcase, 600);
        tcase_add_loop_test(
            tcase, tests[i].test, 0, tests[i].rounds > 0 ? tests[i].rounds : 1);
        suite_add_tcase(suite, tcase);
    }
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
