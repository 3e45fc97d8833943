/* Folding numbers. Each element is computed by itself and in the order that
 * the caller calls, so every rank that folds the same parts in the same order
 * has the same bits. Integers wrap around. A NaN stays one, always the same:
 * which of two a processor keeps depends on the instruction. */
#include "fold.h"

#include <math.h>
#include <string.h>

#include "forkpool.h"

static uint64_t
fold_int64(int op, uint64_t a, uint64_t b)
{
    switch (op) {
    case POOL_SUM:
        return a + b;
    case POOL_PROD:
        return a * b;
    case POOL_MIN:
        return (int64_t)b < (int64_t)a ? b : a;
    default:
        return (int64_t)b > (int64_t)a ? b : a;
    }
}

static double
fold_double(int op, double a, double b)
{
    if (isnan(a) || isnan(b))
        return NAN;
    switch (op) {
    case POOL_SUM:
        return a + b;
    case POOL_PROD:
        return a * b;
    case POOL_MIN:
        return b < a ? b : a;
    default:
        return b > a ? b : a;
    }
}

void
pool__fold(
    const struct pool__offer *offer, void *into, const void *with, size_t n)
{
    char *to = into;
    const char *from = with;

    for (size_t at = 0; at < 8 * n; at += 8) {
        if (offer->type == POOL_DOUBLE) {
            double a, b;
            memcpy(&a, to + at, sizeof a);
            memcpy(&b, from + at, sizeof b);
            a = fold_double(offer->op, a, b);
            a = isnan(a) ? NAN : a; /* inf - inf, 0 * inf */
            memcpy(to + at, &a, sizeof a);
        } else {
            uint64_t a, b;
            memcpy(&a, to + at, sizeof a);
            memcpy(&b, from + at, sizeof b);
            a = fold_int64(offer->op, a, b);
            memcpy(to + at, &a, sizeof a);
        }
    }
}
