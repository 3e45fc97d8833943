/* The table: its rows, the bar of each, and how they are printed and written
 * to results.json. One row is one line of the file, so that a shell can read
 * it. */
#include <forkpool.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

#define ROWS_MAX 96
#define REPEATS_MAX 31
#define STOLEN_MOST 3 /* percent */

struct row {
    const char *name, *unit, *peer, *missing;
    double value, peer_value, ratio;
};

/* What a ratio is to reach: at least, or, where lower is better, at most. A
 * row without a bar only tells. */
struct bar {
    const char *name;
    double wanted;
    bool lower;
};

static const struct bar bars[] = {
    {"throughput_noop64_vs_ceiling", 0.40, false},
    {"throughput_typed_vs_ceiling", 0.25, false},
    {"throughput_noop64_vs_openmpi", 2.5, false},
    {"throughput_noop64_vs_uvwork", 2.5, false},
    {"throughput_noop64_vs_zeromq", 8, false},
    {"throughput_noop64_vs_nng", 8, false},
    {"throughput_noop64_vs_processpool", 800, false},
    {"roundtrip_block_vs_pipe", 1.25, true},
    {"roundtrip_spin_vs_pipe", 1.6, true},
    {"roundtrip_block_same_cpu_vs_pipe", 2, true},
    {"large_64MiB_vs_pipe", 2.0, false},
    {"efficiency_100us", 0.98, false},
    {"efficiency_10us", 0.95, false},
    {"bytes_per_pending_task", 208, true},
    {"flatness_pending", 1.25, true},
    {"flatness_pending_1e6_vs_1e3", 2, true},
    {"flatness_workers", 1.6, true},
    {"hidden_long_task", 30, true},
    {"spawn_vs_rss", 1.2, true},
    {"idle_cpu", 0.01, true},
    {"codec_vs_libcbor", 3, false},
    {"codec_vs_msgpack", 3, false},
    {"codec_array_vs_libcbor", 1, false},
    {"codec_array_vs_msgpack", 1, false},
    {"throughput_host_vs_caller", 0.6, false},
    {"throughput_thread_vs_caller", 0.6, false},
    {"scatter_1e6x8_vs_python", 6, false},
    {"scatter_tiny_vs_python", 50, false},
    {"scatter_dynamic_vs_python", 50, false},
    {"makespan_dynamic", 1.05, true},
    {"makespan_guided", 1.05, true},
};

bool bench_quick;

static struct row rows[ROWS_MAX];
static size_t row_count;

static const struct bar *
bar_of(const struct row *row)
{
    for (size_t i = 0; i < sizeof bars / sizeof bars[0]; i++)
        if (strcmp(bars[i].name, row->name) == 0)
            return &bars[i];
    return NULL;
}

static bool
meets(const struct row *row, const struct bar *bar)
{
    return bar->lower ? row->ratio <= bar->wanted : row->ratio >= bar->wanted;
}

static void
add_row(struct row row)
{
    static double began;

    if (row_count == ROWS_MAX) {
        fprintf(stderr, "bench: more than %d rows\n", ROWS_MAX);
        exit(1);
    }
    rows[row_count++] = row;
    /* The whole table comes at the end; this tells that it goes on. */
    if (began == 0)
        began = bench_now();
    fprintf(stderr, "%4.0f s  %s\n", bench_now() - began, row.name);
}

void
bench_add_ratio(const char *name, double value, const char *unit,
    const char *peer, double peer_value, double ratio)
{
    add_row((struct row){.name = name,
        .unit = unit,
        .peer = peer,
        .value = value,
        .peer_value = peer_value,
        .ratio = ratio});
}

void
bench_add(const char *name, double value, const char *unit, const char *peer,
    double peer_value)
{
    bench_add_ratio(name, value, unit, peer, peer_value,
        *peer == '\0' ? value : value / peer_value);
}

void
bench_missing(const char *name, const char *peer, const char *why)
{
    add_row(
        (struct row){.name = name, .unit = "", .peer = peer, .missing = why});
}

/* Ticks of the clock that the processors have had so far, and those of them
 * that the machine's host took for others. */
struct ticks {
    unsigned long long all, stolen;
};

