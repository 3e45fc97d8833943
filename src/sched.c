/* The scheduler.
 *
 * Invariants: a pending task is in the queue or in one channel, never both
 * (task->proc tells). A proc that serves is idle, fed, or full and in neither
 * list. The sweep runs while some worker holds a task that it hasn't begun, or
 * two: then a reply may stand in its buffer behind a task that takes long, and
 * tasks may wait behind it or for a worker that doesn't move. */
#define _GNU_SOURCE
#include "sched.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define AHEAD_NS 1000000u /* work queued at a worker */
#define SWEEP_MS 10
#define LOSSES_MAX 3 /* a task whose arguments kill who reads them */

static struct pool__proc *
proc_at(struct pool__list *node)
{
    return pool__list_entry(node, struct pool__proc, sched.place);
}

/* ---- giving out ------------------------------------------------------- */

/* Put a proc where its state says. */
static void
place(struct pool__sched *s, struct pool__proc *proc)
{
    pool__list_remove(&proc->sched.place);
    if (!pool__proc_serves(proc) || !pool__channel_has_room(&proc->channel))
        return;
    if (proc->channel.held == 0) {
        proc->sched.queued_ns = 0;
        pool__list_append(&s->idle, &proc->sched.place);
    } else if (proc->sched.queued_ns < AHEAD_NS) {
        pool__list_append(&s->fed, &proc->sched.place);
    }
}

/* Who takes a task that may run this long; NULL: it must wait. */
static struct pool__proc *
pick(struct pool__sched *s, uint32_t estimate_ns)
{
    if (!pool__list_empty(&s->idle))
        return proc_at(s->idle.next);
    if (estimate_ns >= AHEAD_NS || pool__list_empty(&s->fed))
        return NULL;
    return proc_at(s->fed.next);
}

/* The worker must know a function before it is called. */
static int
introduce(struct pool__sched *s, struct pool__proc *proc, uint16_t number)
{
    uint8_t payload[16];
    size_t size;

    while (proc->sched.functions <= number) {
        uint64_t address =
            (uintptr_t)s->functions.list[proc->sched.functions].fn;
        pool_encode(payload, sizeof payload, &size, "t", address);
        struct pool__frame hello = {
            .type = POOL__FRAME_HELLO, .size = (uint32_t)size};
        if (pool__channel_control(&proc->channel, &hello, payload) < 0)
            return POOL_ENOMEM;
        proc->sched.functions++;
    }
    return 0;
}

static void
fail_without_memory(struct pool_future *task)
{
    static const pool_failure_t failure = {.code = POOL_ENOMEM,
        .message = "no memory to send the task",
        .exit_status = -1};

    pool__task_failed(task, &failure);
}

/* Send the task; it is in no queue. */
static void
give(struct pool__sched *s, struct pool__proc *proc, struct pool_future *task)
{
    struct pool__frame frame = {.type = POOL__FRAME_CALL,
        .size = task->size,
        .flags = task->function,
        .id = s->core->next_id++};
    int rc = introduce(s, proc, task->function);

    if (rc == 0)
        rc = pool__channel_send(
            &proc->channel, task, &frame, task->data, &task->ordinal);
    if (rc < 0) {
        fail_without_memory(task);
        return;
    }
    task->lent = rc == 1;
    task->proc = proc;
    task->attempts++;
    proc->sched.queued_ns += task->estimate_ns;
    if (!uv_is_active((uv_handle_t *)&s->sweep))
        uv_timer_again(&s->sweep);
    place(s, proc);
    pool__list_remove(&proc->sched.dirty);
    pool__list_append(&s->dirty, &proc->sched.dirty);
}

static uint32_t
estimate(const struct pool__sched *s, const struct pool_future *task)
{
    uint32_t mean = s->functions.list[task->function].mean_ns;

    return mean != 0 ? mean : AHEAD_NS;
}

/* Give out from the head of the queue while somebody takes it. */
static struct pool__proc *
dispatch(struct pool__sched *s)
{
    struct pool__proc *proc = NULL, *next;

    while (!pool__list_empty(&s->queue)) {
        struct pool_future *task =
            pool__list_entry(s->queue.next, struct pool_future, node);
        task->estimate_ns = estimate(s, task);
        if ((next = pick(s, task->estimate_ns)) == NULL)
            break;
        proc = next;
        pool__list_remove(&task->node);
        give(s, proc, task);
    }
    return proc;
}

