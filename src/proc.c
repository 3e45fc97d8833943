/* The life of a worker as a table of [state][event].
 *
 * Invariants: a proc leaves SPAWNING only with a pid and an open channel, or
 * to GONE. Death is the pidfd's word alone (without one, the forkserver's,
 * which tells the status too). `ended` is told exactly once for each proc that
 * was asked for, `gone` exactly once after it, from the loop. */
#include "proc.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fdio.h"
#include "proto.h"
#include "watch.h"

#define STATUS_WAIT_MS 200   /* from the pidfd's word to the verdict */
#define KILL_RETRY_MS 100    /* a forkserver that does not answer is bypassed */
#define ABANDON_WAIT_MS 1000 /* for a fork that nobody wants any more */
#define SPAWN_WAIT_MS 5000   /* a forkserver that takes longer is replaced */

typedef void action(struct pool__proc *proc);

/* Timers run before what has come meanwhile is read, and the program may have
 * been away: look first whether it is in time after all. */
static void
on_timer(uv_timer_t *timer)
{
    struct pool__proc *proc = timer->data;
    enum pool__proc_state state = proc->state;

    proc->events->look(proc);
    if (proc->state == state)
        pool__proc_event(proc, POOL__EV_TIMER);
}

static void
on_death(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    pool__proc_event(handle->data, POOL__EV_DEATH);
}

static void
handle_closed(struct pool__proc *proc)
{
    if (--proc->handles == 0)
        proc->events->gone(proc);
}

static void
on_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void
on_channel_closed(uv_handle_t *handle)
{
    struct pool__channel *ch = handle->data;

    handle_closed(ch->owner);
}

static void
on_output_closed(uv_handle_t *handle)
{
    struct pool__output *output = handle->data;

    handle_closed(output->owner);
}

/* ---- actions ---------------------------------------------------------- */

void
pool__proc_forget(struct pool__proc *proc)
{
    if (proc->state == POOL__PROC_GONE)
        return;
    proc->state = POOL__PROC_GONE;
    if (proc->channel.open)
        pool__channel_close(&proc->channel, on_channel_closed);
    if (proc->output.open)
        pool__output_close(&proc->output, on_output_closed);
    if (proc->death.data != NULL)
        uv_close((uv_handle_t *)&proc->death, on_closed);
    uv_close((uv_handle_t *)&proc->timer, on_closed);
}

/* Tell how it ended, then let go of everything. */
static void
finish(struct pool__proc *proc)
{
    proc->events->ended(proc, proc->was_ready);
    pool__proc_forget(proc);
}

/* Who made it, where that was no forkserver. */
static const struct pool__maker *
maker_of(const struct pool__proc *proc)
{
    return proc->forkserver->maker;
}

static struct pool__made
made_of(const struct pool__proc *proc)
{
    return (struct pool__made){
        proc->config.incarnation, proc->pid, proc->pidfd};
}

static void
signal_group(struct pool__proc *proc, int signal)
{
    struct pool__made made = made_of(proc);

    if (maker_of(proc) != NULL)
        maker_of(proc)->signal(proc->forkserver, &made, signal);
    else if (proc->generation != proc->forkserver->generation ||
             pool__forkserver_signal(
                 proc->forkserver, proc->config.incarnation, signal) < 0)
        (void)pool__pidfd_signal(proc->pidfd, signal);
}

static void
kill_now(struct pool__proc *proc)
{
    proc->state = POOL__PROC_KILLED;
    signal_group(proc, SIGKILL);
    pool__timer_start(&proc->timer, on_timer, KILL_RETRY_MS, KILL_RETRY_MS);
}

/* Ask its maker how it ended. False: that is still to come. */
static bool
reap(struct pool__proc *proc)
{
    struct pool__made made = made_of(proc);
    int rc = maker_of(proc)->reap(
        proc->forkserver, &made, &proc->ending.wait_status);

    proc->ending.known = rc == 0;
    return rc != -EAGAIN;
}

/* The forkserver didn't get to it: the leader at least. */
static void
kill_again(struct pool__proc *proc)
{
    if (maker_of(proc) != NULL && proc->death.data == NULL && reap(proc))
        pool__proc_event(
            proc, POOL__EV_DEATH); /* its pidfd could not be watched */
    else if (proc->pidfd >= 0 && maker_of(proc) == NULL)
        (void)pool__pidfd_signal(proc->pidfd, SIGKILL);
    else
        signal_group(proc, SIGKILL);
}

