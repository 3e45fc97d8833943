/* The peers, each a program of its own (peer_*.c, peer_*.py, codec_*.c) that
 * prints one figure. They run by turns with the library. A program that was
 * not built, or that prints nothing, is a peer that is missing. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <string.h>

#include "bench.h"

#ifndef BENCH_SRCDIR
#define BENCH_SRCDIR "bench"
#endif

struct peer {
    const char *row, *name;
    const char *command; /* with %zu, the number of tasks */
    size_t tasks;        /* half a second of them, or more */
    int repeats;         /* the more, the nearer it comes to its bar */
};

/* What a program printed; 0: nothing. */
static double
figure_of(const char *command)
{
    FILE *out = popen(command, "r");
    double figure = 0;

    if (out == NULL || fscanf(out, "%lf", &figure) != 1)
        figure = 0;
    if (out != NULL && pclose(out) != 0)
        figure = 0;
    return figure;
}

static double
run_peer(const void *arg)
{
    const struct peer *peer = arg;
    size_t tasks = bench_quick ? peer->tasks / 4 : peer->tasks;
    char command[512];

    snprintf(command, sizeof command, peer->command, tasks);
    return figure_of(command);
}

/* In flight: what one worker can hold, and with more it is no faster; each peer
 * has as many as it is fastest with. */
#define WINDOW 4096
/* Half a second, as of the peers: the pace changes within one, by who else uses
 * the machine. */
#define TASKS 5000000

static double
run_library(const void *arg)
{
    (void)arg;
    return bench_noop(bench_quick ? TASKS / 10 : TASKS, WINDOW, 2);
}

/* Options of mpirun: more ranks than CPUs are allowed, and none is bound to a
 * CPU, since the master needs one too. */
#define MPIRUN "mpirun --allow-run-as-root --oversubscribe --bind-to none -n 3 "

void
bench_peers(void)
{
    static const struct peer peers[] = {
        {"throughput_noop64_vs_zeromq", "ZeroMQ",
            "test -x bench/peer_zeromq && bench/peer_zeromq %zu", 1000000, 31},
        {"throughput_noop64_vs_nng", "nng",
            "test -x bench/peer_nng && bench/peer_nng %zu", 10000, 7},
        {"throughput_noop64_vs_openmpi", "Open MPI",
            "test -x bench/peer_openmpi && " MPIRUN "bench/peer_openmpi %zu",
            1000000, 15},
        {"throughput_noop64_vs_uvwork", "uv_queue_work",
            "test -x bench/peer_uvwork && bench/peer_uvwork %zu 2", 2000000,
            31},
        {"throughput_noop64_vs_uvwork_default", "uv_queue_work",
            "test -x bench/peer_uvwork && bench/peer_uvwork %zu", 1000000, 7},
        {"throughput_noop64_vs_processpool", "ProcessPoolExecutor",
            "python3 " BENCH_SRCDIR "/peer_processpool.py %zu", 10000, 7},
    };

    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++)
        bench_pairs(peers[i].row, "tasks/s", peers[i].repeats, run_library,
            NULL, peers[i].name, run_peer, &peers[i]);
}

/* ---- codec -------------------------------------------------------------- */

struct codec {
    const char *program, *shape;
};

/* Two that copy memory are closer to each other than one run of either is to
 * the next, so there are more of them. */
#define CODEC_REPEATS 7
#define ARRAY_REPEATS 31

/* Millions of values a second, encoded and decoded. */
static double
run_codec(const void *arg)
{
    const struct codec *codec = arg;
    char command[256];

    snprintf(command, sizeof command, "test -x bench/%s && bench/%s %s",
        codec->program, codec->program, codec->shape);
    return 1e-6 * figure_of(command);
}

static double
codec_pairs(
    const char *row, const char *peer, const char *program, const char *shape)
{
    struct codec mine = {"codec_forkpool", shape}, theirs = {program, shape};
    int repeats = strcmp(shape, "array") == 0 ? ARRAY_REPEATS : CODEC_REPEATS;

    return bench_pairs(
        row, "M/s", repeats, run_codec, &mine, peer, run_codec, &theirs);
}

/* The worse of two rows. */
static void
worse(const char *row, const char *peer, double a, double b)
{
    if (a == 0 || b == 0)
        bench_missing(row, peer, "not there, or it failed");
    else
        bench_add_ratio(row, a < b ? a : b, "times", peer, 1, a < b ? a : b);
}

void
bench_codec(void)
{
    double a, b;

    a = codec_pairs(
        "codec_records_vs_libcbor", "libcbor", "codec_libcbor", "records");
    b = codec_pairs(
        "codec_doubles_vs_libcbor", "libcbor", "codec_libcbor", "doubles");
    worse("codec_vs_libcbor", "libcbor", a, b);
    a = codec_pairs("codec_records_vs_libcbor_tree", "libcbor, a tree",
        "codec_libcbor_tree", "records");
    b = codec_pairs("codec_doubles_vs_libcbor_tree", "libcbor, a tree",
        "codec_libcbor_tree", "doubles");
    worse("codec_vs_libcbor_tree", "libcbor, a tree", a, b);
    codec_pairs("codec_array_vs_libcbor", "libcbor", "codec_libcbor", "array");
    a = codec_pairs(
        "codec_records_vs_msgpack", "msgpack", "codec_msgpack", "records");
    b = codec_pairs(
        "codec_doubles_vs_msgpack", "msgpack", "codec_msgpack", "doubles");
    worse("codec_vs_msgpack", "msgpack", a, b);
    codec_pairs("codec_array_vs_msgpack", "msgpack", "codec_msgpack", "array");
}
