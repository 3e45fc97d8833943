/* A program whose callbacks take long, or that gets more to hear than it can:
 * workers are fed and held to their deadlines all the same, nothing is lost,
 * and what waits to be told takes little memory. */
#include "../src/pool.h"
#include "drives.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    MANY = 1500,      /* callbacks */
    MORE = 6000,      /* those of larger results */
    SLOW_US = 1100,   /* of each: more than they get in a row */
    FED = 20,         /* tasks that come after those */
    LINES = 300000,   /* of a task that writes its log */
    LARGE = 200,      /* tasks with results of this size: */
    SIZE = 256 << 10, /* bytes */
    /* Bytes that may wait: what the library says, and what one turn takes. Of
     * lines there are 23 MiB, of results 50. */
    LINES_MOST = 10 << 20,
    RESULTS_MOST = 8 << 20,
    FLOOD_MOST = 15000, /* lines, 16 s of them, while others must be heard */
};

/* So many workers do nothing before the gate is opened; then what was
 * submitted meanwhile ends, hundreds at a time. */
static void
hold(const struct drive *d, pool_t *pool, struct gate *gate,
    pool_future_t **held, int workers)
{
    for (int i = 0; i < 50; i++) /* they are known to be quick */
        ck_assert_int_eq(drive_end(d, submit(pool, task_nothing)), 0);
    for (int i = 0; i < workers; i++)
        held[i] = gate_submit(pool, gate);
    drive_until_word(d, &gate->begun, workers);
}

static pool_t *
pool_held(const struct drive *d, struct gate *gate, pool_future_t *held[2])
{
    pool_t *pool = drive_pool(d, 2);

    hold(d, pool, gate, held, 2);
    return pool;
}

static void
end_each(const struct drive *d, pool_future_t *const *futures, int n)
{
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(drive_end(d, futures[i]), 0);
}

static void
add(pool_future_t *future, pool_done_fn callback, void *data)
{
    ck_assert_int_eq(pool_future_add_done_callback(future, callback, data), 0);
}

/* ---- workers --------------------------------------------------------------
 */

struct consumer {
    int *begun;          /* tasks, shared */
    pool_future_t *hung; /* it has a deadline; NULL: none */
    int called;
    int seen_at; /* the callback that saw that all had begun, or that the hung
                    one was ended; 0: none yet */
};

static int
task_begin(pool_call_t *call)
{
    uint64_t begun;
    int rc = pool_call_args(call, "t", &begun);

    if (rc == 0)
        (void)raise_word((int *)(uintptr_t)begun, 1);
    usleep(6000); /* so that each is given to an idle worker alone */
    return rc;
}

static void
consume(pool_future_t *future, void *data)
{
    struct consumer *c = data;

    (void)future;
    if (c->seen_at == 0)
        usleep(SLOW_US);
    int called = raise_word(&c->called, 1);
    if (c->seen_at == 0 && (c->hung != NULL ? pool_future_done(c->hung)
                                            : read_word(c->begun) == FED))
        c->seen_at = called;
}

static void
workers_are_fed(const struct drive *d)
{
    static pool_future_t *f[MANY];
    struct consumer c = {.begun = test_shared(sizeof(int))};
    struct gate *gate = gate_new();
    pool_future_t *held[2], *fed[FED];
    pool_t *pool = pool_held(d, gate, held);

    for (int i = 0; i < MANY; i++) {
        f[i] = submit(pool, task_nothing);
        add(f[i], consume, &c);
    }
    for (int i = 0; i < FED; i++)
        ck_assert_int_eq(
            pool_submit(pool, &fed[i], task_begin, "t", ADDRESS(c.begun)), 0);
    gate_open(gate);
    end_each(d, fed, FED);
    end_each(d, held, 2);
    end_each(d, f, MANY);
    drive_until_word(d, &c.called, MANY);
    drive_destroy(d, pool);
    ck_assert_int_ne(c.seen_at, 0);
    ck_assert_int_lt(c.seen_at, MANY);
}

