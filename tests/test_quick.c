/* Who is given quick tasks: how they come in a row, keep together, spread, and
 * leave a CPU. Order is asserted, not time. */
#define _GNU_SOURCE
#include "support.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu.h"
#include "pool.h"
#include "quick.h"

/* Quick tasks that come one by one go to one worker in a row, without asking
 * for each. However many there are, all are sent. */
static void
quick_tasks_in_a_row(int unused)
{
    enum { MOST = 200 };
    pool_future_t *f[MOST];
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    quick_learn(pool, task_nothing);
    for (int n = 1; n <= MOST; n++) {
        for (int i = 0; i < n; i++)
            f[i] = quick_submit(pool, task_nothing, NULL, 0);
        for (int i = n - 1; i >= 0; i--)
            quick_expect(f[i]);
    }
    pool_destroy(pool);
    test_end();
}

/* As many workers as there are tasks, though one takes them all in a row. */
static void
quick_tasks_in_a_row_bring_workers(int unused)
{
    enum { N = 20, WORKERS = 3 };
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_stats_t stats = POOL_STATS_INIT;
    pool_future_t *f[N];
    pool_t *pool;

    (void)unused;
    test_begin();
    options.workers = WORKERS;
    options.min_workers = 1;
    ck_assert_int_eq(pool_create(&pool, &options), 0);
    quick_learn(pool, task_nothing);
    ck_assert_int_eq(pool_stats(pool, &stats), 0);
    ck_assert_uint_eq(stats.workers_started, 1);
    for (int i = 0; i < N; i++)
        f[i] = quick_submit(pool, task_nothing, NULL, 0);
    for (int i = 0; i < N; i++)
        quick_expect(f[i]);
    for (int i = 0; i < PATIENCE_MS / 5 && stats.workers_started < WORKERS;
         i++) {
        ck_assert_int_eq(pool_poll(pool, 5), 0);
        ck_assert_int_eq(pool_stats(pool, &stats), 0);
    }
    ck_assert_uint_eq(stats.workers_started, WORKERS);
    pool_destroy(pool);
    test_end();
}

/* Nor is more sent to a worker in a row than pipe and buffer take. */
static void
quick_tasks_in_a_row_have_room(int unused)
{
    enum { N = 60, SIZE = 60000, MOST = 2 << 20 };
    static unsigned char payload[SIZE];
    pool_stats_t before = POOL_STATS_INIT, after = POOL_STATS_INIT;
    int *gate = test_shared(sizeof *gate);
    pool_future_t *f[N], *first;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    quick_learn(pool, task_gate_or_nothing);
    first = quick_submit(pool, task_gate_or_nothing, &gate, sizeof gate);
    ck_assert_int_eq(pool_stats(pool, &before), 0);
    for (int i = 0; i < N; i++)
        f[i] = quick_submit(pool, task_gate_or_nothing, payload, SIZE);
    ck_assert_int_eq(pool_stats(pool, &after), 0);
    ck_assert_uint_lt(after.bytes_sent - before.bytes_sent, MOST);
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
    quick_expect(first);
    for (int i = 0; i < N; i++)
        quick_expect(f[i]);
    pool_destroy(pool);
    test_end();
}

/* Few of them don't wake a second worker. */
static void
quick_tasks_keep_together(int unused)
{
    enum { N = 4 };
    pool_future_t *f[N];
    pool_t *pool = quick_begin(2, task_nothing);

    (void)unused;
    for (int i = 0; i < N; i++)
        f[i] = quick_submit(pool, task_nothing, NULL, 0);
    for (int i = 1; i < N; i++)
        ck_assert_ptr_eq(f[i]->proc, f[0]->proc);
    ck_assert(!pool__list_empty(&pool->sched.idle));
    quick_expect_all(f, N);
    quick_end(pool);
}

static pool_t *
begin_with_two_stopped(void)
{
    pool_t *pool = quick_begin(2, task_nothing);

    pool->sched.cpus = 2; /* whatever there are */
    quick_stop(pool);
    return pool;
}

/* The idle one that is in that place of their list. */
static struct pool__proc *
idle_at(pool_t *pool, int place)
{
    struct pool__list *node = pool->sched.idle.next;

    for (int i = 0; i < place; i++)
        node = node->next;
    ck_assert_ptr_ne(node, &pool->sched.idle);
    return pool__list_entry(node, struct pool__proc, sched.place);
}

/* The worker of all that were sent of N tasks; NULL: several. */
static void *
submit_some(pool_t *pool, pool_future_t **f, int n)
{
    void *proc = NULL;
    bool several = false;

    for (int i = 0; i < n; i++) {
        f[i] = quick_submit(pool, task_nothing, NULL, 0);
        several = several ||
                  (proc != NULL && f[i]->proc != NULL && f[i]->proc != proc);
        proc = f[i]->proc != NULL ? f[i]->proc : proc;
    }
    return several ? NULL : proc;
}

