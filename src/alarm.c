/* The alarm: makes a loop's descriptor readable for what descriptors don't
 * tell: its timers, and work that is there already.
 *
 * Invariant: while the alarm is open and the loop doesn't run, it is set for
 * the time of the next timer or earlier; where work is there, for now. Not
 * while a pool's thread naps: when it wakes, it looks at both. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/timerfd.h>

#include "error.h"
#include "fdio.h"
#include "pool.h"
#include "watch.h"

#define NOW 1            /* long past: nanoseconds of the monotonic clock */
#define LINGER_NS 100000 /* of frames that wait for more, in thread drive */

static void
on_alarm(uv_poll_t *handle, int status, int events)
{
    struct pool *pool = handle->data;
    uint64_t times;

    (void)status;
    (void)events;
    (void)pool__read(pool->alarm.fd, &times, sizeof times);
    pool->alarm.due_ns = 0;
    pool->alarm.lingers = false;
}

static void
set_alarm(struct pool *pool, uint64_t due)
{
    struct itimerspec at = {.it_value = {
                                (time_t)(due / 1000000000),
                                (long)(due % 1000000000),
                            }};

    if (pool->alarm.due_ns != 0 && pool->alarm.due_ns <= due)
        return; /* an alarm too early is no harm */
    (void)timerfd_settime(pool->alarm.fd, TFD_TIMER_ABSTIME, &at, NULL);
    pool->alarm.due_ns = due;
}

/* A thread that submits goes on, or flushes before it waits: one alarm for all
 * that it leaves behind. */
static void
linger(struct pool *pool)
{
    if (!pool->alarm.lingers)
        set_alarm(pool, pool__now_ns() + LINGER_NS);
    pool->alarm.lingers = true;
}

void
pool__alarm_ring(struct pool *pool)
{
    set_alarm(pool, NOW);
}

void
pool__alarm_set(struct pool *pool)
{
    if (pool->alarm.fd < 0 || pool->alarm.due_ns == NOW)
        return;
    bool pressed = pool__is_pressed(pool);
    bool dirty = !pool__list_empty(&pool->sched.dirty);
    if (dirty && !pressed && pool->drive == POOL__DRIVE_THREAD) {
        linger(pool); /* and then timers are looked at too */
        return;
    }
    if (pressed || dirty) {
        set_alarm(pool, NOW);
        return;
    }
    int ms = uv_backend_timeout(&pool->loop);
    /* One more: the loop's clock is coarse and must not be too early. */
    if (ms >= 0)
        set_alarm(pool,
            ms == 0 ? NOW : (uv_now(&pool->loop) + (uint64_t)ms + 1) * 1000000);
}

int
pool__alarm_open(struct pool *pool)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    fd = fd < 0 ? -errno : pool__fd_above_standard(fd);
    if (fd < 0)
        return pool__fail(fd, "a timer's descriptor: %s", pool_strerror(fd));
    int rc = uv_poll_init(&pool->loop, &pool->alarm.handle, fd);
    if (rc < 0) {
        pool__close(&fd);
        return pool__fail(rc, "a timer's watch: %s", pool_strerror(rc));
    }
    pool->alarm.fd = fd;
    (void)pool__look_away(pool); /* others sleep on the loop's descriptor */
    pool->alarm.heard = false;
    pool->alarm.handle.data = pool;
    pool->loop.data = &pool->stale;
    pool->stale = true; /* the loop has not told the kernel of the others */
    pool->core->embedded = pool->core->wake = true;
    return pool__watch_start(&pool->alarm.handle, UV_READABLE, on_alarm);
}

void
pool__alarm_close(struct pool *pool)
{
    pool->loop.data = NULL;
    if (pool->alarm.fd < 0)
        return;
    uv_close((uv_handle_t *)&pool->alarm.handle, NULL);
    pool__close(&pool->alarm.fd);
}
