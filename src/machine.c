/* What this process may use of the machine. The limits are only read. */
#define _GNU_SOURCE
#include "machine.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "error.h"
#include "forkpool.h"

#define PER_WORKER 5 /* descriptors in the host */
#define PER_POOL 16  /* loop, forkserver, lifeline, and some to spare */
#define CPUS_MAX 4096

static int
affinity_cpus(void)
{
    cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
    size_t size = CPU_ALLOC_SIZE(CPUS_MAX);
    int cpus = 1;

    if (set == NULL)
        return 1;
    if (sched_getaffinity(0, size, set) == 0)
        cpus = CPU_COUNT_S(size, set);
    CPU_FREE(set);
    return cpus > 0 ? cpus : 1;
}

/* The directory of this process's cgroup in the hierarchy of a controller
 * ("memory": version 1), or in the unified one (""). */
static bool
cgroup_path(const char *controller, char *path, size_t size)
{
    char line[512], wanted[32];
    FILE *file = fopen("/proc/self/cgroup", "re");
    bool found = false;

    if (file == NULL)
        return false;
    snprintf(wanted, sizeof wanted, ":%s:", controller);
    while (!found && fgets(line, sizeof line, file) != NULL) {
        const char *list = strchr(line, ':');
        line[strcspn(line, "\n")] = '\0';
        if (list != NULL && strncmp(list, wanted, strlen(wanted)) == 0) {
            snprintf(path, size, "/sys/fs/cgroup%s%s%s",
                controller[0] != '\0' ? "/" : "", controller,
                list + strlen(wanted));
            found = true;
        }
    }
    fclose(file);
    return found;
}

/* CPUs of one cpu.max, rounded up; 0 where it sets no limit. */
static long
quota_of(const char *directory)
{
    char path[700];
    long quota, period, cpus = 0;

    snprintf(path, sizeof path, "%s/cpu.max", directory);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%ld %ld", &quota, &period) == 2 && period > 0)
        cpus = (quota + period - 1) / period;
    fclose(file);
    return cpus;
}

/* The smallest quota from here up to the root; a large number without one. */
static long
quota_cpus(void)
{
    char path[600];
    long least = CPUS_MAX;

    if (!cgroup_path("", path, sizeof path))
        return least;
    while (strlen(path) >= strlen("/sys/fs/cgroup")) {
        long cpus = quota_of(path);
        if (cpus > 0 && cpus < least)
            least = cpus;
        char *slash = strrchr(path, '/');
        if (slash == NULL)
            break;
        *slash = '\0';
    }
    return least;
}

int
pool__usable_cpus(void)
{
    long quota = quota_cpus();
    int cpus = affinity_cpus();

    if (quota < cpus)
        cpus = (int)quota;
    return cpus < POOL_MAX_WORKERS ? cpus : POOL_MAX_WORKERS;
}

static long
open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    long count = -4; /* ".", "..", and the directory's own; one for luck */

    if (dir == NULL)
        return 0;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count > 0 ? count : 0;
}

int
pool__check_descriptors(int workers)
{
    struct rlimit limit;
    long needed = PER_WORKER * (long)workers + PER_POOL;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_cur == RLIM_INFINITY)
        return 0;
    long open = open_descriptors();
    if ((rlim_t)(open + needed) <= limit.rlim_cur)
        return 0;
    return pool__fail(POOL_EMFILE,
        "pool_create: %d workers need %ld descriptors beside the %ld open, "
        "RLIMIT_NOFILE is %ld",
        workers, needed, open, (long)limit.rlim_cur);
}

int
pool__thread_count(void)
{
    char line[128];
    int threads = 1;
    FILE *file = fopen("/proc/self/status", "re");

    if (file == NULL)
        return threads;
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Threads: %d", &threads) == 1)
            break;
    fclose(file);
    return threads;
}

/* The count of kills in a file of a cgroup; -1: unknown. */
static long
oom_kills_of(const char *controller, const char *name)
{
    char path[600], file_path[700], line[128];
    long count = -1;

    if (!cgroup_path(controller, path, sizeof path))
        return count;
    snprintf(file_path, sizeof file_path, "%s/%s", path, name);
    FILE *file = fopen(file_path, "re");
    if (file == NULL)
        return count;
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "oom_kill %ld", &count) == 1)
            break;
    fclose(file);
    return count;
}

static long
oom_kills(void)
{
    long count = oom_kills_of("", "memory.events");

    return count >= 0 ? count : oom_kills_of("memory", "memory.oom_control");
}

bool
pool__oom_kill_seen(void)
{
    static long last = -1;
    long now = oom_kills(), before;

    before = __atomic_exchange_n(&last, now, __ATOMIC_RELAXED);
    return before >= 0 && now > before;
}