/* Many do, before the first one has been asked what it has done. */
static void
many_quick_tasks_spread(int unused)
{
    enum { N = 200 };
    pool_future_t *f[N];
    pool_t *pool = begin_with_two_stopped();

    (void)unused;
    quick_seem_to_take(pool, 1000);
    ck_assert_ptr_null(submit_some(pool, f, N));
    quick_go_on(pool);
    quick_expect_all(f, N);
    quick_end(pool);
}

/* But not where one does as much as the supervisor can give out, and would have
 * to share its CPU. */
static void
many_tiny_tasks_leave_a_cpu(int unused)
{
    enum { N = 2000 };
    static pool_future_t *f[N];
    pool_t *pool = begin_with_two_stopped();

    (void)unused;
    ck_assert_ptr_nonnull(submit_some(pool, f, N));
    ck_assert(!pool__list_empty(&pool->sched.idle));
    quick_go_on(pool);
    quick_expect_all(f, N);
    pool->sched.cpus = 1; /* there is none to leave */
    quick_expect(quick_submit(pool, task_nothing, NULL, 0));
    quick_end(pool);
}

/* Until there are more than it can hold. */
static void
too_many_tiny_tasks_spread(int unused)
{
    enum { N = POOL__RING + 1 };
    static pool_future_t *f[N];
    pool_t *pool = begin_with_two_stopped();

    (void)unused;
    ck_assert_ptr_null(submit_some(pool, f, N));
    quick_go_on(pool);
    quick_expect_all(f, N);
    quick_end(pool);
}

/* ---- who waits behind the first of the queue --------------------------- */

#define ENOUGH 2000 /* tiny tasks of 64 bytes that one worker can't hold */

/* One worker is full of tiny tasks, the other need not be woken for more. */
static pool_t *
begin_with_one_full(pool_future_t **f, int n)
{
    static const unsigned char payload[64];
    pool_t *pool = quick_begin(2, task_nothing);

    quick_learn(pool, task_gate_or_nothing);
    pool->sched.cpus = 2; /* whatever there are */
    quick_stop(pool);
    for (int i = 0; i < n; i++)
        f[i] = quick_submit(pool, task_nothing, payload, sizeof payload);
    for (size_t i = 0; i < pool->sched.functions.count; i++)
        if (pool->sched.functions.list[i].fn == task_gate_or_nothing)
            pool->sched.functions.list[i].mean_ns = 100000;
    return pool;
}

/* How many of N tasks were sent. */
static int
sent_of(pool_future_t **f, int n)
{
    int sent = 0;

    for (int i = 0; i < n; i++)
        sent += f[i]->proc != NULL;
    return sent;
}

/* Until a worker's place changes. */
static void
nobody_asks_for_those_behind(int unused)
{
    static pool_future_t *f[ENOUGH];
    pool_t *pool = begin_with_one_full(f, ENOUGH);
    int sent = sent_of(f, ENOUGH);
    pool_future_t *behind[2];

    (void)unused;
    ck_assert_int_lt(sent, ENOUGH);
    ck_assert_ptr_eq(pool->sched.sated.first, f[sent]);
    pool->sched.cpus = 3; /* who asks now wakes the other */
    behind[0] = quick_submit(pool, task_gate_or_nothing, NULL, 0);
    ck_assert_ptr_null(f[sent]->proc);
    pool__sched_place(&pool->sched, f[0]->proc);
    behind[1] = quick_submit(pool, task_gate_or_nothing, NULL, 0);
    ck_assert_ptr_nonnull(f[sent]->proc);
    quick_go_on(pool);
    quick_expect_all(f, ENOUGH);
    quick_expect_all(behind, 2);
    quick_end(pool);
}

static void
a_more_urgent_one_is_not_behind(int unused)
{
    static pool_future_t *f[ENOUGH];
    pool_task_options_t options = POOL_TASK_OPTIONS_INIT;
    pool_t *pool = begin_with_one_full(f, ENOUGH);
    pool_future_t *urgent;

    (void)unused;
    options.priority = 1;
    ck_assert_int_eq(pool_submit_bytes(pool, &urgent, &options,
                         task_gate_or_nothing, NULL, 0),
        0);
    ck_assert_ptr_nonnull(urgent->proc);
    ck_assert_ptr_ne(urgent->proc, f[0]->proc);
    quick_go_on(pool);
    quick_expect(urgent);
    quick_expect_all(f, ENOUGH);
    quick_end(pool);
}

/* When the first is cancelled, another is the first. */
static void
another_first_is_asked_for(int unused)
{
    static pool_future_t *f[ENOUGH];
    pool_t *pool = begin_with_one_full(f, ENOUGH);
    int sent = sent_of(f, ENOUGH);
    pool_future_t *other = quick_submit(pool, task_gate_or_nothing, NULL, 0);

    (void)unused;
    for (int i = sent; i < ENOUGH; i++) {
        ck_assert_int_eq(pool_future_cancel(f[i]), 0);
        pool_future_free(f[i]);
    }
    f[sent] = quick_submit(pool, task_nothing, NULL, 0);
    ck_assert_ptr_nonnull(other->proc);
    ck_assert_ptr_ne(other->proc, f[0]->proc);
    quick_go_on(pool);
    quick_expect(other);
    quick_expect_all(f, sent + 1);
    quick_end(pool);
}

