/* make bench: what the library does beside bare limits and beside its peers,
 * all in one run. BENCH_QUICK=1 is for a look: fewer repeats, and without what
 * takes much time or memory. */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

int
main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "bench/results.json";
    const char *quick = getenv("BENCH_QUICK");

    bench_quick = quick != NULL && *quick != '\0' && *quick != '0';
    bench_throughput();
    bench_peers();
    bench_manager();
    bench_roundtrip();
    bench_large();
    bench_efficiency();
    bench_spawn();
    bench_spawn_rss();
    bench_memory();
    bench_flatness();
    bench_codec();
    bench_stalls();
    bench_drives();
    bench_idle();
    bench_print();
    if (bench_write(path) != 0) {
        perror(path);
        return 1;
    }
    printf("written to %s\n", path);
    return 0;
}