static void
flush_one(struct pool__sched *s, struct pool__proc *proc)
{
    bool full = !pool__channel_has_room(&proc->channel);

    pool__list_remove(&proc->sched.dirty);
    pool__channel_flush(&proc->channel);
    if (full)
        place(s, proc);
}

void
pool__sched_flush(struct pool__sched *s)
{
    pool__list_each(node, &s->dirty)
    {
        flush_one(s, pool__list_entry(node, struct pool__proc, sched.dirty));
    }
}

void
pool__sched_submit(struct pool__sched *s, struct pool_future *task)
{
    pool__list_append(&s->queue, &task->node);
    struct pool__proc *proc = dispatch(s);
    if (proc != NULL && pool__channel_wants_flush(&proc->channel))
        flush_one(s, proc);
}

static void
run(struct pool__sched *s)
{
    if (dispatch(s) != NULL)
        pool__sched_flush(s);
}

/* ---- replies ---------------------------------------------------------- */

static void
measure(struct pool__function *function, uint64_t ns)
{
    int64_t mean = function->mean_ns;

    mean = mean == 0 ? (int64_t)ns : mean + ((int64_t)ns - mean) / 8;
    if (mean > INT32_MAX)
        mean = INT32_MAX;
    function->mean_ns = mean > 0 ? (uint32_t)mean : 1;
}

/* A worker said what it may not say about a task; the channel is not asked
 * any more. */
static void
broke_protocol(
    struct pool__proc *proc, struct pool_future *task, const char *what)
{
    pool_failure_t failure = {.code = POOL_EPROTO,
        .message = what,
        .pid = proc->pid,
        .exit_status = -1};

    pool__task_failed(task, &failure);
    pool__channel_violate(&proc->channel, what);
}

static void
fail_as_told(struct pool__proc *proc, struct pool_future *task,
    const struct pool__frame *frame, const void *payload)
{
    struct pool__error error;

    if (!pool__error_decode(payload, frame->size, &error)) {
        broke_protocol(proc, task, "an error that is none");
        return;
    }
    pool_failure_t failure = {.code = error.code,
        .task_code = error.task_code,
        .message = error.message,
        .pid = proc->pid,
        .exit_status = -1};
    pool__task_failed(task, &failure);
}

void
pool__sched_reply(struct pool__sched *s, struct pool__proc *proc,
    struct pool_future *task, const struct pool__frame *frame,
    const void *payload, void *block)
{
    uint64_t *queued = &proc->sched.queued_ns;

    proc->useful = true;
    measure(&s->functions.list[task->function],
        pool__duration_unpack(frame->flags));
    *queued -= pool__min(*queued, task->estimate_ns);
    if (pool__likely(frame->type == POOL__FRAME_REPLY &&
                     frame->size <= s->table->max_result)) {
        pool__task_value(task, payload, frame->size, block);
        return;
    }
    if (frame->type == POOL__FRAME_REPLY)
        broke_protocol(proc, task, "a result above the limit");
    else
        fail_as_told(proc, task, frame, payload);
    pool__free(block);
}

void
pool__sched_progress(struct pool__sched *s, struct pool__proc *proc)
{
    place(s, proc);
    run(s);
}

void
pool__sched_ready(struct pool__sched *s, struct pool__proc *proc)
{
    place(s, proc);
    run(s);
}

/* ---- sweeps ----------------------------------------------------------- */

/* Back to the head of the queue, in order: called from the newest on. */
static void
requeue_first(struct pool__sched *s, struct pool_future *task)
{
    task->proc = NULL;
    task->attempts--;
    pool__list_prepend(&s->queue, &task->node);
}

static void
take_back(struct pool__sched *s, struct pool__proc *proc, uint64_t first)
{
    struct pool__channel *ch = &proc->channel;

    for (uint64_t o = ch->tail - 1; o >= first; o--) {
        struct pool_future *task = pool__channel_task(ch, o);
        if (task != NULL && !task->lent && pool__channel_recall(ch, o))
            requeue_first(s, task);
    }
    proc->sched.queued_ns = AHEAD_NS; /* nothing more until it is idle */
    place(s, proc);
}