/* Where there are more than one could hold, the other is woken. */
static void
a_crowd_is_asked_for(int unused)
{
    enum { N = POOL__RING + 1 };
    static pool_future_t *f[N];
    pool_t *pool = begin_with_one_full(f, N - 1);

    (void)unused;
    ck_assert(!pool__list_empty(&pool->sched.idle));
    f[N - 1] = quick_submit(pool, task_nothing, NULL, 0);
    ck_assert(pool__list_empty(&pool->sched.idle));
    quick_go_on(pool);
    quick_expect_all(f, N);
    quick_end(pool);
}

/* Others that follow them do, though they come in a row. */
static void
quick_tasks_after_tiny_ones_spread(int unused)
{
    enum { TINY = 2, QUICK = 30, N = TINY + QUICK };
    pool_future_t *f[N];
    pool_t *pool = begin_with_two_stopped();

    (void)unused;
    ck_assert_ptr_nonnull(submit_some(pool, f, TINY));
    quick_seem_to_take(pool, 4900);
    ck_assert_ptr_null(submit_some(pool, f + TINY, QUICK));
    quick_go_on(pool);
    quick_expect_all(f, N);
    quick_end(pool);
}

/* Where two are at work, one has no more to do. */
static void
many_tiny_tasks_come_together(int unused)
{
    enum { QUICK = 60, TINY = 900, N = QUICK + TINY };
    static pool_future_t *f[N];
    pool_t *pool = begin_with_two_stopped();

    (void)unused;
    quick_seem_to_take(pool, 1000);
    ck_assert_ptr_null(submit_some(pool, f, QUICK));
    quick_seem_to_take(pool, 100);
    ck_assert_ptr_nonnull(submit_some(pool, f + QUICK, TINY));
    quick_go_on(pool);
    quick_expect_all(f, N);
    quick_end(pool);
}

/* It has run for long, and the supervisor has not been asked. */
static void
await_running(const pool_future_t *f)
{
    const struct pool__proc *proc = f->proc;

    for (int i = 0; i < PATIENCE_MS &&
                    pool__load(&proc->channel.region->running) != f->ordinal;
         i++)
        usleep(1000);
    usleep(1000);
}

static pool_future_t *
submit_gate(pool_t *pool, int **gate)
{
    pool_future_t *f =
        quick_submit(pool, task_gate_or_nothing, gate, sizeof *gate);

    await_running(f);
    return f;
}

/* Nor do they go behind one that takes long, while somebody is idle. */
static void
quick_tasks_avoid_a_long_one(int unused)
{
    int *gate = test_shared(sizeof *gate);
    pool_future_t *busy, *quick;
    pool_t *pool = quick_begin(2, task_gate_or_nothing);

    (void)unused;
    busy = quick_submit(pool, task_gate_or_nothing, &gate, sizeof gate);
    while (!pool_future_running(busy))
        ck_assert_int_eq(pool_poll(pool, 1), 0);
    usleep(1000);
    quick = quick_submit(pool, task_gate_or_nothing, NULL, 0);
    ck_assert_ptr_nonnull(quick->proc);
    ck_assert_ptr_ne(quick->proc, busy->proc);
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
    quick_expect(busy);
    quick_expect(quick);
    quick_end(pool);
}

/* Whether some of N tasks that are submitted now don't go to PROC. */
static bool
some_leave(pool_t *pool, pool_future_t **f, int n, const void *proc)
{
    bool left = false;

    for (int i = 0; i < n; i++) {
        f[i] = quick_submit(pool, task_gate_or_nothing, NULL, 0);
        left = left || f[i]->proc != proc;
    }
    return left;
}

static void
open_gate(int *gate, pool_future_t *busy)
{
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
    quick_expect(busy);
}

#ifdef POOL__CPU_KNOWN

/* Keep this thread where it is. Its CPU. */
static int
pin(cpu_set_t *before)
{
    cpu_set_t here;
    int cpu = sched_getcpu();

    ck_assert_int_ge(cpu, 0);
    CPU_ZERO(&here);
    CPU_SET((size_t)cpu, &here);
    ck_assert_int_eq(sched_getaffinity(0, sizeof *before, before), 0);
    ck_assert_int_eq(sched_setaffinity(0, sizeof here, &here), 0);
    return cpu;
}

static void
seem_to_be_on(struct pool__proc *proc, int cpu)
{
    pool__store(&proc->channel.region->cpu, (uint64_t)(cpu + 1));
}

/* N of them, and that all from the FROMth on went to PROC. */
static void
submit_until_they_go_to(pool_t *pool, pool_future_t **f, int from, int n,
    const struct pool__proc *proc)
{
    for (int i = 0; i < n; i++) {
        f[i] = quick_submit(pool, task_nothing, NULL, 0);
        ck_assert(i < from || f[i]->proc == proc);
    }
}

/* Masses of them don't stay on the supervisor's CPU, nor wake somebody there,
 * if there is a choice; for longer ones it makes no difference. */
