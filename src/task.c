/* Tasks.
 *
 * Invariants: a task leaves PENDING once, in pool__task_settle. It is freed
 * when it has settled, no caller holds it and no channel reads its payload.
 * Who watches it is told in the order of coming; a user's callback is a watcher
 * that becomes a notice. */
#define _GNU_SOURCE
#include "task.h"

#include <string.h>
#include <sys/mman.h>

#include "budget.h"
#include "error.h"
#include "segment.h"

_Static_assert(sizeof(struct pool_future) <= 192, "three cache lines a task");

#define TRASH_MIN ((size_t)4 << 20)  /* smaller blocks are freed at once */
#define TRASH_STEP ((size_t)1 << 20) /* bytes freed in one step */
#define SPARE_MIN TRASH_MIN          /* what is kept */
#define SPARE_MAX ((size_t)256 << 20)
#define PAGE 4096u
#define TAKE_BACK 64 /* cells in one step */

/* ---- the core --------------------------------------------------------- */

struct pool__core *
pool__core_new(void)
{
    struct pool__core *core = pool__zalloc(sizeof *core);

    if (core != NULL) {
        pool__cells_init(&core->cells, sizeof(struct pool_future));
        pool__list_init(&core->waiters);
        pool__list_init(&core->notices);
        pthread_mutex_init(&core->lock, NULL);
    }
    return core;
}

void
pool__core_free(struct pool__core *core)
{
    pool__cells_fini(&core->cells);
    pthread_mutex_destroy(&core->lock);
    pool__free(core);
}

/* What stands at handed_back once the pool is gone. Whoever has the lock may go
 * on with a task that was handed back meanwhile, as pool__task_settle does: its
 * cell is taken back under the lock alone. */
static struct pool__list closed;

