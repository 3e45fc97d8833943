#define _GNU_SOURCE
#include "quick.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "pool.h"

int
task_nothing(pool_call_t *call)
{
    (void)call;
    return 0;
}

int
task_gate_or_nothing(pool_call_t *call)
{
    const void *gate;
    size_t size;

    pool_call_bytes(call, &gate, &size);
    if (size != sizeof(int *))
        return 0;
    int *word;
    memcpy(&word, gate, sizeof word);
    return test_await(word, 1) ? 0 : 2;
}

pool_future_t *
quick_submit(pool_t *pool, pool_fn fn, const void *data, size_t size)
{
    pool_future_t *f = NULL;

    ck_assert_int_eq(pool_submit_bytes(pool, &f, NULL, fn, data, size), 0);
    return f;
}

void
quick_expect(pool_future_t *f)
{
    ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), 0);
    pool_future_free(f);
}

void
quick_seem_to_take(pool_t *pool, uint32_t ns)
{
    struct pool__functions *f = &pool->sched.functions;

    for (size_t i = 0; i < f->count; i++)
        f->list[i].mean_ns = ns;
}

void
quick_learn(pool_t *pool, pool_fn fn)
{
    for (int i = 0; i < 300; i++)
        quick_expect(quick_submit(pool, fn, NULL, 0));
    quick_seem_to_take(pool, 100); /* however busy the machine was */
}

void
quick_expect_all(pool_future_t **f, int n)
{
    for (int i = 0; i < n; i++)
        quick_expect(f[i]);
}

pool_t *
quick_begin(int workers, pool_fn fn)
{
    test_begin();
    pool_t *pool = test_pool(workers);
    quick_learn(pool, fn);
    return pool;
}

void
quick_end(pool_t *pool)
{
    pool_destroy(pool);
    test_end();
}

void
quick_stop(pool_t *pool)
{
    pool__table_each(proc, &pool->table)
    {
        ck_assert_int_eq(kill(proc->pid, SIGSTOP), 0);
        for (int i = 0; i < PATIENCE_MS && test_state(proc->pid) != 'T'; i++)
            usleep(1000);
        pool__store(&proc->channel.region->cpu, 0); /* it may be any */
    }
}

void
quick_go_on(pool_t *pool)
{
    pool__table_each(proc, &pool->table)
    {
        ck_assert_int_eq(kill(proc->pid, SIGCONT), 0);
    }
}