static void
tiny_tasks_avoid_the_supervisors_cpu(int unused)
{
    enum { MASS = 64, EACH = 64, QUICK = 90, N = 2000 };
    static pool_future_t *f[N];
    cpu_set_t cpus;

    (void)unused;
    for (int tiny = 0; tiny < 2; tiny++) {
        pool_t *pool = quick_begin(3, task_nothing);
        int cpu = pin(&cpus), n = tiny ? N : QUICK;
        pool->sched.cpus = 2;
        quick_stop(pool);
        quick_seem_to_take(pool, tiny ? 100 : 1000);
        struct pool__proc *first = idle_at(pool, 0);
        struct pool__proc *second = idle_at(pool, 1), *third = idle_at(pool, 2);
        seem_to_be_on(first, cpu);
        seem_to_be_on(second, cpu);
        seem_to_be_on(third, cpu + 1);
        submit_until_they_go_to(pool, f, MASS + EACH, n, tiny ? third : second);
        for (int i = 0; i < (tiny ? MASS : 1); i++)
            ck_assert_ptr_eq(f[i]->proc, first);
        quick_go_on(pool);
        quick_expect_all(f, n);
        ck_assert_int_eq(sched_setaffinity(0, sizeof cpus, &cpus), 0);
        quick_end(pool);
    }
}

/* There is no choice where the other is there too, or answers nothing. */
static void
tiny_tasks_stay_where_none_is_better(int unused)
{
    enum { N = 1000 };
    static pool_future_t *f[N];
    cpu_set_t cpus;

    (void)unused;
    for (int slow = 0; slow < 2; slow++) {
        pool_t *pool = begin_with_two_stopped();
        int cpu = pin(&cpus);
        struct pool__proc *first = idle_at(pool, 0), *other = idle_at(pool, 1);
        seem_to_be_on(first, cpu);
        seem_to_be_on(other, cpu + slow);
        other->sched.slow = slow;
        submit_until_they_go_to(pool, f, 0, N, first);
        quick_go_on(pool);
        quick_expect_all(f, N);
        ck_assert_int_eq(sched_setaffinity(0, sizeof cpus, &cpus), 0);
        quick_end(pool);
    }
}

/* Nor is one woken there that is the first, where the others are better and one
 * of them is slow. */
static void
tiny_tasks_do_not_wake_who_is_slow(int unused)
{
    enum { MASS = 64, EACH = 64, N = 1000 };
    static pool_future_t *f[N];
    cpu_set_t cpus;
    pool_t *pool = quick_begin(3, task_nothing);
    int cpu = pin(&cpus);

    (void)unused;
    pool->sched.cpus = 2;
    quick_stop(pool);
    struct pool__proc *slow = idle_at(pool, 1), *third = idle_at(pool, 2);
    seem_to_be_on(idle_at(pool, 0), cpu);
    seem_to_be_on(slow, cpu + 1);
    seem_to_be_on(third, cpu + 1);
    slow->sched.slow = true;
    submit_until_they_go_to(pool, f, MASS + EACH, N, third);
    quick_go_on(pool);
    quick_expect_all(f, N);
    ck_assert_int_eq(sched_setaffinity(0, sizeof cpus, &cpus), 0);
    quick_end(pool);
}

/* And while it still has some, it is given no more. */
static void
tiny_tasks_do_not_come_back(int unused)
{
    enum { N = 100 };
    int *gate = test_shared(sizeof *gate);
    pool_future_t *f[N], *answered, *busy;
    cpu_set_t cpus;
    pool_t *pool = quick_begin(2, task_gate_or_nothing);
    int cpu = pin(&cpus);
    struct pool__proc *next = idle_at(pool, 0), *other = idle_at(pool, 1);

    (void)unused;
    pool->sched.cpus = 2;
    quick_stop(pool);
    answered = quick_submit(pool, task_gate_or_nothing, NULL, 0);
    busy = quick_submit(pool, task_gate_or_nothing, &gate, sizeof gate);
    ck_assert_ptr_eq(busy->proc, next);
    seem_to_be_on(next, cpu);
    seem_to_be_on(other, cpu + 1);
    for (int i = 0; i < N; i++)
        f[i] = quick_submit(pool, task_gate_or_nothing, NULL, 0);
    ck_assert_ptr_eq(f[N - 1]->proc, other);
    ck_assert_int_eq(kill(next->pid, SIGCONT), 0);
    quick_expect(answered);
    ck_assert(next->sched.aside && pool__list_empty(&next->sched.place));
    ck_assert_int_eq(pool->sched.quick, 1);
    pool__store(&next->channel.region->running, 0); /* it seems to be quick */
    quick_seem_to_take(pool, 100);
    pool_future_t *last = quick_submit(pool, task_gate_or_nothing, NULL, 0);
    ck_assert_ptr_eq(last->proc, other);
    quick_go_on(pool);
    open_gate(gate, busy);
    quick_expect(last);
    quick_expect_all(f, N);
    ck_assert(!next->sched.aside);
    ck_assert_int_eq(sched_setaffinity(0, sizeof cpus, &cpus), 0);
    quick_end(pool);
}

