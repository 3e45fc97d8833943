/* What a pool costs the loop that drives it: how late a 1 ms timer of the
 * host's gets while the pool is busy, beside the same loop with nothing to do;
 * what host and thread drive do of caller drive's throughput; and what CPU time
 * goes where nobody asks for anything. */
#define _GNU_SOURCE
#include <forkpool.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uv.h>

#include "bench.h"

#define SECONDS 1.0
#define DRIVE_SECONDS 0.5
#define LARGE ((size_t)100 << 20)
#define WINDOW 4096
#define IDLE_WORKERS 8
#define IDLE_SECONDS 10

enum { LOOP_IDLE, LOOP_FLOOD, LOOP_LARGE, LOOP_CRASHES };

struct stall {
    uv_loop_t loop;
    uv_timer_t timer;
    double last, longest, end;
    pool_t *pool;
    pool_fn fn;
    size_t size, window, in_flight, done;
    char *payload;
};

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
        bench_check(pool_submit_owned(
            s->pool, &f, NULL, s->fn, s->payload, s->size, NULL));
        bench_check(pool_future_add_done_callback(f, on_done, s));
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
    bench_check(pool_create(&s->pool, &options));
}

/* How late a 1 ms timer became, seconds. */
static double
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

struct drive {
    int drive;     /* caller 0, host 1, thread 2 */
    size_t window; /* tasks in flight */
};

/* Tasks per second. */
static double
drive_rate(const void *data)
{
    const struct drive *d = data;
    int drive = d->drive;
    static struct stall s;
    pool_future_t **ring;
    size_t at = 0;

    memset(&s, 0, sizeof s);
    stall_open(&s, drive);
    ring = calloc(d->window, sizeof *ring);
    char payload[64] = {0};
    double began = bench_now(), end = began + DRIVE_SECONDS;
    while (bench_now() < end)
        for (int i = 0; i < 256; i++, at++) {
            pool_future_t **slot = &ring[at % d->window];
            while (*slot != NULL && pool_future_error(*slot,
                                        drive == 1 ? 0 : -1) == POOL_ETIMEDOUT)
                uv_run(&s.loop, UV_RUN_ONCE);
            pool_future_free(*slot);
            bench_check(pool_submit_bytes(
                s.pool, slot, NULL, echo, payload, sizeof payload));
        }
    double seconds = bench_now() - began;
    for (size_t i = 0; i < d->window; i++)
        pool_future_free(ring[i]);
    free(ring);
    pool_destroy(s.pool);
    uv_run(&s.loop, UV_RUN_DEFAULT);
    uv_loop_close(&s.loop);
    return (double)at / seconds;
}

/* The longest time between two ticks of the host's 1 ms timer. */
void
bench_stalls(void)
{
    double idle = 1e3 * loop_stall(LOOP_IDLE);

    bench_add("loop_stall_flood", 1e3 * loop_stall(LOOP_FLOOD), "ms",
        "idle pool", idle);
    bench_add("loop_stall_100MiB", 1e3 * loop_stall(LOOP_LARGE), "ms",
        "idle pool", idle);
    bench_add("loop_stall_crashes", 1e3 * loop_stall(LOOP_CRASHES), "ms",
        "idle pool", idle);
}

void
bench_drives(void)
{
    static const struct drive caller = {0, WINDOW}, host = {1, WINDOW},
                              thread = {2, WINDOW}, caller_64 = {0, 64},
                              thread_64 = {2, 64}, caller_1 = {0, 1},
                              thread_1 = {2, 1};

    bench_pairs("throughput_host_vs_caller", "tasks/s", 7, drive_rate, &host,
        "caller drive", drive_rate, &caller);
    bench_pairs("throughput_thread_vs_caller", "tasks/s", 7, drive_rate,
        &thread, "caller drive", drive_rate, &caller);
    bench_pairs("throughput_thread_w64_vs_caller", "tasks/s", 3, drive_rate,
        &thread_64, "caller drive", drive_rate, &caller_64);
    bench_pairs("throughput_thread_w1_vs_caller", "tasks/s", 3, drive_rate,
        &thread_1, "caller drive", drive_rate, &caller_1);
}

/* ---- nothing to do ------------------------------------------------------ */

struct idle {
    pid_t workers[IDLE_WORKERS], forkserver;
};

static struct idle *idle; /* shared with the workers */

static int
note_worker(pool_call_t *call)
{
    idle->workers[pool_call_rank(call) % IDLE_WORKERS] = getpid();
    idle->forkserver = getppid();
    return 0;
}

static double
cpu_seconds(pid_t pid)
{
    struct timespec t = {0};
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) == 0)
        clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Of the host, the forkserver and all workers, so far. */
static double
cpu_of_all(void)
{
    double seconds = cpu_seconds(getpid()) + cpu_seconds(idle->forkserver);

    for (int i = 0; i < IDLE_WORKERS; i++)
        seconds += cpu_seconds(idle->workers[i]);
    return seconds;
}

static void
stop_loop(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void
run_for(uv_loop_t *loop, uint64_t ms)
{
    uv_timer_t timer;

    uv_timer_init(loop, &timer);
    uv_timer_start(&timer, stop_loop, ms, 0);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
}

static bool
all_ready(void)
{
    for (int i = 0; i < IDLE_WORKERS; i++)
        if (idle->workers[i] == 0)
            return false;
    return true;
}

/* The pool has run a little and rests in a loop that goes on. */
void
bench_idle(void)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    uv_loop_t loop;
    pool_t *pool;

    if (bench_quick) {
        bench_missing("idle_cpu", "", "not in a quick run");
        return;
    }
    idle = mmap(NULL, sizeof *idle, PROT_READ | PROT_WRITE,
        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uv_loop_init(&loop);
    options.workers = options.min_workers = IDLE_WORKERS;
    options.loop = &loop;
    options.initializer = note_worker;
    bench_check(pool_create(&pool, &options));
    for (int i = 0; i < 1000; i++)
        bench_check(pool_submit_bytes(pool, NULL, NULL, echo, "", 1));
    while (!all_ready())
        run_for(&loop, 100);
    run_for(&loop, 500);
    double before = cpu_of_all();
    run_for(&loop, 1000 * IDLE_SECONDS);
    double spent = cpu_of_all() - before;
    pool_destroy(pool);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    munmap(idle, sizeof *idle);
    bench_add("idle_cpu", spent, "s", "", 0);
}
