/* The ceiling: a bare frame loop over pipes, and nothing else. 16-byte
 * headers, 64-byte payloads, two workers, 1 MiB pipes that do not block,
 * batches of 64 KiB, a slot table. No functions, no futures, no faults: what
 * any pool over pipes could reach at best on this machine. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define BATCH 65536
#define PAYLOAD 64
#define WORKERS 2

struct frame {
    uint32_t size;
    uint16_t type, flags;
    uint64_t id;
    uint8_t payload[PAYLOAD];
};

struct peer {
    pid_t pid;
    int to, from;
    size_t in_flight;
    uint8_t out[BATCH], in[BATCH];
    size_t out_head, out_tail, in_have;
};

static void
die(const char *what)
{
    perror(what);
    exit(1);
}

static void
write_whole(int fd, const void *from, size_t n)
{
    for (const char *p = from; n != 0;) {
        ssize_t put = write(fd, p, n);
        if (put < 0)
            _exit(1);
        p += put;
        n -= (size_t)put;
    }
}

/* For busy tasks: how many steps each, and how many bytes of tasks a worker
 * takes at once, so that what is queued behind them is known. */
static uint64_t busy_steps;
static size_t taken_bytes = BATCH;

/* Answer every frame with one of the same size. */
static void
worker(int from, int to)
{
    static uint8_t in[BATCH], out[BATCH];
    size_t have = 0;

    for (;;) {
        ssize_t got = read(from, in + have, taken_bytes - have);
        if (got <= 0)
            _exit(0);
        have += (size_t)got;
        size_t whole = have / sizeof(struct frame) * sizeof(struct frame);
        for (size_t i = 0; i < whole; i += sizeof(struct frame)) {
            struct frame frame;
            memcpy(&frame, in + i, sizeof frame);
            frame.type = 3;
            bench_burn(busy_steps);
            memcpy(out + i, &frame, sizeof frame);
        }
        write_whole(to, out, whole);
        memmove(in, in + whole, have - whole);
        have -= whole;
    }
}

static void
start(struct peer *peer, void (*run)(int, int), int nonblocking)
{
    int task[2], result[2];

    if (pipe2(task, O_CLOEXEC) < 0 || pipe2(result, O_CLOEXEC) < 0)
        die("pipe");
    (void)fcntl(task[0], F_SETPIPE_SZ, 1 << 20);
    (void)fcntl(result[0], F_SETPIPE_SZ, 1 << 20);
    memset(peer, 0, sizeof *peer);
    peer->pid = fork();
    if (peer->pid < 0)
        die("fork");
    if (peer->pid == 0) {
        close(task[1]);
        close(result[0]);
        run(task[0], result[1]);
        _exit(0);
    }
    close(task[0]);
    close(result[1]);
    peer->to = task[1];
    peer->from = result[0];
    if (nonblocking && (fcntl(peer->to, F_SETFL, O_NONBLOCK) < 0 ||
                           fcntl(peer->from, F_SETFL, O_NONBLOCK) < 0))
        die("fcntl");
}

static void
stop(struct peer *peer)
{
    close(peer->to);
    close(peer->from);
    kill(peer->pid, SIGKILL);
    waitpid(peer->pid, NULL, 0);
}

/* ---- no-op tasks ------------------------------------------------------ */

struct slots {
    uint64_t *id; /* of the task in this slot */
    uint32_t *free;
    size_t free_count;
    uint64_t sent, done;
};

static void
fill(struct peer *peer, struct slots *slots, size_t tasks, size_t share)
{
    struct frame frame = {.size = PAYLOAD, .type = 2};

    if (peer->out_head == peer->out_tail)
        peer->out_head = peer->out_tail = 0;
    while (slots->sent < tasks && slots->free_count != 0 &&
           peer->in_flight < share && peer->out_tail + sizeof frame <= BATCH) {
        uint32_t slot = slots->free[--slots->free_count];
        slots->id[slot] = slots->sent++;
        frame.id = slots->id[slot] << 20 | slot;
        memcpy(peer->out + peer->out_tail, &frame, sizeof frame);
        peer->out_tail += sizeof frame;
        peer->in_flight++;
    }
}