/* Workers tell where they are. */
static void
a_worker_tells_its_cpu(int unused)
{
    cpu_set_t cpus, one;
    pool_t *pool = quick_begin(1, task_nothing);

    (void)unused;
    ck_assert_int_eq(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    pool__table_each(proc, &pool->table)
    {
        for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (!CPU_ISSET(cpu, &cpus))
                continue;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            ck_assert_int_eq(sched_setaffinity(proc->pid, sizeof one, &one), 0);
            quick_expect(quick_submit(pool, task_nothing, NULL, 0));
            ck_assert_uint_eq(pool__load(&proc->channel.region->cpu), cpu + 1);
        }
    }
    quick_end(pool);
}

#endif

/* Even where the program does nothing but submit: some of them may follow it
 * until it is asked. */
static void
a_row_of_quick_tasks_leaves_a_long_one(int unused)
{
    enum { N = 65 };
    int *gate = test_shared(sizeof *gate);
    pool_future_t *f[N], *busy;
    pool_t *pool = quick_begin(2, task_gate_or_nothing);

    (void)unused;
    busy = submit_gate(pool, &gate);
    ck_assert(some_leave(pool, f, N, busy->proc));
    open_gate(gate, busy);
    quick_expect_all(f, N);
    quick_end(pool);
}

/* Nor where that one was found busy with many, which wait behind it. */
static void
tiny_tasks_leave_many_behind_a_long_one(int unused)
{
    enum { BEHIND = 600, N = 2 * BEHIND };
    static pool_future_t *f[N];
    int *gate = test_shared(sizeof *gate);
    pool_t *pool = quick_begin(2, task_gate_or_nothing);

    (void)unused;
    pool->sched.cpus = 2;
    quick_stop(pool);
    pool_future_t *busy =
        quick_submit(pool, task_gate_or_nothing, &gate, sizeof gate);
    const void *proc = busy->proc;
    ck_assert(!some_leave(pool, f, BEHIND, proc));
    quick_go_on(pool);
    await_running(busy);
    ck_assert(some_leave(pool, f + BEHIND, BEHIND, proc));
    open_gate(gate, busy);
    quick_expect_all(f, N);
    quick_end(pool);
}

/* Who is in its last task does not count for those that come. */
static void
tiny_tasks_pass_by_who_has_had_enough(int unused)
{
    int *gate = test_shared(sizeof *gate);
    pool_t *pool = quick_begin(2, task_gate_or_nothing);

    (void)unused;
    pool->sched.cpus = 2;
    struct pool__proc *proc = idle_at(pool, 0);
    pool->sched.policy.max_tasks = proc->sched.given + 1;
    pool_future_t *busy = submit_gate(pool, &gate);
    ck_assert_ptr_eq(busy->proc, proc);
    pool_future_t *tiny = quick_submit(pool, task_gate_or_nothing, NULL, 0);
    ck_assert_ptr_nonnull(tiny->proc);
    ck_assert_ptr_ne(tiny->proc, proc);
    open_gate(gate, busy);
    quick_expect(tiny);
    quick_end(pool);
}

/* The worker that has the row learns a function that others know. */
static void
a_row_brings_another_function(int unused)
{
    int *gate = test_shared(sizeof *gate);
    pool_future_t *busy, *first, *other;
    pool_t *pool = quick_begin(2, task_gate_or_nothing);

    (void)unused;
    busy = submit_gate(pool, &gate);
    quick_expect(quick_submit(pool, task_nothing, NULL, 0));
    const void *proc = busy->proc;
    open_gate(gate, busy);
    quick_seem_to_take(pool, 100);
    quick_stop(pool);
    first = quick_submit(pool, task_gate_or_nothing, NULL, 0);
    ck_assert_ptr_eq(first->proc, proc);
    ck_assert_uint_ne(pool->sched.run.left, 0);
    other = quick_submit(pool, task_nothing, NULL, 0);
    ck_assert_ptr_eq(other->proc, proc);
    quick_go_on(pool);
    quick_expect(first);
    quick_expect(other);
    quick_end(pool);
}

/* No worker is given more than it may run. */
static void
a_row_ends_with_the_last_task(int unused)
{
    enum { MOST = 10, N = 3 * MOST };
    pool_future_t *f[N];
    pool_t *pool = begin_with_two_stopped();
    int of_first = 0;

    (void)unused;
    struct pool__proc *proc = idle_at(pool, 0);
    pool->sched.policy.max_tasks = proc->sched.given + MOST;
    for (int i = 0; i < N; i++) {
        f[i] = quick_submit(pool, task_nothing, NULL, 0);
        of_first += f[i]->proc == proc;
    }
    ck_assert_int_eq(of_first, MOST);
    quick_go_on(pool);
    quick_expect_all(f, N);
    quick_end(pool);
}

