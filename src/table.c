/* The worker table: starts workers, hears of them from the forkserver, puts
 * new ones in the place of those that died, waits where starting fails.
 *
 * Invariants: living counts the procs between start and ended that do not
 * leave, ready those that were told ready among them; there are at most as
 * many leaving as there may be workers, or no other is started. A worker's
 * number is unique among procs that are not closed. */
#include "table.h"

#include <errno.h>
#include <string.h>

#include "budget.h"
#include "error.h"
#include "fdio.h"
#include "mem.h"
#include "watch.h"

#define BACKOFF_FIRST_MS 10
#define BACKOFF_LAST_MS 1000
#define SPAWNING_MAX 32  /* requests that the socket surely holds */
#define SETTLED_MS 1000  /* a worker that lived so long was a good one */
#define END_WAIT_MS 1000 /* for a forkserver that was asked to end */

static struct pool__table *
table_of(struct pool__proc *proc)
{
    return proc->owner;
}

/* ---- starting --------------------------------------------------------- */

static int
free_number(struct pool__table *t)
{
    for (int i = 0; i < POOL_MAX_WORKERS; i++)
        if ((t->numbers[i / 8] >> (i % 8) & 1) == 0)
            return i;
    return POOL_MAX_WORKERS; /* all are closing: a number is only a name */
}

static void
mark_number(struct pool__table *t, int number, bool used)
{
    if (number >= POOL_MAX_WORKERS)
        return;
    uint8_t bit = (uint8_t)(1u << (number % 8));
    uint8_t *byte = &t->numbers[number / 8];
    *byte = (uint8_t)(used ? *byte | bit : *byte & ~bit);
}

static void forkserver_lost(struct pool__table *t);

static void
on_backoff(uv_timer_t *timer)
{
    struct pool__table *t = timer->data;

    if (t->ending)
        forkserver_lost(t);
    else
        pool__table_fill(t);
}

bool
pool__table_waits(const struct pool__table *t)
{
    return uv_is_active((const uv_handle_t *)&t->backoff);
}

/* Wait before the next start, longer each time. */
static void
back_off(struct pool__table *t)
{
    unsigned shift = (unsigned)(t->failures < 7 ? t->failures : 7);
    uint64_t delay = (uint64_t)BACKOFF_FIRST_MS << shift;

    t->failures++;
    t->stats->start_failures++;
    pool__timer_start(&t->backoff, on_backoff,
        delay < BACKOFF_LAST_MS ? delay : BACKOFF_LAST_MS, 0);
}

/* A start failed. Those of one round count once; but the last of a round may
 * be the one that leaves no worker alive. */
static void
start_failed(struct pool__table *t, int error)
{
    if (t->broken)
        return;
    if (!pool__table_waits(t)) {
        t->error = error;
        back_off(t);
    }
    if (t->failures >= t->max_failures && t->living == 0 && t->leaving == 0) {
        uv_timer_stop(&t->backoff);
        pool__table_break(t, "no worker could be started, and none is left");
    }
}

static uint64_t
new_incarnation(void)
{
    static uint64_t last;

    return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}

static void
on_spawned(struct pool__table *t, struct pool__proc *proc)
{
    t->spawning--;
    t->error = 0;
    pool__proc_event(proc, POOL__EV_SPAWNED);
}

static int
start_one(struct pool__table *t)
{
    struct pool__worker_config config = t->template;
    config.incarnation = new_incarnation();
    config.workers = t->workers;
    config.number = free_number(t);
    struct pool__proc *proc = pool__malloc(sizeof *proc);

    if (proc == NULL)
        return POOL_ENOMEM;
    int rc = pool__proc_start(proc, t->loop, &t->inbox, &t->forkserver, &config,
        t->grace_ms, &t->proc_events, t);
    if (rc < 0) {
        pool__free(proc);
        return rc;
    }
    pool__channel_spin(&proc->channel, t->spin_ns);
    proc->setup = t->setup;
    proc->setup_size = t->setup_size;
    mark_number(t, config.number, true);
    proc->start_wait_ms = t->start_wait_ms;
    pool__list_append(&t->procs, &proc->node);
    t->living++;
    t->spawning++;
    if (t->forkserver.maker != NULL)
        on_spawned(t, proc);
    return 0;
}

static int listen_to_forkserver(struct pool__table *t);

/* The forkserver was lost: another one, with the host's memory of today. */
static int
ensure_forkserver(struct pool__table *t)
{
    if (t->reports != NULL || t->forkserver.maker != NULL)
        return 0;
    int rc = pool__forkserver_start(&t->forkserver, t->run);
    if (rc == 0 && (rc = listen_to_forkserver(t)) < 0)
        pool__forkserver_lost(&t->forkserver);
    if (rc == 0)
        t->events->notable(t, 0,
            "the forkserver was lost; workers of the new one see the program's "
            "memory as it is now");
    return rc;
}

static bool
may_start(const struct pool__table *t)
{
    return t->living < t->wanted && t->leaving <= t->workers &&
           t->spawning < SPAWNING_MAX && pool__table_has_room(t);
}

