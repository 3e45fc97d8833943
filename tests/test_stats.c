/* Histograms and their text: buckets over the whole range of durations, and
 * the exposition format read by a strict parser. */
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto.h"
#include "stats.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* ---- buckets ---------------------------------------------------------- */

static uint64_t
lower(unsigned bucket)
{
    return bucket == 0 ? 0 : pool_histogram_bound(bucket - 1);
}

static void
check_duration(uint64_t ns)
{
    unsigned bucket = pool__duration_pack(ns) >> 8;

    ck_assert_msg(
        lower(bucket) <= ns, "%ju below bucket %u", (uintmax_t)ns, bucket);
    ck_assert_msg(ns < pool_histogram_bound(bucket), "%ju above bucket %u",
        (uintmax_t)ns, bucket);
}

static uint64_t
next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

START_TEST(bounds)
{
    uint64_t state = 88172645463325252u;

    for (unsigned i = 1; i < POOL_HISTOGRAM_BUCKETS; i++)
        ck_assert_uint_le(lower(i), pool_histogram_bound(i));
    ck_assert_uint_eq(
        pool_histogram_bound(POOL_HISTOGRAM_BUCKETS - 1), UINT64_MAX);
    ck_assert_uint_eq(pool_histogram_bound(100000), UINT64_MAX);
    ck_assert_uint_eq(pool_histogram_bound(0), 256);
    check_duration(0);
    for (unsigned power = 0; power < 64; power++)
        for (uint64_t d = 0; d < 3; d++)
            check_duration((UINT64_C(1) << power) - 1 + d);
    check_duration(UINT64_MAX - 1);
    for (int i = 0; i < 200000; i++)
        check_duration(next_random(&state) >> (i % 64));
    for (unsigned i = 0; i < POOL_HISTOGRAM_BUCKETS; i++)
        if (lower(i) < pool_histogram_bound(i))
            ck_assert_uint_eq(pool__duration_pack(lower(i)) >> 8, i);
}
END_TEST

static void
add(struct pool__durations *d, uint64_t ns)
{
    pool__durations_add(d, pool__duration_pack(ns), ns);
}

START_TEST(quantiles)
{
    struct pool__durations d = {0};
    pool_histogram_t h;

    pool__stats_histogram(&d, &h);
    ck_assert_uint_eq(h.count + h.sum_ns + h.max_ns + h.p50_ns + h.p99_ns, 0);
    add(&d, 1000000);
    pool__stats_histogram(&d, &h);
    ck_assert_uint_eq(h.p50_ns, 1000000); /* never above max */
    ck_assert_uint_eq(h.p99_ns, 1000000);
    for (int i = 0; i < 97; i++)
        add(&d, 1000);
    add(&d, 5000000);
    add(&d, 7000000000);
    pool__stats_histogram(&d, &h);
    ck_assert_uint_eq(h.count, 100);
    ck_assert_uint_eq(h.sum_ns, 97 * 1000 + 1000000 + 5000000 + 7000000000);
    ck_assert_uint_eq(h.max_ns, 7000000000);
    ck_assert_uint_eq(h.p50_ns, 1024);
    ck_assert_uint_gt(h.p99_ns, 5000000);
    ck_assert_uint_le(h.p99_ns, 5000000 + 5000000 / 4);
    add(&d, UINT64_MAX / 2);
    add(&d, UINT64_MAX / 2);
    pool__stats_histogram(&d, &h);
    ck_assert_uint_eq(h.p99_ns, UINT64_MAX / 2);
    ck_assert_uint_eq(h.buckets[POOL_HISTOGRAM_BUCKETS - 1], 2);
}
END_TEST

START_TEST(codes)
{
    static const int list[] = {POOL_ETASK, POOL_EDIED, POOL_EDEADLINE,
        POOL_EBROKEN, POOL_EPROTO, POOL_EFORMAT, POOL_ENOMEM};
    struct pool__stats s = {0};

    for (size_t i = 0; i < COUNT(list); i++)
        for (size_t n = 0; n <= i; n++)
            pool__stats_failed(&s, list[i]);
    ck_assert_uint_eq(s.failed_task, 1);
    ck_assert_uint_eq(s.failed_died, 2);
    ck_assert_uint_eq(s.failed_deadline, 3);
    ck_assert_uint_eq(s.failed_broken, 4);
    ck_assert_uint_eq(s.failed_proto, 5);
    ck_assert_uint_eq(s.failed_other, 6 + 7);
}
END_TEST

/* ---- the text --------------------------------------------------------- */

/* What a parser has read so far. */
struct parser {
    const char *at;
    char family[64], type[16]; /* of the last TYPE line */
    char seen[64][64];         /* families */
    size_t families, samples;
    double cumulative, le; /* of the last bucket */
    double infinite;       /* of +Inf; -1: not yet */
};