static void
deadlines_are_kept(const struct drive *d)
{
    static pool_future_t *f[MANY];
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    struct consumer c = {0};
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 2);
    pool_future_t *held;

    hold(d, pool, gate, &held, 1);
    task.deadline_ms = 50;
    ck_assert_int_eq(pool_submit_opts(pool, &c.hung, &task, task_hang, ""), 0);
    for (int i = 0; i < MANY; i++) {
        f[i] = submit(pool, task_nothing);
        add(f[i], consume, &c);
    }
    gate_open(gate);
    ck_assert_int_eq(drive_error(d, c.hung), POOL_EDEADLINE);
    ck_assert_int_eq(drive_end(d, held), 0);
    end_each(d, f, MANY);
    drive_until_word(d, &c.called, MANY);
    ck_assert_int_ne(c.seen_at, 0);
    ck_assert_int_lt(c.seen_at, MANY);
    ck_assert_int_eq(drive_end(d, c.hung), POOL_EDEADLINE);
    drive_destroy(d, pool);
}

/* ---- waits ----------------------------------------------------------------
 */

enum { SOME = 60 };

/* It calls the library, too. */
static void
note_slowly(pool_future_t *future, void *data)
{
    usleep(SLOW_US);
    ck_assert(pool_future_done(future));
    (void)raise_word(data, 1);
}

/* A thread that waits has its result while others' callbacks run. */
static void
waits_end(const struct drive *d)
{
    struct gate *gate = gate_new();
    pool_future_t *held[2], *f[MANY];
    pool_t *pool = pool_held(d, gate, held);
    int called = 0;

    for (int i = 0; i < MANY; i++) {
        f[i] = submit(pool, task_nothing);
        add(f[i], note_slowly, &called);
    }
    pool_future_t *last = submit(pool, task_nothing);
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, last), 0);
    ck_assert_int_lt(read_word(&called), MANY);
    end_each(d, held, 2);
    end_each(d, f, MANY);
    drive_destroy(d, pool);
    ck_assert_int_eq(called, MANY);
}

/* Where the one that waits runs them itself, its own have run. */
static void
own_callbacks_come_first(const struct drive *d)
{
    struct gate *gate = gate_new();
    pool_future_t *held[2], *f[SOME];
    pool_t *pool = pool_held(d, gate, held);
    int called[SOME] = {0};
    size_t done;

    for (int i = 0; i < SOME; i++) {
        f[i] = submit(pool, task_nothing);
        add(f[i], note_slowly, &called[i]);
    }
    gate_open(gate);
    end_each(d, held, 2);
    for (int i = 0; i < SOME; i++) {
        switch (i % 4) {
        case 0:
            ck_assert_int_eq(pool_future_result(f[i], PATIENCE_MS, ""), 0);
            break;
        case 1:
            ck_assert_int_eq(pool_future_error(f[i], PATIENCE_MS), 0);
            break;
        case 2:
            ck_assert_int_eq(
                drive_wait(d, &f[i], 1, POOL_ALL_COMPLETED, -1, &done), 0);
            break;
        default:
            while (!pool_future_done(f[i]))
                ck_assert_int_eq(pool_poll(pool, PATIENCE_MS), 0);
        }
        ck_assert_int_eq(called[i], 1);
        pool_future_free(f[i]);
    }
    drive_destroy(d, pool);
}

/* A pool whose tasks are about to end with callbacks, another with one that
 * waits; BOTH are one of each. */
struct two {
    pool_t *pool, *second;
    struct gate *gate, *other;
    pool_future_t *held[2], *f[SOME], *both[2];
};

static void
two_open(const struct drive *d, struct two *two, int first,
    pool_done_fn callback, void *data)
{
    two->gate = gate_new();
    two->other = gate_new();
    two->pool = pool_held(d, two->gate, two->held);
    two->second = drive_pool(d, 1);
    for (int i = 0; i < SOME; i++) {
        two->f[i] = submit(two->pool, task_nothing);
        add(two->f[i], callback, data);
    }
    two->both[0] = two->f[first];
    two->both[1] = gate_submit(two->second, two->other);
}

static void
two_close(const struct drive *d, struct two *two)
{
    gate_open(two->other);
    end_each(d, two->held, 2);
    end_each(d, two->f, SOME);
    end_each(d, &two->both[1], 1);
    drive_destroy(d, two->pool);
    drive_destroy(d, two->second);
}

struct opener {
    int called;
    struct gate *gate; /* opened by the last callback */
};

static void
open_at_last(pool_future_t *future, void *data)
{
    struct opener *opener = data;

    (void)future;
    usleep(SLOW_US);
    if (++opener->called == SOME)
        gate_open(opener->gate);
}