/* Who asked how many workers there are asks again when that has changed. */
static void
a_row_ends_with_a_resize(int unused)
{
    pool_t *pool = quick_begin(1, task_nothing);

    (void)unused;
    pool_future_t *f = quick_submit(pool, task_nothing, NULL, 0);
    ck_assert_uint_ne(pool->sched.run.left, 0);
    ck_assert_int_eq(pool_resize(pool, 2), 0);
    ck_assert_uint_eq(pool->sched.run.left, 0);
    quick_expect(f);
    quick_end(pool);
}

static void
expect_late(pool_future_t *late)
{
    ck_assert_int_eq(pool_future_error(late, PATIENCE_MS), POOL_EDEADLINE);
    pool_future_free(late);
}

/* A task that has a deadline may come in a row of such as have none. */
static void
a_deadline_in_a_row_is_kept(int unused)
{
    enum { N = 8 };
    int *gate = test_shared(sizeof *gate);
    pool_task_options_t options = POOL_TASK_OPTIONS_INIT;
    pool_future_t *f[N], *late;
    pool_t *pool = quick_begin(1, task_gate_or_nothing);

    (void)unused;
    options.deadline_ms = 100;
    for (int i = 0; i < N; i++)
        f[i] = quick_submit(pool, task_gate_or_nothing, NULL, 0);
    ck_assert_uint_ne(pool->sched.run.left, 0);
    ck_assert_int_eq(pool_submit_bytes(pool, &late, &options,
                         task_gate_or_nothing, &gate, sizeof gate),
        0);
    expect_late(late);
    quick_expect_all(f, N);
    quick_end(pool);
}

/* The pool's deadline is theirs who follow one that has none. */
static void
a_pools_deadline_is_kept_in_a_row(int unused)
{
    enum { N = 8 };
    int *gate = test_shared(sizeof *gate);
    pool_task_options_t options = POOL_TASK_OPTIONS_INIT;
    pool_future_t *f[N], *late;
    pool_t *pool = quick_begin(1, task_gate_or_nothing);

    (void)unused;
    pool->sched.policy.deadline_ms = 100;
    options.deadline_ms = POOL_NONE;
    options.retries = 1;
    for (int n = 1; n <= N; n++) {
        for (int i = 0; i < n; i++)
            ck_assert_int_eq(
                pool_submit_bytes(pool, &f[i], i == 0 ? &options : NULL,
                    task_gate_or_nothing, NULL, 0),
                0);
        late = quick_submit(pool, task_gate_or_nothing, &gate, sizeof gate);
        expect_late(late);
        quick_expect_all(f, n);
        quick_seem_to_take(pool, 100);
    }
    quick_end(pool);
}

/* A long one doesn't come in the row of another function's, nor one that was
 * never called. */
static void
a_long_task_leaves_a_row(int unused)
{
    enum { LONG_NS = 10000000 };
    pool_future_t *quick, *other;
    pool_t *pool = quick_begin(2, task_echo);

    (void)unused;
    quick_learn(pool, task_nothing);
    pool->sched.functions.list[0].mean_ns = LONG_NS;
    for (int i = 0; i < 2; i++) {
        quick_stop(pool);
        quick = quick_submit(pool, task_nothing, NULL, 0);
        ck_assert_uint_ne(pool->sched.run.left, 0);
        other = quick_submit(pool, i == 0 ? task_echo : task_pid, NULL, 0);
        ck_assert_ptr_nonnull(other->proc);
        ck_assert_ptr_ne(other->proc, quick->proc);
        quick_go_on(pool);
        quick_expect(quick);
        quick_expect(other);
    }
    quick_end(pool);
}

/* However many come, a worker has no more to do than for a millisecond. */
static void
a_row_is_no_longer_than_a_while(int unused)
{
    enum { N = 1000, EACH_NS = 4900, MOST_NS = 1000000 + EACH_NS };
    static pool_future_t *f[N];
    pool_t *pool = quick_begin(1, task_nothing);

    (void)unused;
    for (int i = 0; i < 3; i++)
        quick_learn(pool, task_nothing); /* more than are seen to each */
    quick_stop(pool);
    quick_seem_to_take(pool, EACH_NS);
    for (int i = 0; i < N; i++)
        f[i] = quick_submit(pool, task_nothing, NULL, 0);
    pool__table_each(proc, &pool->table)
    {
        ck_assert_int_le(proc->sched.queued_ns, MOST_NS);
    }
    quick_go_on(pool);
    quick_expect_all(f, N);
    quick_end(pool);
}

/* All workers seem to have answered. */
static void
seem_to_answer(pool_t *pool)
{
    pool__table_each(proc, &pool->table)
    {
        pool__sched_progress(&pool->sched, proc);
    }
}

/* Those that are not quick may come to twice as much where many wait, but to no
 * more than that. */
static void
short_ones_are_no_longer_than_two(int unused)
{
    static const struct {
        uint32_t each_ns;
        int tasks;
        size_t held;
    } rows[] = {{5000, 1000, 400}, {100000, 100, 20}, {600000, 100, 3},
        {999000, 100, 2}, {5000, 800, 200}, {100000, 40, 10}};
    static pool_future_t *f[1000];
    pool_t *pool = quick_begin(1, task_nothing);

    (void)unused;
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        quick_stop(pool);
        quick_seem_to_take(pool, rows[k].each_ns);
        for (int i = 0; i < rows[k].tasks; i++)
            f[i] = quick_submit(pool, task_nothing, NULL, 0);
        seem_to_answer(pool);
        pool__table_each(proc, &pool->table)
        {
            ck_assert_uint_eq(proc->channel.held, rows[k].held);
        }
        quick_go_on(pool);
        quick_expect_all(f, rows[k].tasks);
    }
    quick_end(pool);
}