static int
push(struct peer *peer)
{
    ssize_t put = write(
        peer->to, peer->out + peer->out_head, peer->out_tail - peer->out_head);

    if (put > 0)
        peer->out_head += (size_t)put;
    return put > 0;
}

static int
pull(struct peer *peer, struct slots *slots)
{
    struct frame frame;
    ssize_t got =
        read(peer->from, peer->in + peer->in_have, BATCH - peer->in_have);

    if (got <= 0)
        return 0;
    peer->in_have += (size_t)got;
    size_t whole = peer->in_have / sizeof frame * sizeof frame;
    for (size_t i = 0; i < whole; i += sizeof frame) {
        memcpy(&frame, peer->in + i, sizeof frame);
        uint32_t slot = (uint32_t)(frame.id & 0xfffff);
        if (slots->id[slot] != frame.id >> 20)
            abort();
        slots->free[slots->free_count++] = slot;
        slots->done++;
        peer->in_flight--;
    }
    memmove(peer->in, peer->in + whole, peer->in_have - whole);
    peer->in_have -= whole;
    return 1;
}

static void
sleep_until_ready(struct peer *peers)
{
    struct pollfd set[2 * WORKERS];

    for (int i = 0; i < WORKERS; i++) {
        int full = peers[i].out_tail != peers[i].out_head;
        set[2 * i] = (struct pollfd){.fd = peers[i].from, .events = POLLIN};
        set[2 * i + 1] =
            (struct pollfd){.fd = full ? peers[i].to : -1, .events = POLLOUT};
    }
    poll(set, 2 * WORKERS, -1);
}

/* Until so many in all are done. */
static void
pump(struct peer *peers, struct slots *slots, size_t tasks, size_t window)
{
    while (slots->done < tasks) {
        int moved = 0;
        for (int i = 0; i < WORKERS; i++) {
            fill(&peers[i], slots, tasks, window / WORKERS);
            if (peers[i].out_tail != peers[i].out_head)
                moved |= push(&peers[i]);
            moved |= pull(&peers[i], slots);
        }
        if (!moved)
            sleep_until_ready(peers);
    }
}

/* Tasks per second after the first WARMING ones. */
static double
noop_rate(size_t warming, size_t tasks, size_t window)
{
    static struct peer peers[WORKERS];
    struct slots slots = {.id = calloc(window, sizeof(uint64_t)),
        .free = calloc(window, sizeof(uint32_t)),
        .free_count = window};

    if (slots.id == NULL || slots.free == NULL)
        die("calloc");
    for (size_t i = 0; i < window; i++)
        slots.free[i] = (uint32_t)i;
    for (int i = 0; i < WORKERS; i++)
        start(&peers[i], worker, 1);
    pump(peers, &slots, warming, window);
    double began = bench_now();
    pump(peers, &slots, warming + tasks, window);
    double seconds = bench_now() - began;
    for (int i = 0; i < WORKERS; i++)
        stop(&peers[i]);
    free(slots.id);
    free(slots.free);
    return (double)tasks / seconds;
}

double
ceiling_noop(size_t tasks, size_t window)
{
    return noop_rate(BENCH_WARMING + window, tasks, window);
}

double
ceiling_busy(size_t tasks, uint64_t steps, size_t ahead)
{
    busy_steps = steps;
    taken_bytes = ahead * sizeof(struct frame);
    double rate = noop_rate(BENCH_LEARNING, tasks, 2 * ahead * WORKERS);
    busy_steps = 0;
    taken_bytes = BATCH;
    return rate;
}

/* ---- one at a time ---------------------------------------------------- */

static int echo_cpu;
static bool echo_polls;