struct sample {
    char name[64], pool[256], code[32], le[32];
    double value;
};

static void
expect(struct parser *p, const char *text)
{
    size_t n = strlen(text);

    ck_assert_msg(
        strncmp(p->at, text, n) == 0, "%s expected at %.40s", text, p->at);
    p->at += n;
}

/* [a-zA-Z_:][a-zA-Z0-9_:]* */
static void
read_name(struct parser *p, char *to, size_t size)
{
    size_t n = strspn(p->at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"
                             "WXYZ_:0123456789");

    ck_assert(n > 0 && n < size && strchr("0123456789", *p->at) == NULL);
    memcpy(to, p->at, n);
    to[n] = '\0';
    p->at += n;
}

/* A quoted value, unescaped. */
static void
read_value(struct parser *p, char *to, size_t size)
{
    size_t n = 0;

    for (expect(p, "\""); *p->at != '"'; p->at++) {
        char c = *p->at;
        ck_assert(c != '\0' && c != '\n' && n + 1 < size);
        if (c == '\\') {
            c = *++p->at;
            ck_assert(c == '\\' || c == '"' || c == 'n');
            c = c == 'n' ? '\n' : c;
        }
        to[n++] = c;
    }
    to[n] = '\0';
    p->at++;
}

static void
read_labels(struct parser *p, struct sample *s)
{
    char name[64];

    for (expect(p, "{");; expect(p, ",")) {
        read_name(p, name, sizeof name);
        expect(p, "=");
        if (strcmp(name, "pool") == 0)
            read_value(p, s->pool, sizeof s->pool);
        else if (strcmp(name, "code") == 0)
            read_value(p, s->code, sizeof s->code);
        else if (strcmp(name, "le") == 0)
            read_value(p, s->le, sizeof s->le);
        else
            ck_abort_msg("label %s", name);
        if (*p->at == '}')
            break;
    }
    expect(p, "}");
}

static double
read_number(const char *text, char **end)
{
    ck_assert_msg(strspn(text, "0123456789") > 0, "a number: %.20s", text);
    return strtod(text, end);
}

static void
read_sample(struct parser *p, struct sample *s)
{
    char *end;

    *s = (struct sample){.value = 0};
    read_name(p, s->name, sizeof s->name);
    read_labels(p, s);
    expect(p, " ");
    s->value = read_number(p->at, &end);
    p->at = end;
    expect(p, "\n");
    p->samples++;
}

/* HELP and TYPE of a family that did not come before. */
static void
read_head(struct parser *p)
{
    char name[64];

    expect(p, "# HELP ");
    read_name(p, name, sizeof name);
    expect(p, " ");
    ck_assert(*p->at != '\n');
    p->at = strchr(p->at, '\n');
    ck_assert_ptr_nonnull(p->at);
    expect(p, "\n# TYPE ");
    read_name(p, p->family, sizeof p->family);
    ck_assert_str_eq(p->family, name);
    expect(p, " ");
    read_name(p, p->type, sizeof p->type);
    expect(p, "\n");
    ck_assert(strcmp(p->type, "counter") == 0 ||
              strcmp(p->type, "gauge") == 0 ||
              strcmp(p->type, "histogram") == 0);
    for (size_t i = 0; i < p->families; i++)
        ck_assert_str_ne(p->seen[i], name);
    ck_assert_uint_lt(p->families, COUNT(p->seen));
    strcpy(p->seen[p->families++], name);
    p->cumulative = 0;
    p->le = 0;
    p->infinite = -1;
}

static void
check_bucket(struct parser *p, const struct sample *s)
{
    char *end;

    ck_assert(s->value >= p->cumulative);
    ck_assert(p->infinite < 0);
    p->cumulative = s->value;
    if (strcmp(s->le, "+Inf") == 0) {
        p->infinite = s->value;
        return;
    }
    double le = read_number(s->le, &end);
    ck_assert(*end == '\0' && le > p->le);
    p->le = le;
}

/* The sample belongs to the family that was announced last. */
static void
check_sample(struct parser *p, const struct sample *s)
{
    size_t n = strlen(p->family);

    ck_assert_msg(strncmp(s->name, p->family, n) == 0, "%s", s->name);
    const char *suffix = s->name + n;
    if (strcmp(p->type, "histogram") != 0) {
        ck_assert_str_eq(suffix, "");
        bool total = n > 6 && strcmp(p->family + n - 6, "_total") == 0;
        ck_assert_int_eq(total, strcmp(p->type, "counter") == 0);
    } else if (strcmp(suffix, "_bucket") == 0) {
        check_bucket(p, s);
    } else if (strcmp(suffix, "_count") == 0) {
        ck_assert(s->value == p->infinite);
    } else {
        ck_assert_str_eq(suffix, "_sum");
    }
    ck_assert_int_eq(s->le[0] != '\0', strcmp(suffix, "_bucket") == 0);
}