/* However many others have enough, who has not is sent more. */
static void
those_with_enough_hide_nobody(int unused)
{
    enum { WORKERS = 7, N = 400, EACH = 2000000 / 103000 };
    static pool_future_t *f[N];
    pool_t *pool = quick_begin(WORKERS, task_nothing);

    (void)unused;
    while (pool->table.ready < WORKERS)
        ck_assert_int_eq(pool_poll(pool, 5), 0);
    quick_stop(pool);
    quick_seem_to_take(pool, 103000);
    for (int i = 0; i < N; i++)
        f[i] = quick_submit(pool, task_nothing, NULL, 0);
    seem_to_answer(pool);
    for (int i = 0; i < WORKERS; i++) {
        const struct pool__proc *proc = f[i]->proc;
        ck_assert_uint_eq(proc->channel.held, EACH);
        ck_assert_int_eq(pool_future_cancel(f[i]), 0);
        ck_assert_uint_eq(proc->channel.held, EACH);
        pool_future_free(f[i]);
        f[i] = quick_submit(pool, task_nothing, NULL, 0);
    }
    quick_go_on(pool);
    quick_expect_all(f, N);
    quick_end(pool);
}

/* Who is refused a longer one may have more short ones. */
static void
a_longer_one_is_no_end(int unused)
{
    enum { N = 3 };
    pool_future_t *f[N + 1];
    pool_t *pool = quick_begin(1, task_nothing);

    (void)unused;
    quick_learn(pool, task_gate_or_nothing);
    quick_stop(pool);
    quick_seem_to_take(pool, 100000);
    for (int i = 0; i < N; i++)
        f[i] = quick_submit(pool, task_nothing, NULL, 0);
    quick_seem_to_take(pool, 2000000);
    pool_future_t *longer = quick_submit(pool, task_gate_or_nothing, NULL, 0);
    ck_assert_ptr_null(longer->proc);
    ck_assert_int_eq(pool_future_cancel(longer), 0);
    pool_future_free(longer);
    quick_seem_to_take(pool, 100000);
    f[N] = quick_submit(pool, task_nothing, NULL, 0);
    ck_assert_ptr_nonnull(f[N]->proc);
    quick_go_on(pool);
    quick_expect_all(f, N + 1);
    quick_end(pool);
}

/* Of those that come, the worker is always told of half at least, and neither
 * it nor its buffer has more than it should. */
static void
come_behind_a_long_one(pool_t *pool, size_t size)
{
    enum { N = POOL__RING + 100 };
    static pool_future_t *f[N];
    unsigned char payload[3000] = {0};
    int *gate = test_shared(sizeof *gate);
    pool_future_t *busy = submit_gate(pool, &gate);
    const struct pool__channel *channel =
        &((const struct pool__proc *)busy->proc)->channel;

    quick_seem_to_take(pool, 1); /* else it has enough before all is full */
    for (int i = 0; i < N; i++) {
        f[i] = quick_submit(
            pool, task_gate_or_nothing, payload, i % 3 == 2 ? size : 0);
        ck_assert(!pool__channel_wants_flush(channel));
        ck_assert_uint_le(channel->tail - channel->head, POOL__RING);
        ck_assert_uint_lt(pool__outbox_used(&channel->out),
            POOL__QUEUE_LIMIT + size + POOL__FRAME_HEADER);
    }
    ck_assert(!pool__channel_has_room(channel));
    open_gate(gate, busy);
    quick_expect_all(f, N);
}

static void
a_row_is_told_of(int unused)
{
    pool_t *pool = quick_begin(1, task_gate_or_nothing);

    (void)unused;
    come_behind_a_long_one(pool, 0);
    come_behind_a_long_one(pool, 3000);
    quick_end(pool);
}

/* How long tasks waited is measured of each of the first 1,024, and then of one
 * of 64, also where they didn't. */
static void
the_wait_is_measured_in_a_row(int unused)
{
    enum { FIRST = 1024, EACH = 64, N = FIRST + 10 * EACH };
    static pool_future_t *f[N];
    pool_stats_t stats = POOL_STATS_INIT;
    pool_t *pool = quick_begin(1, task_nothing);

    (void)unused;
    ck_assert_int_eq(pool_stats(pool, &stats), 0);
    ck_assert_uint_lt(stats.completed, FIRST);
    for (int i = 0; i < N; i++)
        f[i] = quick_submit(pool, task_nothing, NULL, 0);
    quick_expect_all(f, N);
    ck_assert_int_eq(pool_stats(pool, &stats), 0);
    ck_assert_uint_eq(
        stats.queue_time.count, FIRST + (stats.completed - FIRST) / EACH);
    quick_end(pool);
}