bool
pool__task_hand_back(struct pool_future *task)
{
#ifdef POOL_DEBUG
    (void)task;
    return false;
#else
    struct pool__list **head = &task->core->handed_back;
    struct pool__list *last = __atomic_load_n(head, __ATOMIC_RELAXED);

    do {
        if (last == &closed)
            return false;
        task->node.next = last;
    } while (!__atomic_compare_exchange_n(
        head, &last, &task->node, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    return true;
#endif
}

/* Make cells of what was taken back, so many at most. */
static void
free_taken(struct pool__core *core, size_t most)
{
    for (; most > 0 && core->taken_back != NULL; most--) {
        struct pool__list *node = core->taken_back;
        core->taken_back = node->next;
        pool__task_free_cell(
            core, pool__list_entry(node, struct pool_future, node));
    }
}

void *
pool__task_cell(struct pool__core *core)
{
    if (core->taken_back == NULL &&
        __atomic_load_n(&core->handed_back, __ATOMIC_RELAXED) != NULL)
        core->taken_back =
            __atomic_exchange_n(&core->handed_back, NULL, __ATOMIC_ACQUIRE);
    free_taken(core, TAKE_BACK);
    return pool__cell_alloc(&core->cells);
}

void
pool__core_release(struct pool__core *core)
{
    free_taken(core, SIZE_MAX);
    core->taken_back =
        __atomic_exchange_n(&core->handed_back, &closed, __ATOMIC_ACQUIRE);
    free_taken(core, SIZE_MAX);
    core->sliced = false;
    pool__free(core->spare);
    core->spare = NULL;
    while (pool__core_sweep_out(core))
        ;
    core->pool = NULL;
    core->wake = true; /* the last to leave frees it */
}

void
pool__notice_add(struct pool__core *core, struct pool__notice *notice)
{
    pool__list_append(&core->notices, &notice->node);
    core->noticed++;
    core->untold += notice->size;
    core->wake = true;
}

/* ---- large blocks ------------------------------------------------------ */

/* Freeing pages costs about 0.1 us each, so a large block goes in steps: its
 * head tells what is left of it. */
struct trash {
    struct trash *next;
    size_t size;
};

void
pool__core_drop(struct pool__core *core, void *block, size_t size)
{
    struct trash *trash = block;

    if (!core->sliced || block == NULL || size < TRASH_MIN) {
        pool__free(block);
        return;
    }
    trash->next = core->trash;
    trash->size = size;
    core->trash = trash;
    core->wake = true;
}

bool
pool__core_sweep_out(struct pool__core *core)
{
    struct trash *trash = core->trash;

    if (trash == NULL)
        return false;
    if (trash->size >= TRASH_MIN) {
        uintptr_t at = (uintptr_t)trash + trash->size;
        trash->size -= TRASH_STEP;
        (void)madvise((void *)((at - TRASH_STEP) / PAGE * PAGE), TRASH_STEP,
            MADV_DONTNEED);
        return true;
    }
    core->trash = trash->next;
    pool__free(trash);
    return core->trash != NULL;
}

void
pool__core_keep(struct pool__core *core, void *block, size_t size)
{
    if (block == NULL || core->pool == NULL || size < SPARE_MIN ||
        size > SPARE_MAX) {
        pool__core_drop(core, block, size);
        return;
    }
    void *old = core->spare;
    size_t old_size = core->spare_size;
    core->spare = block;
    core->spare_size = size;
    if (!core->warm)
        pool__unpopulate(block, size);
    pool__core_drop(core, old, old_size);
}

void
pool__core_warm(struct pool__core *core, bool warm)
{
    core->warm = warm;
    if (warm)
        return;
    pool__core_drop(core, core->spare, core->spare_size);
    core->spare = NULL;
}

/* Making the pages of a new block costs about as much as filling them. */
void *
pool__core_take(struct pool__core *core, size_t size)
{
    void *block = core->spare;

    if (block != NULL && core->spare_size == size) {
        core->spare = NULL;
        return block;
    }
    block = pool__malloc_large(size);
    if (block == NULL && core->spare != NULL) {
        pool__free(core->spare);
        core->spare = NULL;
        block = pool__malloc_large(size);
    }
    return block;
}

/* ---- life ------------------------------------------------------------- */

struct pool_future *
pool__task_new_with_block(struct pool__core *core, size_t size, void *block)
{
    bool owned = block != NULL;

    if (!owned && (block = pool__malloc_large(size)) == NULL)
        return NULL;
    struct pool_future *task = pool__task_new_cell(core, size);
    if (task == NULL) {
        if (!owned)
            pool__free(block);
        return NULL;
    }
    task->block = block;
    task->owned = owned;
    return task;
}

static void
drop_block(struct pool_future *task)
{
    void *block = task->block;

    if (block == NULL)
        return;
    task->block = NULL;
    if (!task->owned) {
        if (task->state == POOL__TASK_VALUE && task->core->warm &&
            task->size <= POOL__AREA)
            pool__core_keep(task->core, block, task->size);
        else
            pool__core_drop(task->core, block, task->size);
        return;
    }
    task->owned = false;
    pool__budget_pause(true);
    if (task->extra->free_fn != NULL)
        task->extra->free_fn(block);
    pool__budget_pause(false);
}

void
pool__extra_unref(struct pool__task_extra *extra)
{
    if (extra == NULL || --extra->refs != 0)
        return;
    if (extra->unused != NULL)
        extra->unused(extra);
    else
        pool__free(extra);
}

static void
free_cell(struct pool_future *task)
{
    struct pool__core *core = task->core;

    pool__extra_unref(task->extra);
    pool__task_free_cell(core, task);
}

void
pool__task_free_if_done(struct pool_future *task)
{
    if (task->refs != 0 || task->lent || !pool__task_settled(task))
        return;
    drop_block(task);
    if (task->state == POOL__TASK_FAILED)
        pool__free(task->failure);
    free_cell(task);
}

void
pool__task_unmake(struct pool_future *task)
{
    task->core->unsettled--;
    task->core->stats.queued_bytes -= task->size;
    if (!task->owned)
        pool__free(task->block);
    free_cell(task);
}

/* The arguments of a task that settles: nobody will send them again. A
 * channel that still reads them gives them back first. */
static void
drop_arguments(struct pool_future *task)
{
    if (task->lent)
        return;
    drop_block(task);
    task->size = 0;
}

void
pool__task_returned(struct pool_future *task)
{
    task->lent = false;
    if (task->state == POOL__TASK_FAILED || task->state == POOL__TASK_CANCELLED)
        drop_arguments(task);
    pool__task_free_if_done(task);
}

/* ---- watchers --------------------------------------------------------- */

void
pool__task_watch(struct pool_future *task, struct pool__watcher *watcher)
{
    pool__list_init(&watcher->node);
    if (task->watchers == NULL)
        task->watchers = &watcher->node;
    else
        pool__list_append(task->watchers, &watcher->node);
}

void
pool__task_unwatch(struct pool_future *task, struct pool__watcher *watcher)
{
    struct pool__list *node = &watcher->node;

    if (task->watchers == node)
        task->watchers = node->next != node ? node->next : NULL;
    pool__list_remove(node);
}

static void
tell_watchers(struct pool_future *task)
{
    while (task->watchers != NULL) {
        struct pool__watcher *w =
            pool__list_entry(task->watchers, struct pool__watcher, node);
        pool__task_unwatch(task, w);
        w->settled(w, task);
    }
}

/* ---- settling --------------------------------------------------------- */

void
pool__task_tell(struct pool_future *task)
{
    if (task->core->drain_wanted)
        task->core->wake = true;
    (void)pool__task_hold(task, 1); /* a watcher may free it */
    tell_watchers(task);
    pool__task_unref(task);
}

static const pool_failure_t out_of_memory = {.code = POOL_ENOMEM,
    .message = "no memory for the result",
    .exit_status = -1};

void
pool__task_value_slowly(
    struct pool_future *task, const void *data, size_t size, void *block)
{
    if (block == NULL && size > POOL__TASK_ROOM) {
        block = pool__malloc(size);
        if (block == NULL) {
            pool__task_failed(task, &out_of_memory);
            return;
        }
        memcpy(block, data, size);
    }
    pool__stats_completed(&task->core->stats, task->size, size);
    drop_block(task);
    task->block = block;
    task->size = (uint32_t)size;
    if (block == NULL && size != 0)
        memcpy(task->room, data, size);
    pool__task_settle(task, POOL__TASK_VALUE, 0);
}

/* One block: the record, then its texts. */
static pool_failure_t *
copy_failure(const pool_failure_t *failure)
{
    const char *tail = failure->stderr_tail;
    size_t length = strlen(failure->message) + 1;
    size_t tail_length = tail != NULL ? strlen(tail) + 1 : 0;
    pool_failure_t *copy = pool__malloc(sizeof *copy + length + tail_length);

    if (copy == NULL)
        return NULL; /* the code survives in the task */
    *copy = *failure;
    copy->message = memcpy(copy + 1, failure->message, length);
    if (tail != NULL)
        copy->stderr_tail =
            memcpy((char *)(copy + 1) + length, tail, tail_length);
    return copy;
}

void
pool__task_failed(struct pool_future *task, const pool_failure_t *failure)
{
    struct pool__stats *stats = &task->core->stats;

    stats->queued_bytes -= task->size;
    pool__stats_failed(stats, failure->code);
    task->failure = copy_failure(failure);
    if (task->failure != NULL)
        task->failure->attempts = task->attempts;
    drop_arguments(task);
    pool__task_settle(task, POOL__TASK_FAILED, failure->code);
}

void
pool__task_cancelled(struct pool_future *task)
{
    task->core->stats.queued_bytes -= task->size;
    task->core->stats.cancelled++;
    drop_arguments(task);
    pool__task_settle(task, POOL__TASK_CANCELLED, POOL_ECANCELED);
}

const pool_failure_t *
pool__task_failure(const struct pool_future *task)
{
    static const pool_failure_t lost = {.code = POOL_ENOMEM,
        .message = "the task failed; no memory to say how",
        .exit_status = -1};

    if (task->state != POOL__TASK_FAILED)
        return NULL;
    return task->failure != NULL ? task->failure : &lost;
}
