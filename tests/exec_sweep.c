/* The hooks of a scatter under every drive, and on a serial pool: settled,
 * progress and restore. */
#include "drives.h"

#include <math.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define ROWS 12

enum act { NOTHING, STOP, FREE, DESTROY, GATHER, SUBMIT, SHUT_DOWN };

/* What the hooks saw and shall do. Without a lock: it is read after gather. */
struct diary {
    pool_t *pool;
    pool_scatter_t *scatter;
    enum act act;
    int at; /* in this call of settled; 0: in the last one of progress */
    int settled, progressed, gathered;
    int seen[ROWS];
    bool failed[ROWS];
    pool_progress_t first, last;
    bool odd; /* something was out of order */
};

static int
act(struct diary *diary)
{
    pool_results_t *results;
    pool_future_t *future;

    switch (diary->act) {
    case STOP:
        return -4242;
    case FREE:
        pool_scatter_free(diary->scatter);
        __atomic_store_n(&diary->scatter, NULL, __ATOMIC_RELEASE);
        break;
    case DESTROY:
        pool_destroy(diary->pool);
        break;
    case GATHER:
        diary->gathered = pool_gather(diary->scatter, 0, &results);
        break;
    case SUBMIT:
        if (pool_submit(diary->pool, &future, task_nothing, "") != 0)
            diary->odd = true;
        pool_future_free(future);
        break;
    case SHUT_DOWN:
        diary->odd |=
            pool_shutdown(diary->pool, POOL_SHUTDOWN_CANCEL_FUTURES) != 0;
        break;
    case NOTHING:
        break;
    }
    return 0;
}

static int
on_settled(const pool_local_results_t *local, void *data)
{
    struct diary *diary = data;

    if (diary->settled < ROWS) {
        diary->seen[diary->settled] = local->process_number;
        diary->failed[diary->settled] = local->error != 0;
    }
    diary->settled++;
    diary->odd |= (local->error == 0) != (local->results != NULL) ||
                  local->parameters.count == 0;
    return diary->settled == diary->at ? act(diary) : 0;
}

static void
on_progress(const pool_progress_t *progress, void *data)
{
    struct diary *diary = data;

    if (diary->progressed++ == 0)
        diary->first = *progress;
    diary->odd |= progress->done < diary->last.done;
    diary->last = *progress;
    if (diary->at == 0 && progress->done == progress->rows)
        (void)act(diary);
}

/* Rows below 0 fail. */
static int
execute(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double out[ROWS];

    (void)model;
    for (size_t i = 0; i < rows->count; i++) {
        if (rows->values[i] < 0)
            return pool_call_fail(call, 3, "row %g", rows->values[i]);
        out[i] = 2 * rows->values[i];
    }
    return pool_call_return(call, "ad", out, rows->count);
}

static const double values[ROWS] = {0, 1, 2, -3, 4, 5, 6, 7, -8, 9, 10, 11};

static pool_job_t
job_of(struct diary *diary)
{
    pool_job_t job = POOL_JOB_INIT;

    job.execute = execute;
    job.rows = ROWS;
    job.columns = 1;
    job.values = values;
    job.schedule = POOL_DYNAMIC;
    job.settled = on_settled;
    job.progress = on_progress;
    job.data = diary;
    return job;
}

/* ---- for every drive, and for a serial pool ------------------------------ */

typedef void (*case_fn)(const struct drive *d, pool_t *pool, bool serial);

static void
each_backend(const struct drive *d, case_fn run)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    run(d, drive_pool(d, 2), false);
    if (d->bit != IN_CALLER)
        return;
    options.backend = POOL_SERIAL;
    run(d, drive_open(d, &options), true);
}

struct gathering {
    pool_scatter_t *scatter;
    pool_results_t *results;
    int rc;
};

static bool
is_gathered(void *data)
{
    struct gathering *g = data;

    g->rc = pool_gather(g->scatter, 0, &g->results);
    return g->rc != POOL_ETIMEDOUT;
}

static int
gather(const struct drive *d, pool_scatter_t *scatter, pool_results_t **results)
{
    struct gathering g = {scatter, NULL, 0};

    if (d->bit == IN_HOST) {
        ck_assert(pool_gather(scatter, -1, &g.results) == POOL_EDEADLK ||
                  is_gathered(&g));
        drive_until(d, is_gathered, &g);
    } else {
        g.rc = pool_gather(scatter, PATIENCE_MS, &g.results);
    }
    *results = g.results;
    return g.rc;
}

