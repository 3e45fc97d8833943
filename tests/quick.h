/* Quick tasks, for the tests of who is given what. */
#ifndef FORKPOOL_TESTS_QUICK_H
#define FORKPOOL_TESTS_QUICK_H

#include "support.h"

int task_nothing(pool_call_t *call);
/* A pointer to an int: waits until that is 1. Else nothing. */
int task_gate_or_nothing(pool_call_t *call);

/* Submit; it must be taken. */
pool_future_t *quick_submit(
    pool_t *pool, pool_fn fn, const void *data, size_t size);
/* Each has a value; they are freed. */
void quick_expect(pool_future_t *f);
void quick_expect_all(pool_future_t **f, int n);

/* All functions take so long, it seems. */
void quick_seem_to_take(pool_t *pool, uint32_t ns);
/* Call it until it seems to take a tenth of a microsecond. */
void quick_learn(pool_t *pool, pool_fn fn);

/* test_begin, and a pool that knows the function; and its end. */
pool_t *quick_begin(int workers, pool_fn fn);
void quick_end(pool_t *pool);

/* Stopped workers answer nothing: what is given out shows the rules alone. On
 * which CPU they were is forgotten. */
void quick_stop(pool_t *pool);
void quick_go_on(pool_t *pool);

#endif