/* False: the other side is gone. */
static bool
read_frame(int fd, struct frame *frame)
{
    ssize_t got;

    do
        got = read(fd, frame, sizeof *frame);
    while (got < 0 && errno == EAGAIN);
    return got == (ssize_t)sizeof *frame;
}

static void
echo(int from, int to)
{
    struct frame frame;
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)(echo_cpu < 0 ? 0 : echo_cpu), &set);
    if (echo_cpu >= 0)
        sched_setaffinity(0, sizeof set, &set);
    if (echo_polls)
        (void)fcntl(from, F_SETFL, O_NONBLOCK);
    while (read_frame(from, &frame))
        write_whole(to, &frame, sizeof frame);
}

void
ceiling_roundtrip(double *samples, size_t n, int cpu, bool polling)
{
    static struct peer peer;
    struct frame frame = {.size = PAYLOAD, .type = 2};

    echo_cpu = cpu;
    echo_polls = polling;
    start(&peer, echo, polling);
    for (size_t i = 0; i < n; i++) {
        double began = bench_now();
        write_whole(peer.to, &frame, sizeof frame);
        if (!read_frame(peer.from, &frame))
            die("read");
        samples[i] = bench_now() - began;
    }
    stop(&peer);
}

/* ---- one large argument, and a result as large -------------------------- */

static size_t large_size;

/* At the beginning of a page, to where a pipe's pages are copied fastest: see
 * pool__front. */
static uint8_t *
make_block(size_t size)
{
    uint8_t *block = aligned_alloc(4096, size);

    if (block == NULL)
        die("aligned_alloc");
    return block;
}

static void
read_whole(int fd, uint8_t *to, size_t n)
{
    for (size_t have = 0; have < n;) {
        ssize_t got = read(fd, to + have, n - have);
        if (got <= 0)
            _exit(got < 0);
        have += (size_t)got;
    }
}

static uint64_t
sum_words(const uint8_t *block, size_t size)
{
    uint64_t sum = 0, word;

    for (size_t i = 0; i + sizeof word <= size; i += sizeof word) {
        memcpy(&word, block + i, sizeof word);
        sum += word;
    }
    return sum;
}

/* Take a block in, touch all of it, and send one of the same size. */
static void
answer_large(int from, int to)
{
    uint8_t *block = make_block(large_size);

    for (;;) {
        read_whole(from, block, large_size);
        memset(block, (int)sum_words(block, large_size) | 1, large_size);
        write_whole(to, block, large_size);
    }
}

double
ceiling_large(size_t size, int times)
{
    static struct peer peer;
    uint8_t *block = make_block(size);
    volatile uint64_t sum = 0;
    double best = 1e9;

    large_size = size;
    start(&peer, answer_large, 0);
    for (int t = 0; t <= times; t++) {
        double began = bench_now();
        memset(block, t, size);
        write_whole(peer.to, block, size);
        read_whole(peer.from, block, size);
        sum += sum_words(block, size);
        double seconds = bench_now() - began;
        if ((t > 0 || times == 0) && seconds < best)
            best = seconds;
    }
    stop(&peer);
    free(block);
    (void)sum;
    return 2.0 * (double)size / best;
}

double
ceiling_memcpy(size_t size)
{
    uint8_t *a = malloc(size), *b = malloc(size);
    double best = 1e9;

    if (a == NULL || b == NULL)
        die("malloc");
    memset(a, 1, size);
    memset(b, 2, size);
    for (int t = 0; t < 5; t++) {
        double began = bench_now();
        memcpy(t % 2 ? a : b, t % 2 ? b : a, size);
        double seconds = bench_now() - began;
        best = seconds < best ? seconds : best;
    }
    free(a);
    free(b);
    return (double)size / best;
}

/* ---- a process -------------------------------------------------------- */

double
ceiling_fork(int times)
{
    double began = bench_now();

    for (int i = 0; i < times; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        if (pid < 0 || waitpid(pid, NULL, 0) < 0)
            die("fork");
    }
    return (bench_now() - began) / times;
}