/* ---- settled and progress ------------------------------------------------ */

static void
run_told_in_order(const struct drive *d, pool_t *pool, bool serial)
{
    struct diary diary = {.pool = pool, .act = SUBMIT, .at = 3};
    pool_job_t job = job_of(&diary);
    pool_results_t *results;
    pool_scatter_t *scatter;
    bool seen[ROWS] = {false};

    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    if (serial) /* it ran in there */
        ck_assert_int_eq(diary.settled, ROWS);
    ck_assert_int_eq(gather(d, scatter, &results), 0);
    ck_assert_uint_eq(pool_results_failed(results), 2);
    ck_assert_int_eq(diary.settled, ROWS);
    ck_assert_int_eq(diary.progressed, ROWS);
    for (int i = 0; i < ROWS; i++) {
        int rank = diary.seen[i];
        ck_assert(!seen[rank]);
        seen[rank] = true;
        ck_assert_int_eq(diary.failed[i], rank == 3 || rank == 8);
        if (serial)
            ck_assert_int_eq(rank, i);
    }
    ck_assert_uint_eq(diary.first.done, 1);
    ck_assert_uint_eq(diary.first.rows, ROWS);
    ck_assert(diary.first.rows_per_second > 0 && diary.first.remaining_s > 0);
    ck_assert_uint_eq(diary.last.done, ROWS);
    ck_assert_uint_eq(diary.last.failed, 2);
    ck_assert(diary.last.remaining_s == 0);
    ck_assert(!diary.odd);
    pool_scatter_free(scatter);
    drive_destroy(d, pool);
}

static void
told_in_order(const struct drive *d)
{
    each_backend(d, run_told_in_order);
}

static void
run_a_pause(const struct drive *d, pool_t *pool, bool serial)
{
    struct diary diary = {.pool = pool};
    pool_job_t job = job_of(&diary);
    pool_results_t *results;
    pool_scatter_t *scatter;

    (void)serial;
    job.progress_ms = 3600000;
    job.settled = NULL;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    ck_assert_int_eq(gather(d, scatter, &results), 0);
    ck_assert_int_eq(diary.progressed, 2); /* the first and the last */
    ck_assert_uint_eq(diary.first.done, 1);
    ck_assert_uint_eq(diary.last.done, ROWS);
    pool_scatter_free(scatter);
    drive_destroy(d, pool);
}

static void
a_pause_between_calls(const struct drive *d)
{
    each_backend(d, run_a_pause);
}

/* settled ends the sweep: what is pending is cancelled, gather gives its code,
 * progress still comes to its end. */
static void
run_stop(const struct drive *d, pool_t *pool, bool serial)
{
    struct diary diary = {.pool = pool, .act = STOP, .at = 2};
    pool_job_t job = job_of(&diary);
    pool_results_t *results = NULL;
    const pool_local_results_t *locals;
    pool_scatter_t *scatter;
    size_t count, cancelled = 0;

    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    ck_assert_int_eq(gather(d, scatter, &results), -4242);
    ck_assert(strstr(pool_errmsg(), "settled returned -4242") != NULL);
    ck_assert_ptr_nonnull(results);
    ck_assert_int_eq(pool_gather(scatter, 0, &results), -4242);
    ck_assert_int_eq(pool_local_results(pool, results, &locals, &count), 0);
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_ne(locals[i].error, POOL_EAGAIN);
        cancelled += locals[i].error == POOL_ECANCELED;
    }
    if (serial)
        ck_assert_uint_eq(cancelled, ROWS - 2);
    ck_assert_int_eq(diary.settled, 2);
    ck_assert_int_eq(diary.progressed, ROWS);
    ck_assert_uint_eq(diary.last.done, ROWS);
    ck_assert_uint_ge(diary.last.failed, cancelled);
    pool_scatter_free(scatter);
    drive_destroy(d, pool);
}

static void
settled_ends_the_sweep(const struct drive *d)
{
    each_backend(d, run_stop);
}

/* ---- what hooks may do --------------------------------------------------- */

static void
run_gather_in_the_last(const struct drive *d, pool_t *pool, bool serial)
{
    struct diary diary = {.pool = pool, .act = GATHER, .gathered = 1};
    pool_job_t job = job_of(&diary);
    pool_results_t *results;

    (void)serial;
    ck_assert_int_eq(pool_scatter(pool, &diary.scatter, &job), 0);
    ck_assert_int_eq(gather(d, diary.scatter, &results), 0);
    ck_assert_int_eq(diary.gathered, 0);
    pool_scatter_free(diary.scatter);
    drive_destroy(d, pool);
}

