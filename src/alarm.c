/* The alarm: makes a loop's descriptor readable for what descriptors don't
 * tell: its timers, and work that is there already.
 *
 * Invariant: while the alarm is open and the loop doesn't run, it is set for
 * the time of the next timer or earlier; where work is there, for now. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/timerfd.h>

#include "error.h"
#include "fdio.h"
#include "pool.h"
#include "watch.h"

#define NOW 1 /* long past: nanoseconds of the monotonic clock */

static void
on_alarm(uv_poll_t *handle, int status, int events)
{
    struct pool *pool = handle->data;
    uint64_t times;

    (void)status;
    (void)events;
    (void)pool__read(pool->alarm.fd, &times, sizeof times);
    pool->alarm.due_ns = 0;
}

/* When the loop must run next; 0: when a descriptor says so. */
static uint64_t
next_due(struct pool *pool)
{
    if (pool__has_work(pool))
        return NOW;
    int ms = uv_backend_timeout(&pool->loop);
    if (ms < 0)
        return 0;
    /* One more: the loop's clock is coarse and must not be too early. */
    return ms == 0 ? NOW : (uv_now(&pool->loop) + (uint64_t)ms + 1) * 1000000;
}

void
pool__alarm_set(struct pool *pool)
{
    if (pool->alarm.fd < 0)
        return;
    uint64_t due = next_due(pool), set = pool->alarm.due_ns;
    if (due == 0 || (set != 0 && set <= due))
        return; /* an alarm too early is no harm */
    struct itimerspec at = {.it_value = {
                                (time_t)(due / 1000000000),
                                (long)(due % 1000000000),
                            }};
    (void)timerfd_settime(pool->alarm.fd, TFD_TIMER_ABSTIME, &at, NULL);
    pool->alarm.due_ns = due;
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
