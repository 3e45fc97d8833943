/* make bench: what the library does beside bare limits and beside its peers,
 * all in one run. BENCH_QUICK=1 is for a look: fewer repeats, and without what
 * takes much time or memory. `bench FILE GROUP...` runs those groups alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static const struct {
    const char *name;
    void (*run)(void);
} groups[] = {
    {"memory", bench_memory}, /* first: what others freed would hide growth */
    {"throughput", bench_throughput},
    {"peers", bench_peers},
    {"manager", bench_manager},
    {"roundtrip", bench_roundtrip},
    {"large", bench_large},
    {"efficiency", bench_efficiency},
    {"spawn", bench_spawn},
    {"spawn_rss", bench_spawn_rss},
    {"flatness", bench_flatness},
    {"hidden", bench_hidden},
    {"codec", bench_codec},
    {"stalls", bench_stalls},
    {"drives", bench_drives},
    {"idle", bench_idle},
};

static int
is_wanted(const char *group, int argc, char **argv)
{
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], group) == 0)
            return 1;
    return argc <= 2;
}

int
main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "bench/results.json";
    const char *quick = getenv("BENCH_QUICK");

    bench_quick = quick != NULL && *quick != '\0' && *quick != '0';
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        if (is_wanted(groups[i].name, argc, argv))
            groups[i].run();
    bench_print();
    if (bench_write(path) != 0) {
        perror(path);
        return 1;
    }
    printf("written to %s\n", path);
    return 0;
}