/* A wait for several pools doesn't sleep while callbacks are due. */
static void
over_two_pools(const struct drive *d)
{
    struct opener opener = {0};
    struct two two;
    size_t done;

    two_open(d, &two, 0, open_at_last, &opener);
    opener.gate = two.other;
    gate_open(two.gate);
    ck_assert_int_eq(
        drive_wait(d, two.both, 2, POOL_ALL_COMPLETED, PATIENCE_MS, &done), 0);
    ck_assert_int_eq(opener.called, SOME);
    two_close(d, &two);
}

/* When it is over, all that were due have run. */
static void
next_of_two_pools(const struct drive *d)
{
    pool_completed_t *completed;
    pool_future_t *next;
    struct two two;
    int called = 0;

    two_open(d, &two, SOME - 1, note_slowly, &called);
    gate_open(two.gate);
    ck_assert_int_eq(pool_as_completed(&completed, two.both, 2), 0);
    ck_assert_int_eq(drive_next(d, completed, PATIENCE_MS, &next), 0);
    ck_assert_ptr_eq(next, two.f[SOME - 1]);
    ck_assert_int_eq(called, SOME);
    pool_as_completed_free(completed);
    two_close(d, &two);
}

static int
execute_nothing(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    (void)model;
    (void)rows;
    return pool_call_return(call, "i", 1);
}

struct hooks {
    pool_t *pool;
    int settled, cancelled;
};

static int
cancel_after_three(const struct pool_local_results *local, void *data)
{
    struct hooks *hooks = data;

    usleep(SLOW_US);
    if (local->error == POOL_ECANCELED)
        hooks->cancelled++;
    if (++hooks->settled == 3)
        ck_assert_int_eq(
            pool_shutdown(hooks->pool, POOL_SHUTDOWN_CANCEL_FUTURES), 0);
    return 0;
}

/* A serial pool has nobody to go on with it later. */
static void
hooks_of_a_serial_pool(const struct drive *d)
{
    static const double values[SOME];
    struct hooks hooks = {test_pool_on(POOL_SERIAL, 1), 0, 0};
    pool_job_t job = POOL_JOB_INIT;
    pool_scatter_t *scatter;

    (void)d;
    job.execute = execute_nothing;
    job.rows = SOME;
    job.columns = 1;
    job.values = values;
    job.schedule = POOL_DYNAMIC;
    job.settled = cancel_after_three;
    job.data = &hooks;
    ck_assert_int_eq(pool_scatter(hooks.pool, &scatter, &job), 0);
    ck_assert_int_eq(hooks.settled, SOME);
    ck_assert_int_eq(hooks.cancelled, SOME - 3);
    pool_scatter_free(scatter);
    pool_destroy(hooks.pool);
}

enum { CHAINS = 4, CHAINED = 300 };

struct chains {
    pool_t *pool;
    int called;
    int at_last; /* so many when the one that is waited for was told of */
};

static void
go_on(pool_future_t *future, void *data)
{
    struct chains *chains = data;

    usleep(SLOW_US);
    pool_future_free(future);
    if (++chains->called <= CHAINED)
        add(submit(chains->pool, task_nothing), go_on, chains);
}

static void
note_last(pool_future_t *future, void *data)
{
    struct chains *chains = data;

    (void)future;
    chains->at_last = chains->called;
}

/* A wait ends though callbacks always bring others. */
static void
no_wait_for_chains(const struct drive *d)
{
    struct gate *gate = gate_new();
    pool_future_t *held[2];
    pool_t *pool = pool_held(d, gate, held);
    struct chains chains = {pool, 0, -1};

    for (int i = 0; i < CHAINS; i++)
        add(submit(pool, task_nothing), go_on, &chains);
    pool_future_t *last = submit(pool, task_nothing);
    add(last, note_last, &chains);
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, last), 0);
    ck_assert_int_ge(chains.at_last, 0);
    ck_assert_int_lt(chains.called - chains.at_last, 10 * CHAINS);
    end_each(d, held, 2);
    drive_until_word(d, &chains.called, CHAINED + CHAINS);
    drive_destroy(d, pool);
}

static int
task_kibibyte(pool_call_t *call)
{
    static const char bytes[1024];

    return pool_call_return_bytes(call, bytes, sizeof bytes);
}

struct turns {
    pool_t *pool;
    bool over; /* callbacks are quick now */
    int called;
    uint64_t now_ms; /* of the loop, at the last callback */
    int same;        /* callbacks since that has changed */
    int most;        /* of those, ever */
};