static struct ticks
ticks_so_far(void)
{
    unsigned long long t[8] = {0};
    struct ticks ticks = {0, 0};
    FILE *file = fopen("/proc/stat", "r");

    if (file == NULL)
        return ticks;
    if (fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0],
            &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]) == 8)
        for (size_t i = 0; i < 8; i++)
            ticks.all += t[i];
    ticks.stolen = t[7];
    fclose(file);
    return ticks;
}

/* Whether others had more of the processors since than a ratio can bear: one
 * tick more or less tells nothing. */
static bool
was_disturbed(struct ticks since)
{
    struct ticks now = ticks_so_far();
    unsigned long long stolen = now.stolen - since.stolen;

    return stolen >= 2 && stolen * 100 > (now.all - since.all) * STOLEN_MOST;
}

double
bench_pairs(const char *name, const char *unit, int repeats, bench_fn mine,
    const void *arg, const char *peer, bench_fn theirs, const void *their_arg)
{
    double m[REPEATS_MAX], t[REPEATS_MAX], ratio[REPEATS_MAX];
    size_t n = bench_quick ? 1 : (size_t)repeats, again = 0;

    for (size_t i = 0; i < n;) {
        struct ticks began = ticks_so_far();
        t[i] = theirs(their_arg);
        if (!(t[i] > 0)) {
            bench_missing(name, peer, "not there, or it failed");
            return 0;
        }
        m[i] = mine(arg);
        ratio[i] = m[i] / t[i];
        if (!bench_quick && again < n && was_disturbed(began))
            again++;
        else
            i++;
    }
    if (again != 0)
        fprintf(stderr, "        %s: %zu disturbed pairs measured again\n",
            name, again);
    double median = bench_quantile(ratio, n, 0.5);
    bench_add_ratio(name, bench_quantile(m, n, 0.5), unit, peer,
        bench_quantile(t, n, 0.5), median);
    return median;
}

void
bench_give_up(void)
{
    fprintf(stderr, "bench: %s\n", pool_errmsg());
    exit(1);
}

/* ---- out ---------------------------------------------------------------- */

static void
print_row(const struct row *row)
{
    const struct bar *bar = bar_of(row);

    if (row->missing != NULL) {
        printf("%-36s missing: %s: %s\n", row->name, row->peer, row->missing);
        return;
    }
    printf("%-36s %12.5g %-8s %-16s %12.5g %9.3f", row->name, row->value,
        row->unit, row->peer, row->peer_value, row->ratio);
    if (bar != NULL)
        printf("  %s %g%s", bar->lower ? "<=" : ">=", bar->wanted,
            meets(row, bar) ? "" : "  short");
    printf("\n");
}

void
bench_print(void)
{
    printf("%-36s %12s %-8s %-16s %12s %9s  %s\n", "name", "value", "unit",
        "peer", "peer's", "ratio", "bar");
    for (size_t i = 0; i < row_count; i++)
        print_row(&rows[i]);
}

static void
write_row(FILE *file, const struct row *row)
{
    const struct bar *bar = bar_of(row);

    fprintf(file, "{\"name\": \"%s\", \"peer\": \"%s\"", row->name, row->peer);
    if (row->missing != NULL)
        fprintf(file, ", \"missing\": \"%s\"", row->missing);
    else
        fprintf(file,
            ", \"value\": %.6g, \"unit\": \"%s\", \"peer_value\": %.6g, "
            "\"ratio\": %.4g",
            row->value, row->unit, row->peer_value, row->ratio);
    if (bar != NULL)
        fprintf(file, ", \"bar\": %g, \"better\": \"%s\"", bar->wanted,
            bar->lower ? "lower" : "higher");
    if (bar != NULL && row->missing == NULL)
        fprintf(file, ", \"met\": %s", meets(row, bar) ? "true" : "false");
    fputs("}", file);
}

int
bench_write(const char *path)
{
    FILE *file = fopen(path, "w");

    if (file == NULL)
        return -1;
    for (size_t i = 0; i < row_count; i++) {
        fputs(i == 0 ? "[\n " : ",\n ", file);
        write_row(file, &rows[i]);
    }
    fprintf(file, "\n]\n");
    return fclose(file);
}
