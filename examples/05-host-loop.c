/* Host drive: the pool lives in a libuv loop of the program's. While a task
 * hangs, the program's own timer goes on ticking, and the deadline ends the
 * task. */
#include <forkpool.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>

struct app {
    pool_t *pool;
    uv_timer_t tick;
    int ticks;
    int open; /* futures whose callback has not run */
};

static int
hang(pool_call_t *call)
{
    while (pool_call_rank(call) >= 0) /* always */
        pause();
    return 0;
}

static int
greet(pool_call_t *call)
{
    return pool_call_return(call, "s", "hello from a worker");
}

static void
on_tick(uv_timer_t *timer)
{
    ((struct app *)timer->data)->ticks++;
}

static void
on_closed(void *data)
{
    struct app *app = data;

    printf("the pool has closed\n");
    uv_close((uv_handle_t *)&app->tick, NULL);
}

static void
on_done(pool_future_t *future, void *data)
{
    struct app *app = data;
    const char *text;

    if (pool_future_result(future, 0, "s", &text) == 0)
        printf("%s\n", text);
    else
        printf("%s\n", pool_err_name(pool_future_error(future, 0)));
    pool_future_free(future);
    if (--app->open == 0)
        pool_close(app->pool, on_closed, app);
}

int
main(void)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_task_options_t task = POOL_TASK_OPTIONS_INIT;
    pool_future_t *quick, *hanging;
    struct app app = {.open = 2};
    uv_loop_t loop;

    uv_loop_init(&loop);
    uv_timer_init(&loop, &app.tick);
    app.tick.data = &app;
    uv_timer_start(&app.tick, on_tick, 10, 10);
    options.workers = 1; /* runs one after the other */
    options.kill_grace_ms = POOL_NONE;
    options.loop = &loop; /* all that makes it host drive */
    task.deadline_ms = 1000;
    if (pool_create(&app.pool, &options) < 0 ||
        pool_submit(app.pool, &quick, greet, "") < 0 ||
        pool_submit_opts(app.pool, &hanging, &task, hang, "") < 0) {
        fprintf(stderr, "%s\n", pool_errmsg());
        return 1;
    }
    pool_future_add_done_callback(quick, on_done, &app);
    pool_future_add_done_callback(hanging, on_done, &app);
    uv_run(&loop, UV_RUN_DEFAULT); /* until nothing is left in it */
    printf("the timer ticked on: %s\n", app.ticks > 1 ? "yes" : "no");
    return uv_loop_close(&loop) == 0 ? 0 : 1;
}