static void
count_turns(pool_future_t *future, void *data)
{
    struct turns *turns = data;
    uint64_t now_ms = uv_now(&turns->pool->loop);

    (void)future;
    if (turns->over)
        return;
    usleep(SLOW_US);
    turns->called++;
    turns->same = turns->now_ms == now_ms ? turns->same + 1 : 0;
    turns->now_ms = now_ms;
    if (turns->same > turns->most)
        turns->most = turns->same;
}

/* At the end of a wait that callbacks make long few others are added, and the
 * loop has its turns until the last has run. */
static void
few_are_added(const struct drive *d)
{
    static pool_future_t *f[MORE];
    struct gate *gate = gate_new();
    pool_future_t *held[2];
    pool_t *pool = pool_held(d, gate, held);
    struct turns turns = {.pool = pool};

    for (int i = 0; i < MORE; i++) {
        f[i] = submit(pool, i < MORE / 20 ? task_nothing : task_kibibyte);
        add(f[i], count_turns, &turns);
    }
    gate_open(gate);
    end_each(d, held, 2);
    end_each(d, f, 1);
    ck_assert_int_ge(turns.called, 1);
    ck_assert_int_lt(turns.called, MORE / 2);
    ck_assert_int_lt(turns.most, 16);
    turns.over = true;
    end_each(d, f + 1, MORE - 1);
    drive_destroy(d, pool);
}

/* ---- what waits -----------------------------------------------------------
 */

struct reader {
    pool_t *pool;
    int told;
    size_t most; /* bytes that waited */
};

static void
nothing_waits(pool_t *pool)
{
    struct pool__core *core = pool->core;

    ck_assert_int_eq(pool__enter_pool(pool, "nothing_waits"), 0);
    ck_assert_uint_eq(core->untold, 0);
    ck_assert(core->told == core->noticed);
    pool__leave(core);
}

static void
note_most(struct reader *reader)
{
    reader->most = pool__max(reader->most, reader->pool->core->untold);
    (void)raise_word(&reader->told, 1);
}

static int
task_log(pool_call_t *call)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < LINES; i++)
        rc = pool_call_log(call, "line %d", i);
    return rc;
}

static int
task_print(pool_call_t *call)
{
    (void)call;
    for (int i = 0; i < LINES; i++)
        if (printf("line %d\n", i) < 0)
            return 1;
    return 0;
}

static void
read_slowly(const pool_log_t *line, void *data)
{
    struct reader *reader = data;

    if (line->kind == POOL_LOG_POOL)
        return;
    if (reader->told < 400)
        usleep(SLOW_US);
    note_most(reader);
}

static pool_t *
open_logging(const struct drive *d, int workers, pool_log_fn log, void *data)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.workers = options.min_workers = workers;
    options.worker_stdout = POOL_OUTPUT_CAPTURE;
    options.log = log;
    options.log_data = data;
    return drive_open(d, &options);
}

static void
few_lines_of(const struct drive *d, pool_fn writes)
{
    struct reader reader = {0};

    reader.pool = open_logging(d, 1, read_slowly, &reader);
    ck_assert_int_eq(drive_end(d, submit(reader.pool, writes)), 0);
    drive_until_word(d, &reader.told, LINES);
    nothing_waits(reader.pool);
    drive_destroy(d, reader.pool);
    ck_assert_uint_ne(reader.most, 0);
    ck_assert_uint_lt(
        reader.most, d->bit == IN_HOST ? LINES_MOST / 2 : LINES_MOST);
}

static void
few_lines_wait(const struct drive *d)
{
    few_lines_of(d, task_log);
}

static void
few_printed_lines_wait(const struct drive *d)
{
    few_lines_of(d, task_print);
}

/* A worker that writes more than the program takes: others are heard all the
 * same, and held to their deadlines. */
struct flood {
    pool_t *pool;
    pool_future_t *quick, *hung;
    int told, seen_at; /* when both had ended; 0: not yet */
};

static void
take_slowly(const pool_log_t *line, void *data)
{
    struct flood *flood = data;

    if (line->kind != POOL_LOG_TASK)
        return;
    int told = raise_word(&flood->told, 1);
    if (flood->seen_at != 0)
        return;
    usleep(told > 10 ? SLOW_US : 100000); /* time enough for very many lines */
    if (told == 20) {
        pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
        task.deadline_ms = 50;
        ck_assert_int_eq(
            pool_submit_opts(flood->pool, &flood->hung, &task, task_hang, ""),
            0);
        flood->quick = submit(flood->pool, task_nothing);
    }
    if (told > 20 && pool_future_done(flood->quick) &&
        pool_future_done(flood->hung))
        flood->seen_at = told;
}