static void
the_last_progress_gathers(const struct drive *d)
{
    each_backend(d, run_gather_in_the_last);
}

static bool
is_freed(void *data)
{
    struct diary *diary = data;

    return __atomic_load_n(&diary->scatter, __ATOMIC_ACQUIRE) == NULL;
}

static void
run_free(const struct drive *d, pool_t *pool, bool serial)
{
    for (int at = 0; at < 4; at++) {
        struct diary diary = {.pool = pool, .act = FREE, .at = at};
        pool_job_t job = job_of(&diary);
        if (at == 2)
            job.progress = NULL;
        ck_assert_int_eq(pool_scatter(pool, &diary.scatter, &job), 0);
        if (!serial)
            drive_until(d, is_freed, &diary);
        drive_works(d, pool);
        ck_assert_int_eq(diary.settled, at != 0 ? at : ROWS);
    }
    drive_destroy(d, pool);
}

static void
a_hook_frees_the_scatter(const struct drive *d)
{
    each_backend(d, run_free);
}

static int destroyed;

static int
destroy_in_settled(const pool_local_results_t *local, void *data)
{
    struct diary *diary = data;

    (void)local;
    if (diary->settled++ == 1) {
        pool_destroy(diary->pool);
        raise_word(&destroyed, 1);
    }
    return 0;
}

/* The futures stay readable; the scatter is freed afterwards. */
static void
run_destroy(const struct drive *d, pool_t *pool, bool serial)
{
    struct diary diary = {.pool = pool};
    pool_job_t job = job_of(&diary);
    pool_results_t *results;

    (void)serial;
    destroyed = 0;
    job.settled = destroy_in_settled;
    drive_forget(pool);
    ck_assert_int_eq(pool_scatter(pool, &diary.scatter, &job), 0);
    if (d->bit == IN_CALLER)
        (void)pool_gather(diary.scatter, PATIENCE_MS, &results);
    else
        drive_until_word(d, &destroyed, 1);
    drive_until_closed(d);
    ck_assert_int_eq(pool_gather(diary.scatter, -1, &results), 0);
    for (int i = 0; i < ROWS; i++)
        ck_assert(pool_future_done(pool_scatter_future(diary.scatter, i)));
    pool_scatter_free(diary.scatter);
}

static void
a_hook_destroys_the_pool(const struct drive *d)
{
    each_backend(d, run_destroy);
}

/* What has not begun is cancelled; in a serial pool that is all the rest. */
static void
run_shut_down(const struct drive *d, pool_t *pool, bool serial)
{
    struct diary diary = {.pool = pool, .act = SHUT_DOWN, .at = 2};
    pool_job_t job = job_of(&diary);
    int cancelled = 0;

    job.progress = NULL;
    ck_assert_int_eq(pool_scatter(pool, &diary.scatter, &job), 0);
    for (int i = 0; i < ROWS; i++) {
        int rc = drive_error(d, pool_scatter_future(diary.scatter, i));
        ck_assert(rc == 0 || rc == POOL_ETASK || rc == POOL_ECANCELED);
        cancelled += rc == POOL_ECANCELED;
    }
    ck_assert(!serial || cancelled == ROWS - 2);
    ck_assert(!diary.odd);
    pool_scatter_free(diary.scatter);
    drive_destroy(d, pool);
}

static void
a_hook_shuts_down(const struct drive *d)
{
    each_backend(d, run_shut_down);
}

/* Freed while chunks run: no hook is called any more, ranks go on. */
static int
execute_gate(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    struct gate *gate = (struct gate *)(uintptr_t)rows->values[0];

    (void)model;
    (void)call;
    raise_word(&gate->begun, 1);
    if (!test_await(&gate->leave, 1))
        return 1;
    raise_word(&gate->ended, 1);
    return 0;
}

static void
no_hook_after_free(const struct drive *d)
{
    struct gate *gate = gate_new();
    double addresses[ROWS];
    struct diary diary = {.act = NOTHING};
    pool_job_t job = job_of(&diary);
    pool_scatter_t *scatter;
    pool_t *pool = drive_pool(d, 2);

    for (int i = 0; i < ROWS; i++)
        addresses[i] = (double)ADDRESS(gate);
    job.values = addresses;
    job.execute = execute_gate;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    drive_until_word(d, &gate->begun, 2);
    pool_scatter_free(scatter);
    gate_open(gate);
    drive_until_word(d, &gate->ended, 2);
    drive_works(d, pool);
    drive_works(d, pool);
    ck_assert_int_eq(read_word(&gate->begun), 2);
    ck_assert_int_eq(diary.settled + diary.progressed, 0);
    drive_destroy(d, pool);
}

