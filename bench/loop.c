/* What a pool costs the loop that drives it: how late a 1 ms timer of the
 * host's gets while the pool is busy, beside the same loop with nothing to do;
 * and what host and thread drive do of caller drive's throughput. */
#include <forkpool.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "bench.h"

#define SECONDS 1.0
#define LARGE ((size_t)100 << 20)
#define WINDOW 4096

struct stall {
    uv_loop_t loop;
    uv_timer_t timer;
    double last, longest, end;
    pool_t *pool;
    pool_fn fn;
    size_t size, window, in_flight, done;
    char *payload;
};

static void
check(int rc)
{
    if (rc < 0) {
        fprintf(stderr, "bench: %s\n", pool_errmsg());
        exit(1);
    }
}

static int
echo(pool_call_t *call)
{
    const void *data;
    size_t size;

    pool_call_bytes(call, &data, &size);
    return pool_call_return_bytes(call, data, size);
}

static int
die(pool_call_t *call)
{
    (void)call;
    raise(SIGKILL);
    return 0;
}

static void
on_tick(uv_timer_t *timer)
{
    struct stall *s = timer->data;
    double now = bench_now();

    if (now - s->last > s->longest)
        s->longest = now - s->last;
    s->last = now;
    if (now >= s->end && s->in_flight == 0)
        uv_timer_stop(timer);
}

static void fill(struct stall *s);

static void
on_done(pool_future_t *future, void *data)
{
    struct stall *s = data;

    s->in_flight--;
    s->done++;
    pool_future_free(future);
    fill(s);
}

static void
fill(struct stall *s)
{
    while (s->fn != NULL && s->in_flight < s->window && bench_now() < s->end) {
        pool_future_t *f;
        check(pool_submit_owned(
            s->pool, &f, NULL, s->fn, s->payload, s->size, NULL));
        check(pool_future_add_done_callback(f, on_done, s));
        s->in_flight++;
    }
}

static void
stall_open(struct stall *s, int drive)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    uv_loop_init(&s->loop);
    options.workers = options.min_workers = 2;
    options.loop = drive == 1 ? &s->loop : NULL;
    options.drive = drive == 2 ? POOL_DRIVE_THREAD : POOL_DRIVE_CALLER;
    check(pool_create(&s->pool, &options));
}

double
loop_stall(int load)
{
    static struct stall s;

    memset(&s, 0, sizeof s);
    stall_open(&s, 1);
    s.fn = load == LOOP_IDLE ? NULL : load == LOOP_CRASHES ? die : echo;
    s.size = load == LOOP_LARGE ? LARGE : 64;
    s.window = load == LOOP_FLOOD ? WINDOW : 2;
    s.payload = malloc(s.size);
    memset(s.payload, 1, s.size);
    uv_timer_init(&s.loop, &s.timer);
    s.timer.data = &s;
    uv_timer_start(&s.timer, on_tick, 1, 1);
    s.last = bench_now();
    s.end = s.last + SECONDS;
    fill(&s);
    uv_run(&s.loop, UV_RUN_DEFAULT);
    pool_destroy(s.pool);
    uv_close((uv_handle_t *)&s.timer, NULL);
    uv_run(&s.loop, UV_RUN_DEFAULT);
    uv_loop_close(&s.loop);
    free(s.payload);
    return s.longest;
}

/* Tasks per second with WINDOW in flight, refilled in callbacks. */
double
loop_throughput(int drive)
{
    static struct stall s;
    pool_future_t **ring;
    size_t at = 0;

    memset(&s, 0, sizeof s);
    stall_open(&s, drive);
    ring = calloc(WINDOW, sizeof *ring);
    char payload[64] = {0};
    double began = bench_now(), end = began + SECONDS;
    while (bench_now() < end)
        for (int i = 0; i < 256; i++, at++) {
            pool_future_t **slot = &ring[at % WINDOW];
            while (*slot != NULL && pool_future_error(*slot,
                                        drive == 1 ? 0 : -1) == POOL_ETIMEDOUT)
                uv_run(&s.loop, UV_RUN_ONCE);
            pool_future_free(*slot);
            check(pool_submit_bytes(
                s.pool, slot, NULL, echo, payload, sizeof payload));
        }
    double seconds = bench_now() - began;
    for (size_t i = 0; i < WINDOW; i++)
        pool_future_free(ring[i]);
    free(ring);
    pool_destroy(s.pool);
    uv_run(&s.loop, UV_RUN_DEFAULT);
    uv_loop_close(&s.loop);
    return (double)at / seconds;
}