static void
others_are_heard(const struct drive *d)
{
    struct flood flood = {0};

    flood.pool = open_logging(d, 3, take_slowly, &flood);
    pool_future_t *writer = submit(flood.pool, task_log);
    drive_until_word(d, &flood.told, LINES);
    ck_assert_int_ne(flood.seen_at, 0);
    ck_assert_int_lt(flood.seen_at, FLOOD_MOST);
    ck_assert_int_eq(drive_end(d, writer), 0);
    ck_assert_int_eq(drive_end(d, flood.quick), 0);
    ck_assert_int_eq(drive_end(d, flood.hung), POOL_EDEADLINE);
    drive_destroy(d, flood.pool);
}

static int
task_large(pool_call_t *call)
{
    static char bytes[SIZE];

    return pool_call_return_bytes(call, bytes, sizeof bytes);
}

static void
free_slowly(pool_future_t *future, void *data)
{
    usleep(2 * SLOW_US);
    note_most(data);
    pool_future_free(future);
}

static void
few_results_wait(const struct drive *d)
{
    struct gate *gate = gate_new();
    pool_future_t *held[2];
    struct reader reader = {.pool = pool_held(d, gate, held)};

    for (int i = 0; i < LARGE; i++)
        add(submit(reader.pool, task_large), free_slowly, &reader);
    gate_open(gate);
    end_each(d, held, 2);
    drive_until_word(d, &reader.told, LARGE);
    nothing_waits(reader.pool);
    drive_destroy(d, reader.pool);
    ck_assert_uint_lt(reader.most, RESULTS_MOST);
}

struct producer {
    pool_t *pool;
    int called, drained_at; /* after so many callbacks */
};

static void
fill_slowly(pool_future_t *future, void *data)
{
    struct producer *p = data;
    int rc = 0;

    (void)future;
    if (raise_word(&p->called, 1) == 1)
        while ((rc = pool_submit(p->pool, NULL, task_nothing, "")) == 0)
            ;
    ck_assert(rc == 0 || rc == POOL_EAGAIN);
    usleep(SLOW_US);
}

static void
note_drain(pool_t *pool, void *data)
{
    struct producer *p = data;

    (void)pool;
    p->drained_at = read_word(&p->called);
}

/* The queue is full again when the first callback returns; there is room before
 * the last has run. */
static void
drain_comes(const struct drive *d)
{
    struct producer p = {NULL, 0, -1};
    pool_options_t options = POOL_OPTIONS_INIT;
    struct gate *gate = gate_new();
    pool_future_t *f[SOME];

    options.workers = options.min_workers = 1;
    options.max_pending = SOME;
    options.drain = note_drain;
    options.drain_data = &p;
    pool_t *pool = p.pool = drive_open(d, &options);
    hold(d, pool, gate, f, 1);
    for (int i = 1; i < SOME; i++) {
        f[i] = submit(pool, task_nothing);
        add(f[i], fill_slowly, &p);
    }
    gate_open(gate);
    end_each(d, f, SOME);
    drive_until_word(d, &p.called, SOME - 1);
    drive_destroy(d, pool);
    ck_assert_int_ge(p.drained_at, 0);
    ck_assert_int_lt(p.drained_at, SOME / 2);
}

static const struct drive_case cases[] = {
    {"workers_are_fed", workers_are_fed, IN_ALL},
    {"deadlines_are_kept", deadlines_are_kept, IN_ALL},
    {"waits_end", waits_end, IN_THREAD},
    {"own_callbacks_come_first", own_callbacks_come_first, IN_CALLER},
    {"over_two_pools", over_two_pools, IN_CALLER},
    {"next_of_two_pools", next_of_two_pools, IN_CALLER},
    {"hooks_of_a_serial_pool", hooks_of_a_serial_pool, IN_CALLER},
    {"no_wait_for_chains", no_wait_for_chains, IN_CALLER},
    {"few_are_added", few_are_added, IN_CALLER},
    {"few_lines_wait", few_lines_wait, IN_ALL},
    {"few_printed_lines_wait", few_printed_lines_wait, IN_ALL},
    {"others_are_heard", others_are_heard, IN_ALL},
    {"few_results_wait", few_results_wait, IN_CALLER | IN_THREAD},
    {"drain_comes", drain_comes, IN_ALL},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_slow", cases, argc, argv);
}