static void
terminate(struct pool__proc *proc)
{
    if (proc->grace_ms <= 0) {
        kill_now(proc);
        return;
    }
    proc->state = POOL__PROC_STOPPING;
    signal_group(proc, SIGTERM);
    pool__timer_start(&proc->timer, on_timer, (uint64_t)proc->grace_ms, 0);
}

/* It is dying, most likely; one that lives on is no worker any more. */
static void
closed(struct pool__proc *proc)
{
    if (proc->grace_ms <= 0) {
        kill_now(proc);
        return;
    }
    proc->state = POOL__PROC_STOPPING;
    pool__timer_start(&proc->timer, on_timer, (uint64_t)proc->grace_ms, 0);
}

/* Politely: it ends after what it has been sent. */
static void
retire(struct pool__proc *proc)
{
    struct pool__frame stop = {.type = POOL__FRAME_STOP};

    if (pool__channel_control(&proc->channel, &stop, NULL) < 0) {
        terminate(proc);
        return;
    }
    proc->state = POOL__PROC_STOPPING;
    pool__channel_flush(&proc->channel);
    pool__timer_start(&proc->timer, on_timer,
        (uint64_t)(proc->grace_ms > 0 ? proc->grace_ms : 0), 0);
}

static void
abandon(struct pool__proc *proc)
{
    uint64_t grace = (uint64_t)(proc->grace_ms > 0 ? proc->grace_ms : 0);

    proc->unwanted = true;
    pool__timer_start(
        &proc->timer, on_timer, pool__max(grace, ABANDON_WAIT_MS), 0);
}

/* The setup goes ahead of everything. */
static int
send_setup(struct pool__proc *proc)
{
    struct pool__frame hello = {.type = POOL__FRAME_HELLO,
        .flags = POOL__HELLO_SETUP,
        .size = (uint32_t)proc->setup_size};

    if (!proc->config.has_setup)
        return 0;
    int rc = pool__channel_control(&proc->channel, &hello, proc->setup);
    if (rc == 0)
        pool__channel_flush(&proc->channel);
    return rc;
}

static void
spawned(struct pool__proc *proc)
{
    uv_loop_t *loop = proc->timer.loop;

    proc->state = POOL__PROC_STARTING;
    if (proc->pidfd >= 0 &&
        uv_poll_init(loop, &proc->death, proc->pidfd) == 0) {
        proc->death.data = proc;
        proc->handles++;
        pool__watch_start(&proc->death, UV_READABLE, on_death);
    } else if (maker_of(proc) != NULL) {
        proc->unwanted = true;
    }
    if (pool__channel_open(&proc->channel, loop) == 0)
        proc->handles += 2;
    else
        proc->unwanted = true;
    if (proc->output.printed != NULL) {
        if (pool__output_open(&proc->output, loop) < 0)
            proc->unwanted = true;
        proc->handles += proc->output.open;
    }
    if (!proc->unwanted && send_setup(proc) < 0)
        proc->unwanted = true;
    uv_timer_stop(&proc->timer);
    if (proc->start_wait_ms > 0)
        pool__timer_start(
            &proc->timer, on_timer, (uint64_t)proc->start_wait_ms, 0);
    if (proc->unwanted)
        kill_now(proc);
}

/* The forkserver hangs: it is not heard any more, and the end of its socket
 * is taken for its own. */
static void
spawn_late(struct pool__proc *proc)
{
    (void)shutdown(proc->forkserver->socket, SHUT_RDWR);
}

static void
ready(struct pool__proc *proc)
{
    proc->state = POOL__PROC_READY;
    proc->was_ready = true;
    proc->ready_ms = uv_now(proc->timer.loop);
    uv_timer_stop(&proc->timer);
    proc->events->ready(proc);
}

/* A second hello, say: the channel tells violations, this kills. */
static void
hello_again(struct pool__proc *proc)
{
    proc->ending.violation = "a second hello";
    kill_now(proc);
}

static void
ignore(struct pool__proc *proc)
{
    (void)proc;
}

static void
died(struct pool__proc *proc)
{
    bool decided = proc->ending.known;

    proc->state = POOL__PROC_DEAD;
    if (!decided && maker_of(proc) != NULL)
        decided = reap(proc);
    if (proc->death.data != NULL)
        uv_poll_stop(&proc->death);
    pool__output_drain(&proc->output); /* before the tasks it tells of settle */
    if (proc->channel.open)
        pool__channel_drain(&proc->channel);
    if (decided)
        finish(proc);
    else
        pool__timer_start(&proc->timer, on_timer, STATUS_WAIT_MS, 0);
}

/* Who waits for the status waits no longer. */
static void
finish_late(struct pool__proc *proc)
{
    if (maker_of(proc) != NULL && !proc->ending.known)
        (void)reap(proc);
    finish(proc);
}

