/* Callbacks of futures under every drive: once each, in order, after the state
 * is final, and whatever they do is allowed or told.
 *
 * In thread drive they run in the library's thread: so they only note what
 * they see, and the case looks at the notes when all have been called. */
#include "drives.h"

#include <stdlib.h>
#include <string.h>

#define MOST 400

/* What callbacks saw. `count` is raised last. */
struct notes {
    int taken, count;
    int errors[MOST]; /* of the future, asked with timeout 0 */
    int marks[MOST];  /* which callback it was */
    int codes[MOST];  /* what a forbidden call gave */
    bool done[MOST];
};

struct note {
    struct notes *notes;
    int mark;
    pool_t *pool;
    pool_future_t *other;
};

static int
write_note(struct note *note, pool_future_t *f, int code)
{
    struct notes *notes = note->notes;
    int at = raise_word(&notes->taken, 1) - 1;

    if (at >= MOST)
        return at;
    notes->errors[at] = pool_future_error(f, 0);
    notes->done[at] = pool_future_done(f);
    notes->marks[at] = note->mark;
    notes->codes[at] = code;
    return raise_word(&notes->count, 1);
}

static void
take_note(pool_future_t *f, void *data)
{
    write_note(data, f, 0);
}

static void
add(pool_future_t *f, pool_done_fn callback, struct note *note)
{
    ck_assert_int_eq(pool_future_add_done_callback(f, callback, note), 0);
}

/* ---- every kind of end -------------------------------------------------- */

struct kind {
    pool_fn fn;
    int error;
    bool cancel;
};

static const struct kind kinds[] = {
    {task_nothing, 0, false},
    {task_fail, POOL_ETASK, false},
    {task_kill_self, POOL_EDIED, false},
    {task_nothing, POOL_ECANCELED, true},
};

static void
each_end_calls_once(const struct drive *d)
{
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct notes notes = {0};
        struct note first = {&notes, 1, NULL, NULL};
        struct note second = {&notes, 2, NULL, NULL};
        struct note late = {&notes, 3, NULL, NULL};
        struct gate *gate = gate_new();
        pool_t *pool = drive_pool(d, 1);
        pool_future_t *blocker = gate_submit(pool, gate);
        pool_future_t *f = submit(pool, kinds[i].fn);

        add(f, take_note, &first);
        add(f, take_note, &second);
        ck_assert_int_eq(read_word(&notes.count), 0);
        if (kinds[i].cancel)
            ck_assert_int_eq(pool_future_cancel(f), 0);
        gate_open(gate);
        ck_assert_int_eq(drive_error(d, f), kinds[i].error);
        drive_until_word(d, &notes.count, 2);
        add(f, take_note, &late); /* at once, in this thread */
        ck_assert_int_eq(read_word(&notes.count), 3);
        ck_assert_int_eq(drive_end(d, blocker), 0);
        drive_destroy(d, pool);
        ck_assert_int_eq(notes.count, 3);
        for (int k = 0; k < 3; k++) {
            ck_assert_int_eq(notes.marks[k], k + 1);
            ck_assert_int_eq(notes.errors[k], kinds[i].error);
            ck_assert(notes.done[k]);
        }
        pool_future_free(f);
    }
}

static void
many_keep_their_order(const struct drive *d)
{
    enum { N = 200 };
    static struct notes notes;
    static struct note note[N];
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *f = gate_submit(pool, gate);

    for (int i = 0; i < N; i++) {
        note[i] = (struct note){&notes, i, NULL, NULL};
        add(f, take_note, &note[i]);
    }
    gate_open(gate);
    drive_until_word(d, &notes.count, N);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(notes.marks[i], i);
    pool_future_free(f);
    drive_destroy(d, pool);
    ck_assert_int_eq(notes.count, N);
}

/* The task of a future that nobody holds goes on, and its callback is run. */
static void
a_detached_future_calls(const struct drive *d)
{
    struct notes notes = {0};
    struct note note = {&notes, 1, NULL, NULL};
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *f = gate_submit(pool, gate);

    add(f, take_note, &note);
    pool_future_free(f);
    gate_open(gate);
    drive_until_word(d, &notes.count, 1);
    ck_assert_int_eq(notes.errors[0], 0);
    drive_destroy(d, pool);
    ck_assert_int_eq(notes.count, 1);
}

/* ---- one that misbehaves ------------------------------------------------ */