static int
task_reverse(pool_call_t *call)
{
    const unsigned char *data;
    const void *bytes;
    void *room;
    size_t size;

    pool_call_bytes(call, &bytes, &size);
    data = bytes;
    int rc = pool_call_reserve(call, size, &room);
    for (size_t i = 0; rc == 0 && i < size; i++)
        ((unsigned char *)room)[i] = data[size - 1 - i];
    return rc;
}

/* Two functions and payloads of all sizes, by turns: each has its own. */
static void
a_row_of_all_sorts(int unused)
{
    enum { N = 5000, SIZES = 300, STEP = 37 };
    static pool_future_t *f[N];
    unsigned char payload[SIZES];
    pool_t *pool = quick_begin(2, task_reverse);

    (void)unused;
    quick_learn(pool, task_echo);
    for (int i = 0; i < N; i++) {
        size_t size = (size_t)(i * STEP % SIZES);
        memset(payload, i & 0xff, sizeof payload);
        payload[0] = 1;
        f[i] = quick_submit(
            pool, i % 3 == 0 ? task_echo : task_reverse, payload, size);
    }
    for (int i = 0; i < N; i++) {
        const unsigned char *data;
        const void *bytes;
        size_t size, one;
        ck_assert_int_eq(
            pool_future_bytes(f[i], PATIENCE_MS, &bytes, &size), 0);
        ck_assert_uint_eq(size, (size_t)(i * STEP % SIZES));
        data = bytes;
        one = i % 3 == 0 ? 0 : size - 1;
        for (size_t k = 0; k < size; k++)
            ck_assert_int_eq(data[k], k == one ? 1 : i & 0xff);
        pool_future_free(f[i]);
    }
    quick_end(pool);
}

static const struct test tests[] = {
    {"quick_tasks_in_a_row", quick_tasks_in_a_row},
    {"quick_tasks_in_a_row_bring_workers", quick_tasks_in_a_row_bring_workers},
    {"quick_tasks_in_a_row_have_room", quick_tasks_in_a_row_have_room},
    {"quick_tasks_keep_together", quick_tasks_keep_together},
    {"many_quick_tasks_spread", many_quick_tasks_spread},
    {"many_tiny_tasks_leave_a_cpu", many_tiny_tasks_leave_a_cpu},
    {"too_many_tiny_tasks_spread", too_many_tiny_tasks_spread},
    {"nobody_asks_for_those_behind", nobody_asks_for_those_behind},
    {"a_more_urgent_one_is_not_behind", a_more_urgent_one_is_not_behind},
    {"another_first_is_asked_for", another_first_is_asked_for},
    {"a_crowd_is_asked_for", a_crowd_is_asked_for},
    {"quick_tasks_after_tiny_ones_spread", quick_tasks_after_tiny_ones_spread},
    {"many_tiny_tasks_come_together", many_tiny_tasks_come_together},
    {"quick_tasks_avoid_a_long_one", quick_tasks_avoid_a_long_one},
    {"a_row_of_quick_tasks_leaves_a_long_one",
        a_row_of_quick_tasks_leaves_a_long_one},
    {"tiny_tasks_leave_many_behind_a_long_one",
        tiny_tasks_leave_many_behind_a_long_one},
    {"tiny_tasks_pass_by_who_has_had_enough",
        tiny_tasks_pass_by_who_has_had_enough},
    {"a_row_brings_another_function", a_row_brings_another_function},
    {"a_row_ends_with_the_last_task", a_row_ends_with_the_last_task},
    {"a_row_ends_with_a_resize", a_row_ends_with_a_resize},
    {"a_deadline_in_a_row_is_kept", a_deadline_in_a_row_is_kept},
    {"a_pools_deadline_is_kept_in_a_row", a_pools_deadline_is_kept_in_a_row},
    {"a_long_task_leaves_a_row", a_long_task_leaves_a_row},
    {"a_row_is_no_longer_than_a_while", a_row_is_no_longer_than_a_while},
    {"short_ones_are_no_longer_than_two", short_ones_are_no_longer_than_two},
    {"those_with_enough_hide_nobody", those_with_enough_hide_nobody},
    {"a_longer_one_is_no_end", a_longer_one_is_no_end},
    {"a_row_is_told_of", a_row_is_told_of},
    {"the_wait_is_measured_in_a_row", the_wait_is_measured_in_a_row},
    {"a_row_of_all_sorts", a_row_of_all_sorts},
#ifdef POOL__CPU_KNOWN
    {"tiny_tasks_avoid_the_supervisors_cpu",
        tiny_tasks_avoid_the_supervisors_cpu},
    {"tiny_tasks_stay_where_none_is_better",
        tiny_tasks_stay_where_none_is_better},
    {"tiny_tasks_do_not_wake_who_is_slow", tiny_tasks_do_not_wake_who_is_slow},
    {"tiny_tasks_do_not_come_back", tiny_tasks_do_not_come_back},
    {"a_worker_tells_its_cpu", a_worker_tells_its_cpu},
#endif
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("quick", tests, argc, argv);
}