static double
parse(const char *text, const char *pool, const char *wanted, const char *code)
{
    struct parser p = {.at = text};
    struct sample s;
    double found = -1;

    while (*p.at != '\0') {
        read_head(&p);
        while (*p.at != '#' && *p.at != '\0') {
            read_sample(&p, &s);
            check_sample(&p, &s);
            ck_assert_str_eq(s.pool, pool);
            if (strcmp(s.name, wanted) == 0 && strcmp(s.code, code) == 0)
                found = s.value;
        }
    }
    ck_assert_uint_eq(p.families, 21);
    return found;
}

static void
fill(pool_stats_t *stats)
{
    struct pool__durations d = {0};
    uint64_t state = 88172645463325252u;

    *stats = (pool_stats_t)POOL_STATS_INIT;
    stats->submitted = 1;
    stats->completed = 2;
    stats->failed_died = 3;
    stats->failed_other = 4;
    stats->bytes_sent = UINT64_C(1) << 40;
    stats->idle = 6;
    for (int i = 0; i < 1000; i++)
        add(&d, next_random(&state) >> (16 + i % 48));
    pool__stats_histogram(&d, &stats->run_time);
}

START_TEST(exposition)
{
    static const struct {
        const char *name, *code;
        double value;
    } cases[] = {{"forkpool_tasks_submitted_total", "", 1},
        {"forkpool_tasks_completed_total", "", 2},
        {"forkpool_tasks_failed_total", "POOL_EDIED", 3},
        {"forkpool_tasks_failed_total", "other", 4},
        {"forkpool_tasks_failed_total", "POOL_ETASK", 0},
        {"forkpool_sent_bytes_total", "", 1099511627776.0},
        {"forkpool_workers_idle", "", 6},
        {"forkpool_task_run_seconds_count", "", 1000},
        {"forkpool_task_queue_seconds_count", "", 0}};
    static const char *const names[] = {
        "pool", "a\"b\\c\nd", "", "0123456789_-.ABCxyz"};
    static char text[32768];
    pool_stats_t stats;

    fill(&stats);
    for (size_t n = 0; n < COUNT(names); n++) {
        size_t size = pool__metrics_write(text, sizeof text, names[n], &stats);
        ck_assert_uint_lt(size, sizeof text);
        ck_assert_uint_eq(strlen(text), size);
        for (size_t i = 0; i < COUNT(cases); i++)
            ck_assert_double_eq(
                parse(text, names[n], cases[i].name, cases[i].code),
                cases[i].value);
    }
}
END_TEST

START_TEST(buckets_of_text)
{
    static char text[32768];
    pool_stats_t stats = POOL_STATS_INIT;
    struct pool__durations d = {0};

    add(&d, 1023);
    add(&d, 1024);
    add(&d, 4095);
    add(&d, UINT64_C(4000) * 1000000000);
    pool__stats_histogram(&d, &stats.run_time);
    pool__metrics_write(text, sizeof text, "p", &stats);
    static const char *const lines[] = {
        "_bucket{pool=\"p\",le=\"0.000001024\"} 1\n",
        "_bucket{pool=\"p\",le=\"0.000004096\"} 3\n",
        "_bucket{pool=\"p\",le=\"1099.511627776\"} 3\n",
        "_bucket{pool=\"p\",le=\"3848.290697216\"} 3\n",
        "_bucket{pool=\"p\",le=\"+Inf\"} 4\n",
        "_sum{pool=\"p\"} 4000.000006142\n", "_count{pool=\"p\"} 4\n"};
    for (size_t i = 0; i < COUNT(lines); i++) {
        char line[128] = "forkpool_task_run_seconds";
        strcat(line, lines[i]);
        ck_assert_msg(strstr(text, line) != NULL, "%s", line);
    }
}
END_TEST

/* As snprintf: every size, nothing written beyond it. */
START_TEST(cut)
{
    static char whole[32768], part[32768];
    pool_stats_t stats;

    fill(&stats);
    size_t length = pool__metrics_write(whole, sizeof whole, "p", &stats);
    ck_assert_uint_eq(pool__metrics_write(NULL, 0, "p", &stats), length);
    for (size_t size = 1; size <= length + 2; size += size / 16 + 1) {
        memset(part, 'x', sizeof part);
        ck_assert_uint_eq(pool__metrics_write(part, size, "p", &stats), length);
        size_t n = pool__min(size - 1, length);
        ck_assert(memcmp(part, whole, n) == 0 && part[n] == '\0');
        ck_assert(part[size] == 'x');
    }
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("stats");
    TCase *tcase = tcase_create("stats");

    tcase_add_test(tcase, bounds);
    tcase_add_test(tcase, quantiles);
    tcase_add_test(tcase, codes);
    tcase_add_test(tcase, exposition);
    tcase_add_test(tcase, buckets_of_text);
    tcase_add_test(tcase, cut);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
