/* Watching descriptors and times in a pool's loop. */
#ifndef POOL_SRC_WATCH_H
#define POOL_SRC_WATCH_H

#include <stdbool.h>
#include <uv.h>

/* As uv_poll_start. libuv tells the kernel of a new watch only when the loop
 * runs next; who sleeps on the loop's descriptor instead must run it once
 * more first, and is told so by the flag at loop->data (NULL: nobody does). */
static inline int
pool__watch_start(uv_poll_t *handle, int events, uv_poll_cb callback)
{
    bool *stale = handle->loop->data;

    if (stale != NULL)
        *stale = true;
    return uv_poll_start(handle, events, callback);
}

/* As uv_timer_start, from now on: a loop that hasn't run for long, because
 * nothing happened, has an old clock. */
static inline void
pool__timer_start(
    uv_timer_t *timer, uv_timer_cb callback, uint64_t ms, uint64_t repeat_ms)
{
    uv_update_time(timer->loop);
    uv_timer_start(timer, callback, ms, repeat_ms);
}

#endif