static void
wait_inside(pool_future_t *f, void *data)
{
    struct note *note = data;
    int codes = 0;

    codes += pool_future_error(note->other, 10) == POOL_EDEADLK;
    codes += pool_future_error(note->other, -1) == POOL_EDEADLK;
    codes += pool_future_error(note->other, 0) == POOL_ETIMEDOUT;
    codes += pool_wait(&note->other, 1, 0, 50, NULL) == POOL_EDEADLK;
    codes += pool_wait(&note->other, 1, 0, 0, NULL) == POOL_ETIMEDOUT;
    codes += pool_wait(&f, 1, 0, -1, NULL) == 0; /* it has settled */
    codes += pool_shutdown(note->pool, POOL_SHUTDOWN_WAIT) == POOL_EDEADLK;
    codes += pool_poll(note->pool, 0) != 0;
    write_note(note, f, codes);
}

static void
waiting_in_one_is_refused(const struct drive *d)
{
    struct gate *gate = gate_new(), *own = gate_new();
    pool_t *pool = drive_pool(d, 2);
    pool_future_t *other = gate_submit(pool, gate);
    pool_future_t *f = gate_submit(pool, own);
    struct notes notes = {0};
    struct note bad = {&notes, 1, pool, other};
    struct note good = {&notes, 2, NULL, NULL};

    add(f, wait_inside, &bad);
    add(f, take_note, &good);
    gate_open(own);
    drive_until_word(d, &notes.count, 2);
    ck_assert_int_eq(notes.marks[0], 1);
    ck_assert_int_eq(notes.codes[0], 8);
    ck_assert_int_eq(notes.marks[1], 2);
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, other), 0);
    pool_future_free(f);
    drive_destroy(d, pool);
}

static void
free_inside(pool_future_t *f, void *data)
{
    write_note(data, f, 0);
    pool_future_free(f);
}

static void
cancel_inside(pool_future_t *f, void *data)
{
    struct note *note = data;
    int code = pool_future_cancel(f) == POOL_EBUSY; /* it has settled */

    code += pool_future_cancel(note->other) == 0;
    write_note(note, f, code);
}

static void
add_inside(pool_future_t *f, void *data)
{
    struct note *note = data;
    int before = read_word(&note->notes->count);
    int rc = pool_future_add_done_callback(f, take_note, note);

    write_note(note, f, rc == 0 && read_word(&note->notes->count) > before);
}

/* One frees the future, one cancels another, one adds one: the next is called
 * all the same. */
static void
others_are_called_all_the_same(const struct drive *d)
{
    struct gate *gate = gate_new(), *shut = gate_new();
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *f = gate_submit(pool, gate);
    pool_future_t *between = gate_submit(pool, shut);
    pool_future_t *other = gate_submit(pool, shut);
    struct notes notes = {0}, cancelled = {0};
    struct note note[] = {{&notes, 0, pool, NULL}, {&notes, 1, pool, other},
        {&notes, 2, pool, NULL}, {&notes, 3, pool, NULL},
        {&cancelled, 4, pool, NULL}};

    add(f, free_inside, &note[0]);
    add(f, cancel_inside, &note[1]);
    add(f, add_inside, &note[2]);
    add(f, take_note, &note[3]);
    add(other, take_note, &note[4]);
    drive_until_word(d, &gate->begun, 1);
    gate_open(gate);
    drive_until_word(d, &cancelled.count, 1);
    drive_until_word(d, &notes.count, 5);
    ck_assert_int_eq(cancelled.errors[0], POOL_ECANCELED);
    for (int i = 0, expected[] = {0, 1, 2, 2, 3}; i < 5; i++)
        ck_assert_int_eq(notes.marks[i], expected[i]);
    ck_assert_int_eq(notes.codes[1], 2);
    ck_assert_int_eq(notes.codes[3], 1); /* it was called inside add */
    gate_open(shut);
    ck_assert_int_eq(drive_end(d, between), 0);
    ck_assert_int_eq(shut->begun, 1);
    pool_future_free(other);
    drive_destroy(d, pool);
    ck_assert_int_eq(notes.count, 5);
}

/* ---- chains ------------------------------------------------------------- */

struct chain {
    pool_t *pool;
    int left, ended, wrong;
    double x;
};