void
pool__table_fill(struct pool__table *t)
{
    if (t->living >= t->wanted || t->ending || pool__table_waits(t))
        return;
    int rc = ensure_forkserver(t);
    bool begun = t->spawning != 0;
    for (; rc == 0 && may_start(t) && !(begun && pool__budget_over());
         begun = true)
        rc = start_one(t);
    if (rc < 0)
        start_failed(t, rc);
    else if (t->spawning == 0 &&
             may_start(t)) /* no report will go on with it */
        pool__timer_start(&t->backoff, on_backoff, 1, 0);
}

/* ---- what procs tell -------------------------------------------------- */

static void
on_ready(struct pool__proc *proc)
{
    struct pool__table *t = table_of(proc);

    if (!proc->leaving)
        t->ready++;
    t->events->ready(t, proc);
}

void
pool__table_leave(struct pool__table *t, struct pool__proc *proc)
{
    if (proc->leaving)
        return;
    proc->leaving = true;
    t->living--;
    t->ready -= proc->was_ready;
    t->leaving++;
    pool__table_fill(t);
}

void
pool__table_break(struct pool__table *t, const char *why)
{
    if (t->broken)
        return;
    t->broken = true;
    t->wanted = 0;
    t->events->broken(t, why);
}

static bool
is_settled(const struct pool__table *t, const struct pool__proc *proc)
{
    return proc->was_ready && uv_now(t->loop) - proc->ready_ms >= SETTLED_MS;
}

static void
on_ended(struct pool__proc *proc, bool was_ready)
{
    struct pool__table *t = table_of(proc);

    if (proc->leaving) {
        t->leaving--;
    } else {
        t->living--;
        t->ready -= was_ready;
    }
    t->events->ended(t, proc);
    if (proc->useful || is_settled(t, proc))
        t->failures = 0;
    else if (!proc->asked && t->living < t->wanted)
        start_failed(t, t->error != 0 ? t->error : POOL_EBROKEN);
    pool__table_fill(t);
}

static void
on_gone(struct pool__proc *proc)
{
    mark_number(table_of(proc), proc->config.number, false);
    pool__list_remove(&proc->node);
    pool__channel_fini(&proc->channel);
    pool__output_fini(&proc->output);
    pool__close(&proc->pidfd);
    pool__free(proc->sched.jobs);
    pool__free(proc);
}

/* Its initializer failed; its end follows. */
static void
on_failed_hello(struct pool__proc *proc, const struct pool__frame *frame,
    const void *payload)
{
    struct pool__table *t = table_of(proc);
    struct pool__error error;

    if (proc->was_ready || proc->start_failed ||
        !pool__error_decode(payload, frame->size, &error)) {
        pool__channel_violate(&proc->channel, "a failed hello that is none");
        return;
    }
    proc->start_failed = true;
    memcpy(t->start_message, error.message, sizeof t->start_message);
}

static void
on_hello(void *owner, const struct pool__frame *frame, const void *payload)
{
    struct pool__proc *proc = owner;
    uint32_t version = 0;

    if (frame->id == proc->config.incarnation &&
        frame->flags == POOL__HELLO_FAILED)
        on_failed_hello(proc, frame, payload);
    else if (frame->id == proc->config.incarnation && frame->flags == 0 &&
             !proc->start_failed &&
             pool_decode(payload, frame->size, "u", &version) == 0 &&
             version == POOL__PROTOCOL_VERSION)
        pool__proc_event(proc, POOL__EV_HELLO);
    else
        pool__channel_violate(&proc->channel, "a hello that is none");
}

/* ---- what the forkserver tells ---------------------------------------- */

static struct pool__proc *
find(struct pool__table *t, uint64_t incarnation)
{
    pool__table_each(proc, t)
    {
        if (proc->config.incarnation == incarnation)
            return proc;
    }
    return NULL;
}

static void
on_report(struct pool__table *t, struct pool__report *report, int pidfd)
{
    struct pool__proc *proc = find(t, report->incarnation);

    if (proc == NULL) {
        pool__close(&pidfd);
    } else if (report->kind == POOL__REPORT_SPAWNED) {
        proc->pid = report->pid;
        proc->pidfd = pidfd;
        on_spawned(t, proc);
        pool__table_fill(t);
    } else if (report->kind == POOL__REPORT_REFUSED) {
        t->spawning -= proc->state == POOL__PROC_SPAWNING;
        t->error = report->error;
        pool__proc_event(proc, POOL__EV_REFUSED);
    } else if (report->kind == POOL__REPORT_EXITED) {
        proc->ending.known = true; /* perhaps before the pidfd was looked at */
        proc->ending.wait_status = report->status;
        pool__proc_event(
            proc, proc->death.data != NULL ? POOL__EV_STATUS : POOL__EV_DEATH);
    }
}

static void
free_handle(uv_handle_t *handle)
{
    pool__free(handle);
}

