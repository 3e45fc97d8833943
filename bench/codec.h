/* What the codec programs share: the values, the clock and the check. Each
 * program is one codec; it is called with a shape,
 *   records  1,000 records of an integer, a double, a boolean and a text
 *   doubles  1,000,000 doubles, item by item
 *   array    1,000,000 doubles as one typed array or byte string
 * and prints how many values a second it encodes and decodes again. Every value
 * is read; a wrong sum is an error. */
#ifndef FORKPOOL_BENCH_CODEC_H
#define FORKPOOL_BENCH_CODEC_H

#include <stdio.h>
#include <string.h>

#include "bench.h"

#define RECORDS 1000
#define DOUBLES 1000000 /* a multiple of 4 */

struct record {
    int64_t id;
    double price;
    bool fresh;
    char name[24];
    size_t length; /* of name */
};

/* The values; a tenth of the doubles is whole, ids take one to five bytes. */
static struct record records[RECORDS];
static double doubles[DOUBLES];

/* What a codec does: encode all of a shape into a buffer that it keeps, and
 * decode that, adding up what it reads. */
struct shape {
    const char *name;
    void (*encode)(void);
    void (*decode)(double *sum);
    size_t values;
};

static inline void
codec_fill(void)
{
    for (int i = 0; i < RECORDS; i++) {
        struct record *r = &records[i];
        r->id = (i % 7 - 1) * (int64_t)i * i;
        r->price = 0.1 * i;
        r->fresh = i % 3 == 0;
        r->length =
            (size_t)snprintf(r->name, sizeof r->name, "feed water %d", i);
    }
    for (int i = 0; i < DOUBLES; i++)
        doubles[i] = 0.1 * i;
}

/* What reading adds: each number, and of a text its length and last byte. */
static inline double
codec_text(const void *text, size_t length)
{
    return (double)length + ((const unsigned char *)text)[length - 1];
}

static inline double
codec_load(const char *from)
{
    double x;

    memcpy(&x, from, sizeof x);
    return x;
}

/* Of an array of doubles in the machine's order, aligned or not. Four sums in
 * registers, or the additions would wait for one another: it is reading that
 * is measured, not adding. */
static inline double
codec_sum(const void *from, size_t count)
{
    const char *at = from, *end = at + count * sizeof(double);
    double a = 0, b = 0, c = 0, d = 0;

    for (; at < end; at += 4 * sizeof(double)) {
        a += codec_load(at);
        b += codec_load(at + sizeof(double));
        c += codec_load(at + 2 * sizeof(double));
        d += codec_load(at + 3 * sizeof(double));
    }
    return a + b + c + d;
}

static inline double
codec_expected(const char *shape)
{
    double sum = 0;

    if (strcmp(shape, "records") != 0) {
        for (int i = 0; i < DOUBLES; i++)
            sum += doubles[i];
        return sum;
    }
    for (int i = 0; i < RECORDS; i++)
        sum += (double)records[i].id + records[i].price + records[i].fresh +
               codec_text(records[i].name, records[i].length);
    return sum;
}

/* Values per second in the best of the rounds that 0.1 s has room for, which
 * other work on the machine disturbs least; 0 for a wrong sum. */
static inline double
codec_measure(const struct shape *shape)
{
    double expected = codec_expected(shape->name), end = bench_now() + 0.1;
    double best = 1e9;

    for (int n = 0; n < 3 || bench_now() < end; n++) {
        double sum = 0, began = bench_now();
        shape->encode();
        shape->decode(&sum);
        double seconds = bench_now() - began;
        best = seconds < best ? seconds : best;
        if (!(sum - expected < 1e-11 * expected &&
                expected - sum < 1e-11 * expected)) {
            fprintf(stderr, "%s: %.17g instead of %.17g\n", shape->name, sum,
                expected);
            return 0;
        }
    }
    return (double)shape->values / best;
}

static inline int
codec_main(int argc, char **argv, const struct shape *shapes, size_t count)
{
    codec_fill();
    for (size_t i = 0; i < count; i++)
        if (argc > 1 && strcmp(argv[1], shapes[i].name) == 0) {
            double figure = codec_measure(&shapes[i]);
            printf("%.0f\n", figure);
            return figure > 0 ? 0 : 1;
        }
    fprintf(stderr, "usage: %s records|doubles|array\n", argv[0]);
    return 2;
}

#endif