struct slow {
    int in, left;
};

static int
settle_slowly(const pool_local_results_t *local, void *data)
{
    struct slow *slow = data;
    struct timespec while_freed = {0, 20000000};

    (void)local;
    raise_word(&slow->in, 1);
    nanosleep(&while_freed, NULL);
    raise_word(&slow->left, 1);
    return 0;
}

/* What data points to may go when the scatter is freed: a hook that runs in
 * the pool's thread has returned by then. */
static void
freed_while_a_hook_runs(const struct drive *d)
{
    struct slow slow = {0, 0};
    pool_job_t job = job_of(NULL);
    pool_scatter_t *scatter;
    pool_t *pool = drive_pool(d, 2);

    job.settled = settle_slowly;
    job.progress = NULL;
    job.data = &slow;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    drive_until_word(d, &slow.in, 1);
    pool_scatter_free(scatter);
    ck_assert_int_eq(read_word(&slow.left), read_word(&slow.in));
    drive_destroy(d, pool);
}

/* ---- restore ------------------------------------------------------------- */

struct store {
    struct diary diary; /* first: the hooks' */
    int most;           /* ranks below are there */
    int asked;
    int fail_at, code; /* this call returns code */
};

static int
restore(int rank, const pool_rows_t *rows, const void **results, size_t *size,
    void *data)
{
    static unsigned char bytes[16];
    struct store *store = data;

    if (rank != store->asked || rows->first != (size_t)rank)
        store->diary.odd = true;
    if (++store->asked == store->fail_at)
        return store->code;
    if (rank >= store->most)
        return 0;
    double twice = 2 * rows->values[0];
    *results = bytes;
    return pool_encode(bytes, sizeof bytes, size, "ad", &twice, (size_t)1) == 0
               ? 1
               : -1;
}

static void
check_restored(const struct drive *d, pool_t *pool, int most)
{
    struct store store = {.most = most};
    pool_job_t job = job_of(&store.diary);
    double out[ROWS];
    bool ok[ROWS];
    pool_scatter_t *scatter;
    pool_results_t *results;

    job.restore = restore;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
    ck_assert_int_eq(store.asked, ROWS);
    if (most == ROWS) /* nothing runs */
        ck_assert(pool_future_done(pool_scatter_future(scatter, 3)));
    ck_assert_int_eq(gather(d, scatter, &results), 0);
    ck_assert_int_eq(pool_results_matrix(results, 1, out, ok), 0);
    for (int i = 0; i < ROWS; i++) {
        bool fails = i >= most && values[i] < 0;
        ck_assert_int_eq(ok[i], !fails);
        ck_assert(fails ? isnan(out[i]) : out[i] == 2 * values[i]);
    }
    ck_assert(!store.diary.odd);
    ck_assert_int_eq(store.diary.settled, ROWS - most);
    for (int i = 0; i < ROWS - most; i++)
        ck_assert_int_ge(store.diary.seen[i], most);
    ck_assert_int_eq(store.diary.progressed, ROWS - most + (most != 0));
    ck_assert_int_eq((int)store.diary.first.done, most != 0 ? most : 1);
    ck_assert_uint_eq(store.diary.last.done, ROWS);
    if (most != 0) {
        ck_assert(store.diary.first.rows_per_second == 0);
        ck_assert(isnan(store.diary.first.remaining_s));
    }
    pool_scatter_free(scatter);
}

static void
run_restored(const struct drive *d, pool_t *pool, bool serial)
{
    (void)serial;
    check_restored(d, pool, 0);
    check_restored(d, pool, 5);
    check_restored(d, pool, ROWS);
    drive_destroy(d, pool);
}

static void
restored_chunks_do_not_run(const struct drive *d)
{
    each_backend(d, run_restored);
}

