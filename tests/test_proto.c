/* What the library's own payloads say: errors and lines of log come out
 * printable, whatever a worker has put there. */
#include "support.h"

#include <string.h>

#include "proto.h"

static void
printable(int unused)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"", ""}, {"plain ~", "plain ~"}, {"a\tb\nc\x7f", "a?b?c?"},
        {"\x1b[31mred", "?[31mred"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"\xe2\x82\xac \xf0\x9f\x8c\x8a", "\xe2\x82\xac \xf0\x9f\x8c\x8a"},
        {"C1 \xc2\x9b", "C1 ??"}, {"cut \xe2\x82", "cut ??"},
        {"\xff\xc3\xbc\x80", "?\xc3\xbc?"}, {"\xc0\x80", "??"}, /* overlong */
        {"\xed\xa0\x80", "???"},     /* a surrogate */
        {"\xf4\x90\x80\x80", "????"} /* beyond U+10FFFF */
    };
    char text[64];

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n = strlen(cases[i].from);
        memcpy(text, cases[i].from, n + 1);
        pool__make_printable(text, n);
        ck_assert_str_eq(text, cases[i].to);
    }
    memcpy(text, "a\0b", 4);
    pool__make_printable(text, 3);
    ck_assert_str_eq(text, "a?b");
}

static void
errors_go_there_and_back(int unused)
{
    static const struct pool__error error = {POOL_ETASK, -7, "r\xc3\xbc \n"};
    struct pool__error back;
    unsigned char payload[POOL__ERROR_MAX];

    (void)unused;
    size_t n = pool__error_encode(payload, &error);
    ck_assert(pool__error_decode(payload, n, &back));
    ck_assert_int_eq(back.code, POOL_ETASK);
    ck_assert_int_eq(back.task_code, -7);
    ck_assert_str_eq(back.message, "r\xc3\xbc ?");
    for (size_t cut = 0; cut < n; cut++)
        ck_assert(!pool__error_decode(payload, cut, &back));
}

static void
errors_that_are_none(int unused)
{
    struct pool__error error = {POOL_ESHUTDOWN, 0, "no"}, back;
    unsigned char payload[POOL__ERROR_MAX + 64];
    char text[POOL__MESSAGE_MAX] = "";
    size_t n = pool__error_encode(payload, &error);

    (void)unused;
    ck_assert(!pool__error_decode(payload, n, &back)); /* not a worker's code */
    memset(text, 'x', sizeof text);
    ck_assert_int_eq(pool_encode(payload, sizeof payload, &n, "iiay",
                         (int32_t)POOL_ETASK, 1, text, sizeof text),
        0);
    ck_assert(!pool__error_decode(payload, n, &back)); /* a byte too long */
    ck_assert_int_eq(pool_encode(payload, sizeof payload, &n, "iiay",
                         (int32_t)POOL_ETASK, 1, text, sizeof text - 1),
        0);
    ck_assert(pool__error_decode(payload, n, &back));
    ck_assert_uint_eq(strlen(back.message), POOL__MESSAGE_MAX - 1);
}

static void
durations(int unused)
{
    (void)unused;
    for (uint64_t ns = 1; ns < UINT64_C(1) << 41; ns = ns * 3 + 1) {
        uint64_t back = pool__duration_unpack(pool__duration_pack(ns));
        ck_assert_uint_le(back, ns);
        ck_assert_uint_le(ns - back, ns >> 10);
    }
}

static const struct test tests[] = {
    {"printable", printable},
    {"errors_go_there_and_back", errors_go_there_and_back},
    {"errors_that_are_none", errors_that_are_none},
    {"durations", durations},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("proto", tests, argc, argv);
}
