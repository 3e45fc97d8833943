/* Going through futures as they settle.
 *
 * Each future has a watcher that enters its number into `order`, at a place
 * that it draws: pools that threads drive may settle at the same time. The one
 * who asks reads the places in turn. */
#include "error.h"
#include "pool.h"

struct entry {
    struct pool__watcher watcher;
    struct pool_completed *all;
    struct pool_future *future; /* held */
};

struct pool_completed {
    unsigned refs; /* the program's, and those of calls */
    bool freed;    /* the program's is gone */
    struct pool__gate gate;
    struct entry *entries;
    size_t count;
    size_t *order; /* numbers + 1 of those that settled; 0: not yet */
    size_t drawn;  /* places */
    size_t taken;  /* by the program */
};

static void
enter_order(struct pool_completed *c, size_t number)
{
    size_t place = __atomic_fetch_add(&c->drawn, 1, __ATOMIC_ACQ_REL);

    pool__store(&c->order[place], number + 1);
}

static void
on_settled(struct pool__watcher *watcher, struct pool_future *future)
{
    struct entry *entry = pool__container(watcher, struct entry, watcher);
    struct pool_completed *c = entry->all;

    (void)future;
    enter_order(c, (size_t)(entry - c->entries));
    pool__gate_signal(&c->gate);
}

static void
add(struct pool_completed *c, struct pool_future *future)
{
    struct entry *entry = &c->entries[c->count];

    *entry = (struct entry){
        .watcher.settled = on_settled, .all = c, .future = future};
    (void)pool__task_hold(future, 1);
    c->count++;
    if (pool__task_settled(future))
        enter_order(c, c->count - 1);
    else
        pool__task_watch(future, &entry->watcher);
}

/* Those of one core, each once. */
static void
add_of_core(struct pool_completed *c, struct pool__core *core,
    pool_future_t *const *futures, size_t n)
{
    if (pool__enter(core, "pool_as_completed") < 0)
        return; /* it was checked */
    for (size_t i = 0; i < n; i++)
        if (futures[i]->core == core && !futures[i]->marked) {
            futures[i]->marked = true;
            add(c, futures[i]);
        }
    for (size_t i = 0; i < n; i++)
        if (futures[i]->core == core)
            futures[i]->marked = false;
    pool__leave(core);
}

/* In another process or thread than its futures', nothing ends. */
static bool
is_ours(struct pool_completed *c)
{
    for (size_t i = 0; i < c->gate.count; i++) {
        if (pool__enter(c->gate.cores[i], "pool_as_completed_free") < 0)
            return false;
        pool__leave(c->gate.cores[i]);
    }
    return true;
}

static void
unref(struct pool_completed *c)
{
    if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) != 0 || !is_ours(c))
        return;
    for (size_t i = 0; i < c->count; i++) {
        struct pool_future *f = c->entries[i].future;
        struct pool__core *core = f->core;
        if (pool__enter(core, "pool_as_completed_free") < 0)
            continue; /* it was asked */
        if (!pool__task_settled(f))
            pool__task_unwatch(f, &c->entries[i].watcher);
        pool__task_unref(f);
        pool__leave(core);
    }
    pool__gate_close(&c->gate);
    pool__free(c->entries);
    pool__free(c->order);
    pool__free(c);
}

int
pool_as_completed(
    pool_completed_t **completed, pool_future_t *const *futures, size_t n)
{
    static const char who[] = "pool_as_completed";

    if (completed == NULL || (futures == NULL && n != 0))
        return pool__fail(POOL_EINVAL, "%s: %s is NULL", who,
            completed == NULL ? "completed" : "futures");
    struct pool_completed *c = pool__zalloc(sizeof *c);
    if (c == NULL)
        return pool__fail(POOL_ENOMEM, "%s: %zu futures", who, n);
    c->refs = 1;
    int rc = pool__gate_open(&c->gate, futures, n, who);
    if (rc == 0) {
        c->entries = pool__malloc(n * sizeof *c->entries);
        c->order = pool__zalloc(n * sizeof *c->order);
        if (c->entries == NULL || c->order == NULL)
            rc = pool__fail(POOL_ENOMEM, "%s: %zu futures", who, n);
    }
    if (rc < 0) {
        unref(c);
        return rc;
    }
    for (size_t i = 0; i < c->gate.count; i++)
        add_of_core(c, c->gate.cores[i], futures, n);
    *completed = c;
    return 0;
}

/* Or there is nothing to wait for any more: a callback has taken the last one,
 * or ended it all. */
static bool
has_next(void *data)
{
    struct pool_completed *c = data;

    return pool__load(&c->freed) || c->taken == c->count ||
           pool__load(&c->order[c->taken]) != 0;
}

static int
take_next(struct pool_completed *c, int timeout_ms, pool_future_t **future,
    const char *who)
{
    int rc = c->taken != c->count
                 ? pool__gate_wait(&c->gate, has_next, c, timeout_ms, who)
                 : 0;

    if (rc < 0)
        return rc;
    if (pool__load(&c->freed))
        return pool__fail(POOL_ECANCELED, "%s: it was freed meanwhile", who);
    if (c->taken == c->count)
        return pool__fail(POOL_ENOENT, "%s: all %zu were given", who, c->count);
    *future = c->entries[pool__load(&c->order[c->taken++]) - 1].future;
    return 0;
}

int
pool_as_completed_next(
    pool_completed_t *c, int timeout_ms, pool_future_t **future)
{
    static const char who[] = "pool_as_completed_next";

    if (c == NULL || future == NULL)
        return pool__fail(POOL_EINVAL, "%s: %s is NULL", who,
            c == NULL ? "completed" : "future");
    int rc = pool__check_timeout(timeout_ms, who);
    if (rc < 0)
        return rc;
    (void)__atomic_add_fetch(&c->refs, 1, __ATOMIC_ACQ_REL);
    rc = take_next(c, timeout_ms, future, who);
    unref(c);
    return rc;
}

void
pool_as_completed_free(pool_completed_t *c)
{
    if (c == NULL || !is_ours(c))
        return;
    pool__store(&c->freed, true);
    pool__gate_wake(&c->gate, "pool_as_completed_free");
    unref(c);
}