static void
run_restore_fails(const struct drive *d, pool_t *pool, bool serial)
{
    const struct {
        int code, gives;
        const char *word;
    } table[] = {{-5151, -5151, "returned -5151 for rank 6"},
        {2, POOL_EINVAL, "gave 2"}};

    (void)serial;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct store store = {.most = 5, .fail_at = 7, .code = table[i].code};
        pool_job_t job = job_of(&store.diary);
        pool_scatter_t *scatter = NULL;
        job.restore = restore;
        ck_assert_int_eq(pool_scatter(pool, &scatter, &job), table[i].gives);
        ck_assert_msg(
            strstr(pool_errmsg(), table[i].word) != NULL, "%s", pool_errmsg());
        ck_assert_ptr_null(scatter);
        drive_works(d, pool);
        ck_assert_int_eq(store.diary.settled + store.diary.progressed, 0);
    }
    drive_destroy(d, pool);
}

static void
restore_fails(const struct drive *d)
{
    each_backend(d, run_restore_fails);
}

/* Peers run all together or not at all. */
static int
execute_peer(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double sum = 0;
    int rc = pool_allreduce(
        pool_call_comm(call), rows->values, &sum, 1, POOL_DOUBLE, POOL_SUM);

    (void)model;
    return rc < 0 ? pool_call_fail(call, 9, "%s", pool_errmsg())
                  : pool_call_return(call, "ad", &sum, (size_t)1);
}

static pool_job_t
peers_of(struct store *store)
{
    pool_job_t job = job_of(&store->diary);

    job.schedule = POOL_STATIC;
    job.flags = POOL_JOB_PEERS;
    job.execute = execute_peer;
    job.rows = 2;
    return job;
}

static void
peers_are_restored_together(const struct drive *d)
{
    pool_t *pool = drive_pool(d, 2);

    for (int most = 0; most <= 2; most++) {
        struct store store = {.most = most};
        pool_job_t job = peers_of(&store);
        pool_scatter_t *scatter;
        pool_results_t *results;
        double out[2];
        job.restore = restore;
        ck_assert_int_eq(pool_scatter(pool, &scatter, &job), 0);
        ck_assert_int_eq(gather(d, scatter, &results), 0);
        ck_assert_uint_eq(pool_results_failed(results), 0);
        ck_assert_int_eq(pool_results_matrix(results, 1, out, NULL), 0);
        ck_assert(
            out[1] == (most == 2 ? 2 * values[1] : values[0] + values[1]));
        ck_assert_int_eq(store.diary.settled, most == 2 ? 0 : 2);
        pool_scatter_free(scatter);
    }
    drive_destroy(d, pool);
}

static pool_t *shrinking;

static void *
shrink(void *unused)
{
    (void)unused;
    ck_assert_int_eq(pool_resize(shrinking, 1), 0);
    return NULL;
}

static int
restore_while_it_shrinks(int rank, const pool_rows_t *rows,
    const void **results, size_t *size, void *data)
{
    pthread_t thread;

    (void)rows;
    (void)results;
    (void)size;
    (void)data;
    if (rank == 0 && pthread_create(&thread, NULL, shrink, NULL) == 0)
        pthread_join(thread, NULL);
    return 0;
}

static void
resized_while_peers_are_made(const struct drive *d)
{
    struct store store = {.most = 0};
    pool_job_t job = peers_of(&store);
    pool_scatter_t *scatter;

    shrinking = drive_pool(d, 2);
    job.restore = restore_while_it_shrinks;
    ck_assert_int_eq(pool_scatter(shrinking, &scatter, &job), POOL_EINVAL);
    ck_assert(strstr(pool_errmsg(), "2 peers") != NULL);
    drive_works(d, shrinking);
    drive_destroy(d, shrinking);
}

static const struct drive_case cases[] = {
    {"told_in_order", told_in_order, IN_ALL},
    {"a_pause_between_calls", a_pause_between_calls, IN_ALL},
    {"settled_ends_the_sweep", settled_ends_the_sweep, IN_ALL},
    {"the_last_progress_gathers", the_last_progress_gathers, IN_ALL},
    {"a_hook_frees_the_scatter", a_hook_frees_the_scatter, IN_ALL},
    {"a_hook_destroys_the_pool", a_hook_destroys_the_pool, IN_ALL},
    {"a_hook_shuts_down", a_hook_shuts_down, IN_ALL},
    {"no_hook_after_free", no_hook_after_free, IN_ALL},
    {"freed_while_a_hook_runs", freed_while_a_hook_runs, IN_THREAD},
    {"restored_chunks_do_not_run", restored_chunks_do_not_run, IN_ALL},
    {"restore_fails", restore_fails, IN_ALL},
    {"peers_are_restored_together", peers_are_restored_together, IN_ALL},
    {"resized_while_peers_are_made", resized_while_peers_are_made, IN_THREAD},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("sweep", cases, argc, argv);
}