static void
next_link(pool_future_t *f, void *data)
{
    struct chain *chain = data;
    pool_future_t *next = NULL;
    double y = 0;

    if (pool_future_result(f, 0, "d", &y) != 0 || y != 2 * chain->x)
        raise_word(&chain->wrong, 1);
    pool_future_free(f);
    if (--chain->left == 0) {
        raise_word(&chain->ended, 1);
        return;
    }
    chain->x += 1;
    if (pool_submit(chain->pool, &next, task_double, "d", chain->x) != 0 ||
        pool_future_add_done_callback(next, next_link, chain) != 0) {
        raise_word(&chain->wrong, 1);
        raise_word(&chain->ended, 1);
    }
}

/* Each link is submitted by the callback of the one before; three at once. */
static void
chains_of_callbacks(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 2);
    struct chain chains[] = {
        {pool, 100, 0, 0, 1}, {pool, 50, 0, 0, 1000}, {pool, 60, 0, 0, 2000}};

    for (size_t i = 0; i < COUNT(chains); i++) {
        pool_future_t *f;
        ck_assert_int_eq(
            pool_submit(pool, &f, task_double, "d", chains[i].x), 0);
        ck_assert_int_eq(
            pool_future_add_done_callback(f, next_link, &chains[i]), 0);
    }
    for (size_t i = 0; i < COUNT(chains); i++) {
        drive_until_word(d, &chains[i].ended, 1);
        ck_assert_int_eq(chains[i].wrong, 0);
    }
    drive_destroy(d, pool);
}

/* ---- the end of the pool ------------------------------------------------ */

static void
destroy_inside(pool_future_t *f, void *data)
{
    struct note *note = data;

    pool_destroy(note->pool);
    write_note(note, f, 0);
}

/* Fault 49: deferred; what remains is cancelled once and stays readable. */
static void
a_callback_destroys_the_pool(const struct drive *d)
{
    enum { N = 20 };
    struct gate *gate = gate_new(), *other = gate_new();
    pool_t *pool = drive_pool(d, 2);
    pool_future_t *f = gate_submit(pool, gate), *rest[N];
    struct notes notes = {0}, cancelled = {0};
    struct note note = {&notes, 1, pool, NULL};
    struct note after = {&notes, 2, NULL, NULL};
    struct note remaining = {&cancelled, 3, NULL, NULL};
    size_t done = 0;
    int five = 0;

    add(f, destroy_inside, &note);
    add(f, take_note, &after);
    for (int i = 0; i < N; i++) {
        rest[i] = gate_submit(pool, other); /* one runs, the others wait */
        add(rest[i], take_note, &remaining);
    }
    drive_until_word(d, &other->begun, 1);
    drive_forget(pool);
    gate_open(gate);
    ck_assert_int_eq(drive_error(d, f), 0);
    ck_assert_int_eq(
        drive_wait(d, rest, N, POOL_ALL_COMPLETED, PATIENCE_MS, &done), 0);
    ck_assert_uint_eq(done, N);
    drive_until_word(d, &notes.count, 2);
    drive_until_word(d, &cancelled.count, N);
    ck_assert_int_eq(pool_future_result(f, 0, "i", &five), 0);
    ck_assert_int_eq(five, 5);
    pool_future_free(f);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(cancelled.errors[i], POOL_ECANCELED);
        ck_assert_int_eq(pool_future_error(rest[i], 0), POOL_ECANCELED);
        ck_assert(pool_future_cancelled(rest[i]));
        pool_future_free(rest[i]);
    }
    ck_assert_int_eq(notes.marks[0], 1);
    ck_assert_int_eq(notes.marks[1], 2);
    drive_until_closed(d);
    ck_assert_int_eq(notes.count, 2);
    ck_assert_int_eq(cancelled.count, N);
}

/* What destroy cancels is told to callbacks before it returns; from these
 * nothing more can be submitted. */
static void
submit_inside(pool_future_t *f, void *data)
{
    struct note *note = data;
    pool_future_t *more = NULL;
    int rc = pool_submit(note->pool, &more, task_nothing, "");

    write_note(note, f, rc);
    pool_future_free(more);
}