static void
sweep_one(struct pool__sched *s, struct pool__proc *proc)
{
    struct pool__channel *ch = &proc->channel;

    pool__channel_read(ch, POOL__INBOX_MIN);
    pool__channel_collect(ch);
    if (ch->held == 0)
        return;
    bool claimed = pool__channel_claimed(ch, ch->head);
    if (ch->head == proc->sched.watched && claimed)
        take_back(s, proc, ch->head + 1); /* it takes long */
    else if (ch->head == proc->sched.unclaimed && !pool__list_empty(&s->idle))
        take_back(s, proc, ch->head); /* it doesn't even begin */
    proc->sched.watched = claimed ? ch->head : 0;
    proc->sched.unclaimed = claimed ? 0 : ch->head;
}

/* Whether a reply may stand in its buffer, or a task wait in its pipe. */
static bool
wants_sweep(struct pool__channel *ch)
{
    return ch->held >= 2 ||
           (ch->held == 1 && !pool__channel_claimed(ch, ch->head));
}

void
pool__sched_look(struct pool__sched *s)
{
    pool__table_each(proc, s->table)
    {
        if (pool__proc_serves(proc) && proc->channel.held != 0)
            sweep_one(s, proc);
    }
    run(s);
}

static void
on_sweep(uv_timer_t *timer)
{
    struct pool__sched *s = timer->data;
    bool needed = false;

    pool__sched_look(s);
    pool__table_each(proc, s->table)
    {
        needed =
            needed || (pool__proc_serves(proc) && wants_sweep(&proc->channel));
    }
    if (!needed)
        uv_timer_stop(timer);
}

/* ---- the end of a worker ---------------------------------------------- */

static void
describe(const struct pool__proc *proc, pool_failure_t *failure, char *text,
    size_t size)
{
    const struct pool__ending *ending = &proc->ending;
    int status = ending->wait_status, n;

    failure->pid = proc->pid;
    failure->exit_status = -1;
    n = snprintf(text, size, "worker %d ", (int)proc->pid);
    text += n;
    size -= (size_t)n;
    if (ending->violation != NULL) {
        failure->code = POOL_EPROTO;
        snprintf(text, size, "broke the protocol: %s", ending->violation);
    } else if (ending->known && WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        failure->signal = WTERMSIG(status);
        failure->core_dumped = WCOREDUMP(status);
        snprintf(text, size, "was killed by signal %d (SIG%s)%s",
            failure->signal, name != NULL ? name : "?",
            failure->core_dumped ? ", core dumped" : "");
    } else if (ending->known && WIFEXITED(status)) {
        failure->exit_status = WEXITSTATUS(status);
        snprintf(text, size, "exited with status %d while it ran the task",
            failure->exit_status);
    } else {
        snprintf(text, size, "died, its status is unknown");
    }
}

void
pool__sched_ended(struct pool__sched *s, struct pool__proc *proc)
{
    char text[160];
    pool_failure_t failure = {.code = POOL_EDIED, .message = text};
    struct pool__list unbegun;
    struct pool_future *task;
    bool claimed;

    pool__list_init(&unbegun);
    pool__list_remove(&proc->sched.place);
    pool__list_remove(&proc->sched.dirty);
    describe(proc, &failure, text, sizeof text);
    pool__channel_shut(&proc->channel);
    bool nothing_begun = true;
    while ((task = pool__channel_abandon(&proc->channel, &claimed)) != NULL) {
        nothing_begun = nothing_begun && !claimed;
        proc->useful = proc->useful || claimed;
        bool next = nothing_begun && pool__list_empty(&unbegun);
        if (claimed || (next && ++task->losses == LOSSES_MAX))
            pool__task_failed(task, &failure);
        else
            pool__list_prepend(&unbegun, &task->node);
    }
    pool__list_each(node, &unbegun)
    {
        pool__list_remove(node);
        requeue_first(s, pool__list_entry(node, struct pool_future, node));
    }
    run(s);
}

