/* A pool in a foreign event loop: pool_fd is readable whenever pool_poll has
 * something to do, timers included, so a plain epoll_wait without a timeout
 * sees a result come and a hanging task's deadline pass. */
#include <forkpool.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

static int
work(pool_call_t *call)
{
    bool hangs;
    int rc = pool_call_args(call, "b", &hangs);

    while (rc == 0 && hangs)
        pause();
    return rc;
}

static void
on_done(pool_future_t *future, void *data)
{
    int *open = data, rc = pool_future_error(future, 0);

    printf("task %d: %s\n", (int)pool_future_id(future),
        rc == 0 ? "done" : pool_future_failure(future)->message);
    pool_future_free(future);
    --*open;
}

static int
start(pool_t *pool, bool hangs, int *open)
{
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_future_t *future;

    task.deadline_ms = hangs ? 500 : POOL_NONE;
    int rc = pool_submit_opts(pool, &future, &task, work, "b", hangs);
    if (rc < 0)
        return rc;
    ++*open;
    return pool_future_add_done_callback(future, on_done, open);
}

int
main(void)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    struct epoll_event event = {.events = EPOLLIN}; /* level-triggered */
    int open = 0, epoll = epoll_create1(EPOLL_CLOEXEC);
    pool_t *pool;

    options.workers = 1;
    options.kill_grace_ms = POOL_NONE;
    if (epoll < 0 || pool_create(&pool, &options) < 0) {
        fprintf(stderr, "%s\n", pool_errmsg());
        return 1;
    }
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, pool_fd(pool), &event) < 0 ||
        start(pool, false, &open) < 0 || start(pool, true, &open) < 0)
        return 1;

    while (open > 0) {
        if (epoll_wait(epoll, &event, 1, -1) < 0)
            return 1;
        pool_poll(pool, 0); /* runs the callbacks */
    }
    close(epoll); /* stop to watch it, then end the pool */
    pool_destroy(pool);
    return 0;
}
