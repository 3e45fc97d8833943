/* A peer: libuv's thread pool. uv_queue_work with WINDOW in flight, each of
 * them 64 bytes copied in and 64 copied back. No process, no pipe: a crash
 * would take the program. Prints tasks per second.
 *
 *   peer_uvwork TASKS [THREADS]   without THREADS libuv's default, four */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "bench.h"

#define WINDOW 1024
#define SIZE 64

struct task {
    uv_work_t work;
    char in[SIZE], out[SIZE];
};

static struct task ring[WINDOW];
static size_t left; /* not queued yet */

static void
run_task(uv_work_t *work)
{
    struct task *task = work->data;

    memcpy(task->out, task->in, SIZE);
}

static void
after_task(uv_work_t *work, int status)
{
    struct task *task = work->data;

    if (status != 0 || task->out[0] != 1)
        exit(1);
    if (left == 0)
        return;
    left--;
    uv_queue_work(uv_default_loop(), work, run_task, after_task);
}

static double
run(size_t tasks)
{
    double began = bench_now();

    left = tasks;
    for (size_t i = 0; i < WINDOW && left != 0; i++, left--) {
        ring[i].work.data = &ring[i];
        ring[i].in[0] = 1;
        uv_queue_work(uv_default_loop(), &ring[i].work, run_task, after_task);
    }
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return (double)tasks / (bench_now() - began);
}

int
main(int argc, char **argv)
{
    size_t tasks = argc > 1 ? strtoul(argv[1], NULL, 10) : 500000;

    if (argc > 2)
        setenv("UV_THREADPOOL_SIZE", argv[2], 1);
    run(20000); /* warm */
    printf("%.0f\n", run(tasks));
    return 0;
}