/* ---- taking out ------------------------------------------------------- */

bool
pool__sched_running(const struct pool_future *task)
{
    struct pool__proc *proc = task->proc;

    return proc != NULL && pool__channel_claimed(&proc->channel, task->ordinal);
}

bool
pool__sched_take(struct pool__sched *s, struct pool_future *task)
{
    struct pool__proc *proc = task->proc;

    if (proc == NULL) {
        pool__list_remove(&task->node);
        return true;
    }
    if (!pool__channel_recall(&proc->channel, task->ordinal))
        return false;
    task->proc = NULL;
    proc->sched.queued_ns -=
        pool__min(proc->sched.queued_ns, task->estimate_ns);
    place(s, proc);
    run(s); /* another task may have its place */
    return true;
}

static struct pool_future *
queue_pop(struct pool__sched *s)
{
    if (pool__list_empty(&s->queue))
        return NULL;
    struct pool__list *node = s->queue.next;
    pool__list_remove(node);
    return pool__list_entry(node, struct pool_future, node);
}

static void
cancel_sent(struct pool__sched *s, struct pool__proc *proc)
{
    struct pool__channel *ch = &proc->channel;

    for (uint64_t o = ch->head; o < ch->tail; o++) {
        struct pool_future *task = pool__channel_task(ch, o);
        if (task != NULL && pool__channel_recall(ch, o))
            pool__task_cancelled(task);
    }
    place(s, proc);
}

void
pool__sched_cancel_pending(struct pool__sched *s)
{
    struct pool_future *task;

    while ((task = queue_pop(s)) != NULL)
        pool__task_cancelled(task);
    pool__table_each(proc, s->table)
    {
        if (proc->state != POOL__PROC_GONE)
            cancel_sent(s, proc);
    }
}

void
pool__sched_cancel_all(struct pool__sched *s)
{
    struct pool_future *task;
    bool claimed;

    pool__sched_cancel_pending(s);
    pool__table_each(proc, s->table)
    {
        pool__channel_shut(&proc->channel);
        while ((task = pool__channel_abandon(&proc->channel, &claimed)) != NULL)
            pool__task_cancelled(task);
    }
}

void
pool__sched_forget(struct pool__sched *s)
{
    struct pool_future *task;

    while ((task = queue_pop(s)) != NULL)
        pool__task_cancelled(task);
    pool__table_each(proc, s->table)
    {
        pool__channel_shut(&proc->channel);
        while ((task = pool__channel_abandon(&proc->channel, NULL)) != NULL)
            pool__task_cancelled(task);
        proc->channel.region = NULL; /* it isn't mapped in a child */
    }
}

void
pool__sched_fail_queued(struct pool__sched *s, int code, const char *message)
{
    pool_failure_t failure = {
        .code = code, .message = message, .exit_status = -1};
    struct pool_future *task;

    while ((task = queue_pop(s)) != NULL)
        pool__task_failed(task, &failure);
}

void
pool__sched_end_scatter(struct pool__sched *s, uint64_t scatter)
{
    struct pool__frame stop = {.type = POOL__FRAME_STOP, .id = scatter};

    pool__table_each(proc, s->table)
    {
        if (proc->state == POOL__PROC_READY &&
            pool__channel_control(&proc->channel, &stop, NULL) == 0)
            flush_one(s, proc);
    }
}

/* ---- life ------------------------------------------------------------- */

void
pool__sched_init(
    struct pool__sched *s, struct pool__core *core, struct pool__table *table)
{
    memset(s, 0, sizeof *s);
    s->core = core;
    s->table = table;
    pool__list_init(&s->queue);
    pool__list_init(&s->idle);
    pool__list_init(&s->fed);
    pool__list_init(&s->dirty);
    uv_timer_init(table->loop, &s->sweep);
    s->sweep.data = s;
    uv_timer_start(&s->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    uv_timer_stop(&s->sweep);
}

void
pool__sched_close(struct pool__sched *s)
{
    uv_close((uv_handle_t *)&s->sweep, NULL);
}

void
pool__sched_fini(struct pool__sched *s)
{
    pool__functions_fini(&s->functions);
}
