/* Tasks.
 *
 * Invariants: a task leaves PENDING once, in settle. It is freed when it has
 * settled, no caller holds it and no channel reads its payload. */
#include "task.h"

#include <string.h>

#include "error.h"

_Static_assert(sizeof(struct pool_future) <= 192, "three cache lines a task");

struct pool__core *
pool__core_new(void)
{
    struct pool__core *core = pool__zalloc(sizeof *core);

    if (core != NULL) {
        pool__cells_init(&core->cells, sizeof(struct pool_future));
        core->next_id = 1;
    }
    return core;
}

static void
core_free_if_last(struct pool__core *core)
{
    if (core->pool != NULL || core->cells_out != 0)
        return;
    pool__cells_fini(&core->cells);
    pool__free(core);
}

void
pool__core_release(struct pool__core *core)
{
    core->pool = NULL;
    core_free_if_last(core);
}

struct pool_future *
pool__task_new(struct pool__core *core, size_t size)
{
    void *block = NULL;

    if (size > POOL__TASK_ROOM && (block = pool__malloc(size)) == NULL)
        return NULL;
    struct pool_future *task = pool__cell_alloc(&core->cells);
    if (task == NULL) {
        pool__free(block);
        return NULL;
    }
    memset(task, 0, offsetof(struct pool_future, room));
    pool__list_init(&task->node);
    task->core = core;
    task->block = block;
    task->data = block != NULL ? block : task->room;
    task->size = (uint32_t)size;
    task->refs = 1;
    core->cells_out++;
    core->unsettled++;
    return task;
}

static void
free_if_done(struct pool_future *task)
{
    struct pool__core *core = task->core;

    if (task->refs != 0 || task->lent || !pool__task_settled(task))
        return;
    pool__free(task->block);
    pool__free(task->failure);
    pool__cell_free(&core->cells, task);
    core->cells_out--;
    core_free_if_last(core);
}

void
pool__task_unref(struct pool_future *task)
{
    task->refs--;
    free_if_done(task);
}

/* The arguments of a settled task: nobody will send them again. */
static void
drop_payload(struct pool_future *task)
{
    if (task->lent)
        return;
    pool__free(task->block);
    task->block = NULL;
    task->data = task->room;
    task->size = 0;
}

void
pool__task_returned(struct pool_future *task)
{
    task->lent = false;
    if (task->state == POOL__TASK_FAILED || task->state == POOL__TASK_CANCELLED)
        drop_payload(task);
    free_if_done(task);
}

/* The one place where a future settles. */
static void
settle(struct pool_future *task, enum pool__task_state state, int code)
{
    task->state = (uint8_t)state;
    task->code = code;
    task->proc = NULL;
    task->core->unsettled--;
    if (task->waited) {
        task->waited = false;
        task->core->waited_done++;
        task->core->waited_failed += state == POOL__TASK_FAILED;
    }
    free_if_done(task);
}

static const pool_failure_t out_of_memory = {.code = POOL_ENOMEM,
    .message = "no memory for the result",
    .exit_status = -1};

void
pool__task_value(
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
    pool__free(task->block);
    task->block = block;
    task->data = block != NULL ? block : task->room;
    task->size = (uint32_t)size;
    if (block == NULL && size != 0)
        memcpy(task->room, data, size);
    settle(task, POOL__TASK_VALUE, 0);
}

/* One block: the record, then its message. */
static pool_failure_t *
copy_failure(const pool_failure_t *failure)
{
    size_t length = strlen(failure->message) + 1;
    pool_failure_t *copy = pool__malloc(sizeof *copy + length);

    if (copy == NULL)
        return NULL; /* the code survives in the task */
    *copy = *failure;
    copy->message = memcpy(copy + 1, failure->message, length);
    return copy;
}

void
pool__task_failed(struct pool_future *task, const pool_failure_t *failure)
{
    task->failure = copy_failure(failure);
    if (task->failure != NULL)
        task->failure->attempts = task->attempts;
    drop_payload(task);
    settle(task, POOL__TASK_FAILED, failure->code);
}

void
pool__task_cancelled(struct pool_future *task)
{
    drop_payload(task);
    settle(task, POOL__TASK_CANCELLED, POOL_ECANCELED);
}
