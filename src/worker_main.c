/* A worker that is a process of its own: it reaches its host over two pipes and
 * ends by _exit. */
#include <stdlib.h>
#include <unistd.h>

#include "fdio.h"
#include "segment.h"
#include "spawn.h"
#include "worker.h"

static ssize_t
read_pipe(void *fds, void *to, size_t n)
{
    return pool__read(((const struct pool__worker_fds *)fds)->tasks, to, n);
}

static int
write_pipe(void *fds, struct iovec *parts, int count)
{
    return pool__write_all(
        ((const struct pool__worker_fds *)fds)->results, parts, count);
}

static void
leave_process(void *fds, int status)
{
    (void)fds;
    _exit(status);
}

void
pool__worker_main(const struct pool__worker_config *config,
    const struct pool__worker_fds *fds)
{
    struct pool__worker_fds ends = *fds;
    struct pool__worker_io io = {.self = &ends,
        .read = read_pipe,
        .write = write_pipe,
        .leave = leave_process};
    struct pool__region *region = pool__region_map(fds->region);

    if (region == NULL)
        _exit(EXIT_FAILURE);
    if (config->has_segment &&
        pool__segment_map(&io.segment, fds->region, false))
        pool__store(&region->mapped, 1);
    pool__worker_serve(config, region, &io);
}