/* A cell that is NULL can't happen. */
static action *const table[POOL__PROC_STATES][POOL__PROC_EVENTS] = {
    /* clang-format off */
    /*            SPAWNED  REFUSED  HELLO        CLOSED  RETIRE    TERM       KILL      TIMER       DEATH   STATUS */
    /*SPAWNING*/ {spawned, finish,  NULL,        NULL,   abandon,  abandon,   abandon,  spawn_late, NULL,   NULL},
    /*STARTING*/ {NULL,    ignore,  ready,       closed, kill_now, kill_now,  kill_now, kill_now,   died,   ignore},
    /*READY   */ {NULL,    ignore,  hello_again, closed, retire,   terminate, kill_now, NULL,       died,   ignore},
    /*STOPPING*/ {NULL,    ignore,  hello_again, ignore, ignore,   terminate, kill_now, kill_now,   died,   ignore},
    /*KILLED  */ {NULL,    ignore,  ignore,      ignore, ignore,   ignore,    ignore,   kill_again, died,   ignore},
    /*DEAD    */ {NULL,    ignore,  ignore,      ignore, ignore,   ignore,    ignore,   finish_late, ignore, finish},
    /*GONE    */ {NULL,    ignore,  ignore,      ignore, ignore,   ignore,    ignore,   ignore,     ignore, ignore},
    /* clang-format on */
};

void
pool__proc_event(struct pool__proc *proc, enum pool__proc_event event)
{
    action *act = table[proc->state][event];

    if (act == NULL) {
        fprintf(stderr, "forkpool: worker %d: event %d in state %d\n",
            (int)proc->pid, (int)event, (int)proc->state);
        abort();
    }
    act(proc);
}

const char *
pool__proc_tail(const struct pool__proc *proc, char *to, size_t size)
{
    if (proc->output.printed == NULL)
        return NULL;
    pool__output_tail(&proc->output, to, size);
    return to;
}

/* ---- start ------------------------------------------------------------ */

static void
on_line(void *owner, const char *text, size_t size)
{
    struct pool__proc *proc = owner;

    if (proc->events->channel.output != NULL)
        proc->events->channel.output(proc, text, size);
}

static int
ask_for_worker(struct pool__proc *proc)
{
    const struct pool__channel *ch = &proc->channel;
    const int fds[POOL__MAX_PASSED] = {
        ch->task_read, ch->result_write, ch->region_fd, proc->output.write};
    int nfds = proc->output.write >= 0 ? 4 : 3;

    struct pool__made made = made_of(proc);
    if (maker_of(proc) != NULL) {
        int rc = maker_of(proc)->spawn(
            proc->forkserver, &proc->config, fds, nfds, &made);
        proc->pid = made.pid;
        proc->pidfd = made.pidfd;
        return rc;
    }
    return pool__forkserver_spawn(proc->forkserver, &proc->config, fds, nfds);
}

int
pool__proc_start(struct pool__proc *proc, uv_loop_t *loop,
    struct pool__inbox *inbox, struct pool__forkserver *forkserver,
    const struct pool__worker_config *config, int grace_ms,
    const struct pool__proc_events *events, void *owner)
{
    memset(proc, 0, sizeof *proc);
    proc->owner = owner;
    proc->events = events;
    proc->forkserver = forkserver;
    proc->generation = forkserver->generation;
    proc->config = *config;
    proc->config.has_segment = config->has_segment && !forkserver->foreign &&
                               pool__segment_affordable();
    proc->grace_ms = grace_ms;
    proc->pidfd = -1;
    pool__list_init(&proc->node);
    pool__list_init(&proc->sched.place);
    pool__list_init(&proc->sched.dirty);
    int rc = pool__output_init(
        &proc->output, pool__worker_captures(config), on_line, proc);
    if (rc < 0)
        return rc;
    proc->output.share = &inbox->loud_share;
    rc = pool__channel_init(&proc->channel, inbox,
        (uint32_t)pool__max(config->max_result, POOL__ERROR_MAX),
        proc->config.has_segment, &events->channel, proc);
    proc->config.has_segment = proc->channel.segment.arguments != NULL;
    if (rc == 0 && (rc = ask_for_worker(proc)) < 0)
        pool__channel_fini(&proc->channel);
    if (rc < 0) {
        pool__output_fini(&proc->output);
        return rc;
    }
    uv_timer_init(loop, &proc->timer);
    proc->timer.data = proc;
    pool__timer_start(&proc->timer, on_timer, SPAWN_WAIT_MS, 0);
    proc->handles = 1;
    return 0;
}