static void
destroy_calls_back(const struct drive *d)
{
    enum { N = 5 };
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 1);
    struct notes notes = {0};
    struct note note = {&notes, 1, pool, NULL};
    pool_future_t *f[N];

    for (int i = 0; i < N; i++) {
        f[i] = gate_submit(pool, gate);
        add(f[i], submit_inside, &note);
    }
    drive_until_word(d, &gate->begun, 1);
    drive_destroy(d, pool);
    ck_assert_int_eq(notes.count, N);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(notes.errors[i], POOL_ECANCELED);
        ck_assert_int_eq(notes.codes[i], POOL_ESHUTDOWN);
        pool_future_free(f[i]);
    }
}

/* Whether one is added before its task ends or after. */
static void
none_is_lost(const struct drive *d)
{
    enum { N = 300 };
    pool_t *pool = drive_pool(d, 2);
    static struct notes notes;
    struct note note = {&notes, 1, pool, NULL};
    pool_future_t *f[N];
    size_t done = 0;

    for (int i = 0; i < N; i++) {
        f[i] = submit(pool, task_nothing);
        add(f[i], take_note, &note);
    }
    ck_assert_int_eq(
        drive_wait(d, f, N, POOL_ALL_COMPLETED, PATIENCE_MS, &done), 0);
    drive_until_word(d, &notes.count, N);
    for (int i = 0; i < N; i++) {
        ck_assert(notes.done[i]);
        pool_future_free(f[i]);
    }
    drive_destroy(d, pool);
    ck_assert_int_eq(notes.count, N);
}

/* One that blocks holds its driving thread up and nothing else: workers run
 * on, and what they did is told afterwards. */
static void
block_till_ended(pool_future_t *future, void *data)
{
    struct gate *gate = data;

    (void)future;
    gate_open(gate);
    (void)test_await(&gate->ended, 1);
}

static void
one_that_blocks(const struct drive *d)
{
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 2);
    pool_future_t *first, *other = gate_submit(pool, gate);
    int five = 0;

    drive_until_word(d, &gate->begun, 1);
    ck_assert_int_eq(pool_submit(pool, &first, task_double, "d", 1.0), 0);
    ck_assert_int_eq(
        pool_future_add_done_callback(first, block_till_ended, gate), 0);
    ck_assert_int_eq(drive_error(d, first), 0);
    ck_assert_int_eq(drive_result(d, other, "i", &five), 0);
    ck_assert_int_eq(five, 5);
    pool_future_free(first);
    pool_future_free(other);
    drive_destroy(d, pool);
}

/* What one brings about that is called at once is told before the call that
 * added it returns. */
static void
cancel_another(pool_future_t *future, void *another)
{
    (void)future;
    ck_assert_int_eq(pool_future_cancel(another), 0);
}

static void
one_called_at_once_cancels(const struct drive *d)
{
    struct gate *gate = gate_new();
    pool_t *pool = drive_pool(d, 1);
    pool_future_t *settled = submit(pool, task_nothing);
    struct notes notes = {0};
    struct note note = {&notes, 1, pool, NULL};

    ck_assert_int_eq(drive_error(d, settled), 0);
    pool_future_t *other = gate_submit(pool, gate);
    pool_future_t *cancelled = submit(pool, task_nothing);
    add(cancelled, take_note, &note);
    ck_assert_int_eq(
        pool_future_add_done_callback(settled, cancel_another, cancelled), 0);
    ck_assert_int_eq(notes.count, 1);
    gate_open(gate);
    ck_assert_int_eq(drive_end(d, other), 0);
    pool_future_free(settled);
    pool_future_free(cancelled);
    drive_destroy(d, pool);
}

static const struct drive_case cases[] = {
    {"each_end_calls_once", each_end_calls_once, IN_ALL},
    {"many_keep_their_order", many_keep_their_order, IN_ALL},
    {"a_detached_future_calls", a_detached_future_calls, IN_ALL},
    {"waiting_in_one_is_refused", waiting_in_one_is_refused, IN_ALL},
    {"others_are_called_all_the_same", others_are_called_all_the_same, IN_ALL},
    {"chains_of_callbacks", chains_of_callbacks, IN_ALL},
    {"a_callback_destroys_the_pool", a_callback_destroys_the_pool, IN_ALL},
    {"destroy_calls_back", destroy_calls_back, IN_ALL},
    {"none_is_lost", none_is_lost, IN_ALL},
    {"one_that_blocks", one_that_blocks, IN_ALL},
    {"one_called_at_once_cancels", one_called_at_once_cancels, IN_CALLER},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("exec_callbacks", cases, argc, argv);
}