static void
stop_listening(struct pool__table *t)
{
    if (t->reports != NULL)
        uv_close((uv_handle_t *)t->reports, free_handle);
    t->reports = NULL;
}

static void
forkserver_lost(struct pool__table *t)
{
    unsigned lost = t->forkserver.generation;

    stop_listening(t);
    pool__forkserver_lost(&t->forkserver);
    if (t->ending) {
        uv_timer_stop(&t->backoff);
        return;
    }
    t->error = -ECHILD;
    pool__table_each(proc, t)
    {
        if (proc->generation != lost)
            continue; /* of the next one */
        if (proc->state == POOL__PROC_SPAWNING) {
            t->spawning--;
            pool__proc_event(proc, POOL__EV_REFUSED);
        } else if (proc->death.data == NULL) /* it was killed with the server */
            pool__proc_event(proc, POOL__EV_DEATH);
    }
    pool__table_fill(t);
}

static void
read_reports(struct pool__table *t)
{
    struct pool__report report;
    int pidfd, rc = 1;

    while (t->reports != NULL && (rc = pool__forkserver_receive(
                                      &t->forkserver, &report, &pidfd)) == 1)
        on_report(t, &report, pidfd);
    if (t->reports != NULL && rc != -EAGAIN)
        forkserver_lost(t);
}

static void
on_reports(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    read_reports(handle->data);
}

static void
look(struct pool__proc *proc)
{
    read_reports(table_of(proc));
    (void)pool__table_bring(table_of(proc));
    if (proc->channel.open)
        pool__channel_read(&proc->channel, POOL__INBOX_MIN);
}

static int
listen_to_forkserver(struct pool__table *t)
{
    uv_poll_t *reports = pool__malloc(sizeof *reports);
    int rc = reports != NULL
                 ? uv_poll_init(t->loop, reports, t->forkserver.socket)
                 : POOL_ENOMEM;

    if (rc < 0) {
        pool__free(reports);
        return rc;
    }
    t->reports = reports;
    reports->data = t;
    t->stats->forkservers++;
    t->stats->forkserver_threads = (uint64_t)t->forkserver.threads;
    return pool__watch_start(reports, UV_READABLE, on_reports);
}

/* ---- life ------------------------------------------------------------- */

int
pool__table_init(struct pool__table *t, uv_loop_t *loop,
    struct pool__forkserver *forkserver, pool__worker_fn run,
    const struct pool__table_events *events)
{
    t->loop = loop;
    t->run = run;
    t->events = events;
    t->proc_events = (struct pool__proc_events){
        events->channel, on_ready, look, on_ended, on_gone};
    t->proc_events.channel.hello = on_hello;
    pool__list_init(&t->procs);
    uv_timer_init(loop, &t->backoff);
    t->backoff.data = t;
    t->forkserver = *forkserver;
    pool__list_init(&t->forkserver.node);
    pool__forkserver_init(forkserver);
    t->inbox.size = POOL__INBOX_MIN + (256u << 10);
    t->inbox.piece = SIZE_MAX;
    t->inbox.loud_share = t->inbox.quiet_share = SIZE_MAX;
    t->inbox.bytes = pool__malloc(t->inbox.size);
    if (t->inbox.bytes == NULL)
        return pool__fail(POOL_ENOMEM, "a pool's receive buffer");
    const struct pool__maker *maker = t->forkserver.maker;
    if (maker == NULL)
        return listen_to_forkserver(t);
    return maker->open != NULL ? maker->open(&t->forkserver, loop) : 0;
}

void
pool__table_stop(struct pool__table *t, enum pool__proc_event event)
{
    t->wanted = 0;
    uv_timer_stop(&t->backoff);
    pool__table_each(proc, t)
    {
        pool__proc_ask(proc, event);
    }
}

void
pool__table_withhold(struct pool__table *t)
{
    t->template.has_segment = false;
    pool__table_each(proc, t)
    {
        if (proc->channel.segment.arguments != NULL)
            pool__channel_withhold(&proc->channel);
    }
}

void
pool__table_end(struct pool__table *t)
{
    if (t->ending || t->reports == NULL)
        return;
    t->ending = true;
    pool__forkserver_ask_end(&t->forkserver);
    pool__timer_start(&t->backoff, on_backoff, END_WAIT_MS, 0);
}

void
pool__table_close(struct pool__table *t)
{
    const struct pool__maker *maker = t->forkserver.maker;

    stop_listening(t);
    if (maker != NULL && maker->close != NULL)
        maker->close(&t->forkserver);
    uv_close((uv_handle_t *)&t->backoff, NULL);
}

void
pool__table_fini(struct pool__table *t)
{
    pool__forkserver_stop(&t->forkserver);
    pool__free(t->inbox.bytes);
    t->inbox.bytes = NULL;
}

void
pool__table_forget(struct pool__table *t)
{
    stop_listening(t);
    pool__forkserver_drop(&t->forkserver);
    pool__table_each(proc, t)
    {
        pool__proc_forget(proc);
    }
}
