/* What the tests of the pool share. */
#define _GNU_SOURCE
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem.h"

#define ARENA ((size_t)16 << 20)

static int descriptors_before;
static long blocks_before;
static char *arena; /* shared memory that is there before any worker is */
static size_t arena_used;

bool
test_full(void)
{
    const char *full = getenv("FORKPOOL_TEST_FULL");

    return full != NULL && strcmp(full, "1") == 0;
}

static void *
map_shared(size_t size)
{
    void *memory = mmap(
        NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert(memory != MAP_FAILED);
    return memory;
}

void
test_begin(void)
{
    arena = map_shared(ARENA);
    arena_used = 0;
    pool_t *pool = test_pool(1); /* libuv keeps a pipe of its first loop */

    pool_destroy(pool);
    descriptors_before = test_entries("/proc/self/fd");
    blocks_before = pool__mem_live;
}

void
test_end(void)
{
    pid_t child = waitpid(-1, NULL, WNOHANG);

    ck_assert_msg(child == -1 && errno == ECHILD, "a child is left");
    ck_assert_int_eq(test_entries("/proc/self/fd"), descriptors_before);
    ck_assert_int_eq((int)__atomic_load_n(&pool__mem_live, __ATOMIC_ACQUIRE),
        (int)blocks_before);
}

static pool_t *
make_pool(int workers, int spin_us)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool = NULL;

    options.workers = options.min_workers = workers;
    options.spin_us = spin_us;
    int rc = pool_create(&pool, &options);
    ck_assert_msg(rc == 0, "%s", pool_errmsg());
    return pool;
}

pool_t *
test_pool(int workers)
{
    return make_pool(workers, 0);
}

pool_t *
test_pool_of_liars(int workers)
{
    return make_pool(workers, POOL_NONE);
}

pool_t *
test_pool_on(int backend, int workers)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool = NULL;

    options.backend = backend;
    options.workers = workers;
    ck_assert_msg(pool_create(&pool, &options) == 0, "%s", pool_errmsg());
    return pool;
}

int
test_entries(const char *directory)
{
    DIR *dir = opendir(directory);
    int n = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

pool_stats_t
test_stats(pool_t *pool)
{
    pool_stats_t stats = POOL_STATS_INIT;

    ck_assert_int_eq(pool_stats(pool, &stats), 0);
    return stats;
}

int
test_encode(pool_enc_t *enc, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int rc = pool_vencode(enc, format, args);
    va_end(args);
    return rc;
}

static void
pause_ms(int ms)
{
    (void)poll(NULL, 0, ms);
}

char
test_state(pid_t pid)
{
    char path[64], line[512] = "";

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    char *end =
        fgets(line, sizeof line, file) != NULL ? strrchr(line, ')') : NULL;
    fclose(file);
    return end != NULL ? end[2] : 0;
}

void
test_await_gone(pid_t pid)
{
    for (int i = 0; i < PATIENCE_MS / 5; i++) {
        char state = test_state(pid);
        if (state == 0 || state == 'Z') /* init may be slow to reap */
            return;
        pause_ms(5);
    }
    ck_abort_msg("process %d is still there", (int)pid);
}

void *
test_shared(size_t size)
{
    size_t rounded = (size + 63) / 64 * 64;

    if (arena == NULL || rounded > ARENA - arena_used)
        return map_shared(size);
    arena_used += rounded;
    return arena + arena_used - rounded;
}

bool
test_await(const int *word, int value)
{
    for (int i = 0; i < PATIENCE_MS; i++) {
        if (__atomic_load_n(word, __ATOMIC_ACQUIRE) >= value)
            return true;
        pause_ms(1);
    }
    return false;
}

/* The last pipe that can be written: the library's descriptors are above
 * those that libuv may have made. */
int
test_result_pipe(void)
{
    int found = -1;

    for (int fd = 3; fd < 4096; fd++) {
        int flags = fcntl(fd, F_GETFL);
        if (flags >= 0 && (flags & O_ACCMODE) == O_WRONLY)
            found = fd;
    }
    return found;
}

int
test_region_fd(void)
{
    char path[64], target[100];

    for (int fd = 3; fd < 4096; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n > 0 && strncmp(target, "/memfd:forkpool", 15) == 0)
            return fd;
    }
    return -1;
}

unsigned char *
test_pattern(size_t size, unsigned seed)
{
    unsigned char *bytes = malloc(size + 1);

    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(seed >> 24);
    }
    return bytes;
}

int
test_main(const char *name, const struct test *tests, int argc, char **argv)
{
    static TTest cases[64]; /* Check keeps pointers to them */
    Suite *suite = suite_create(name);
    const char *only = argc > 1 ? argv[1] : NULL;

    for (size_t i = 0; tests->name != NULL; tests++, i++) {
        if (only != NULL && strcmp(only, tests->name) != 0)
            continue;
        TCase *tcase = tcase_create(tests->name);
        cases[i] = (TTest){tests->name, tests->run, __FILE__, 0};
        tcase_set_timeout(tcase, 4 * PATIENCE_MS / 1000.0);
        tcase_add_test(tcase, &cases[i]);
        suite_add_tcase(suite, tcase);
    }
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
task_double(pool_call_t *call)
{
    double x;
    int rc = pool_call_args(call, "d", &x);

    return rc < 0 ? rc : pool_call_return(call, "d", 2 * x);
}

int
task_echo(pool_call_t *call)
{
    const void *data;
    size_t size;
    int rc = pool_call_bytes(call, &data, &size);

    return rc < 0 ? rc : pool_call_return_bytes(call, data, size);
}

int
task_pid(pool_call_t *call)
{
    return pool_call_return(call, "i", (int)getpid());
}

int
task_kill_self(pool_call_t *call)
{
    (void)call;
    raise(SIGKILL);
    return 0;
}

int
task_hang(pool_call_t *call)
{
    (void)call;
    for (;;)
        pause();
}

int
task_descriptors(pool_call_t *call)
{
    int32_t standard = 0, pipes = 0, memory = 0, others = 0;
    DIR *dir = opendir("/proc/self/fd");
    char path[300], target[300];

    if (dir == NULL)
        return 1;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        int fd = atoi(e->d_name);
        if (e->d_name[0] == '.' || fd == dirfd(dir))
            continue;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, target, sizeof target - 1);
        target[n > 0 ? n : 0] = '\0';
        if (fd <= 2)
            standard++;
        else if (strncmp(target, "pipe:", 5) == 0)
            pipes++;
        else if (strncmp(target, "/memfd:forkpool", 15) == 0)
            memory++;
        else
            others++;
    }
    closedir(dir);
    return pool_call_return(call, "iiii", standard, pipes, memory, others);
}
