/* What runs out: processes, descriptors, memory at every single allocation;
 * and functions that workers cannot know. */
#define _GNU_SOURCE
#include "support.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem.h"

/* ---- processes -------------------------------------------------------- */

/* Become a user without other processes, allowed so many. False: not root,
 * whose own processes can't be told apart. */
static bool
limit_processes(int uid, int most)
{
    struct rlimit limit = {(rlim_t)most, (rlim_t)most};

    return geteuid() == 0 && setresgid(65534, 65534, 65534) == 0 &&
           setresuid((uid_t)uid, (uid_t)uid, (uid_t)uid) == 0 &&
           setrlimit(RLIMIT_NPROC, &limit) == 0;
}

static int
run_limited(int (*body)(void), int uid, int most)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0)
        _exit(limit_processes(uid, most) ? body() : 77);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        fprintf(stderr, "limits: skipped, only root can limit another user\n");
    return WEXITSTATUS(status) == 77 ? 0 : WEXITSTATUS(status);
}

static int
create_is_refused(void)
{
    pool_t *pool = NULL;
    int rc = pool_create(&pool, NULL);

    return rc == -EAGAIN && pool == NULL && strlen(pool_errmsg()) > 10 ? 0 : 1;
}

/* Itself, the forkserver, one worker: the second is refused. */
static int
two_do_not_fit(void)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool = NULL;

    options.workers = 3;
    options.min_workers = 2;
    if (pool_create(&pool, &options) != -EAGAIN || pool != NULL)
        return 2;
    return strstr(pool_errmsg(), "of 2 workers") != NULL ? 0 : 3;
}

static int
one_worker_fits(void)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_future_t *f;
    pool_t *pool = NULL;
    double y = 0;

    options.workers = 3;
    if (pool_create(&pool, &options) != 0)
        return 4;
    for (int i = 0; i < 5; i++) { /* a replacement waits for its turn */
        if (pool_submit(pool, &f, task_kill_self, "") != 0 ||
            pool_future_error(f, PATIENCE_MS) != POOL_EDIED)
            return 5;
        pool_future_free(f);
        if (pool_submit(pool, &f, task_double, "d", 2.0) != 0 ||
            pool_future_result(f, PATIENCE_MS, "d", &y) != 0 || y != 4.0)
            return 6;
        pool_future_free(f);
    }
    pool_destroy(pool);
    return 0;
}

static void
fork_fails(int unused)
{
    (void)unused;
    ck_assert_int_eq(run_limited(create_is_refused, 54321, 1), 0);
    ck_assert_int_eq(run_limited(create_is_refused, 54322, 2), 0);
    ck_assert_int_eq(run_limited(two_do_not_fit, 54323, 3), 0);
    ck_assert_int_eq(run_limited(one_worker_fits, 54325, 3), 0);
}

/* As a user whose pipes are small, everything works, slower. */
static int
echo_as_nobody(void)
{
    size_t size = 3 << 20;
    unsigned char *bytes = calloc(1, size);
    const void *data;
    size_t got = 0;
    pool_future_t *f;
    pool_t *pool;
    int hoard[200][2], n = 0;

    while (n < 200 && pipe(hoard[n]) == 0)
        (void)fcntl(hoard[n++][0], F_SETPIPE_SZ, 1 << 20); /* the quota */
    if (bytes == NULL || pool_create(&pool, NULL) != 0)
        return 2;
    for (int i = 0; i < 5; i++) {
        if (pool_submit_bytes(pool, &f, NULL, task_echo, bytes, size) != 0 ||
            pool_future_bytes(f, PATIENCE_MS, &data, &got) != 0 ||
            got != size || memcmp(data, bytes, size) != 0)
            return 3;
        pool_future_free(f);
    }
    pool_destroy(pool);
    free(bytes);
    return 0;
}

static void
small_pipes(int unused)
{
    (void)unused;
    ck_assert_int_eq(run_limited(echo_as_nobody, 54324, 100), 0);
}

/* ---- the memory of a cgroup ---------------------------------------------- */

#define CGROUP_LIMIT (128 << 20)

/* Takes far more than the cgroup has. */
static int
task_devour(pool_call_t *call)
{
    static void *volatile block; /* or clang sees that nobody reads it */

    (void)call;
    for (int i = 0; i < 1024; i++) {
        block = malloc(1 << 20);
        if (block == NULL)
            return 1;
        memset(block, i | 1, 1 << 20);
    }
    return 0;
}

/* A line in a file of a directory. */
static bool
write_line(const char *directory, const char *name, const char *line)
{
    char path[200];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, line, strlen(line));
    if (fd >= 0)
        close(fd);
    return n == (ssize_t)strlen(line);
}

/* In the cgroup: the kernel ends the worker, and its record says why; a kill
 * of another kind is told apart. */
static int
be_devoured(void)
{
    pool_future_t *f[3];
    pool_t *pool;

    if (pool_create(&pool, NULL) != 0)
        return 2;
    pool_fn run[3] = {task_kill_self, task_devour, task_kill_self};
    for (int i = 0; i < 3; i++) {
        if (pool_submit(pool, &f[i], run[i], "") != 0 ||
            pool_future_error(f[i], PATIENCE_MS) != POOL_EDIED)
            return 3;
        const pool_failure_t *failure = pool_future_failure(f[i]);
        bool oom = strstr(failure->message, "maybe out of memory") != NULL;
        if (failure->signal != SIGKILL || oom != (run[i] == task_devour)) {
            fprintf(stderr, "limits: %s\n", failure->message);
            return 4;
        }
        pool_future_free(f[i]);
    }
    pool_destroy(pool);
    return 0;
}

static void
out_of_a_cgroups_memory(int unused)
{
    char directory[100], line[32];
    bool old = access("/sys/fs/cgroup/memory/cgroup.procs", F_OK) == 0;
    int status = -1;

    (void)unused;
    snprintf(directory, sizeof directory, "/sys/fs/cgroup/%sforkpool-test-%d",
        old ? "memory/" : "", (int)getpid());
    snprintf(line, sizeof line, "%d", CGROUP_LIMIT);
    if (mkdir(directory, 0755) != 0 ||
        !write_line(
            directory, old ? "memory.limit_in_bytes" : "memory.max", line)) {
        fprintf(stderr, "limits: skipped, no cgroup with a memory limit\n");
        rmdir(directory);
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        snprintf(line, sizeof line, "%d", (int)getpid());
        _exit(write_line(directory, "cgroup.procs", line) ? be_devoured() : 5);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    for (int i = 0; rmdir(directory) != 0 && i < PATIENCE_MS; i++)
        usleep(1000); /* the last of them is being taken down */
    ck_assert_int_ne(access(directory, F_OK), 0);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}

/* ---- descriptors --------------------------------------------------------- */

/* None is left for a new worker: the pool says so or serves with those it
 * has, and nothing leaks. */
static void
no_descriptor_left(int unused)
{
    struct rlimit limit, low;
    pool_future_t *f;
    double y = 0;
    pool_t *pool;
    int top;

    (void)unused;
    test_begin();
    pool = test_pool(2);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    top = open("/dev/null", O_RDONLY | O_CLOEXEC);
    low = limit;
    low.rlim_cur = (rlim_t)top + 1;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    for (int i = 0; i < 2; i++) { /* their descriptors make room for none */
        ck_assert_int_eq(pool_submit(pool, &f, task_kill_self, ""), 0);
        ck_assert_int_eq(pool_future_error(f, PATIENCE_MS), POOL_EDIED);
        pool_future_free(f);
    }
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(pool_submit(pool, &f, task_double, "d", 2.0), 0);
    ck_assert_int_eq(pool_future_result(f, PATIENCE_MS, "d", &y), 0);
    pool_future_free(f);
    pool_destroy(pool);
    close(top);
    test_end();
}

/* ---- memory ----------------------------------------------------------- */

static int
execute_count(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double out[4] = {0};

    (void)model;
    return pool_call_return(call, "ad", out, rows->count);
}

/* Everything once; the first code that is not 0. */
static int
use_everything(void)
{
    static const double values[4] = {1, 2, 3, 4};
    static const char *const names[] = {"x"};
    unsigned char big[5000] = {0};
    pool_job_t job = POOL_JOB_INIT;
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_scatter_t *scatter = NULL;
    pool_results_t *results = NULL;
    pool_future_t *f = NULL, *g = NULL;
    pool_t *pool = NULL;

    options.workers = 1;
    int rc = pool_create(&pool, &options);
    if (rc == 0)
        rc = pool_submit(pool, &f, task_double, "d", 1.0);
    if (rc == 0)
        rc = pool_submit_bytes(pool, &g, NULL, task_echo, big, sizeof big);
    if (rc == 0)
        rc = pool_future_error(f, PATIENCE_MS);
    if (rc == 0)
        rc = pool_future_error(g, PATIENCE_MS);
    job.execute = execute_count;
    job.rows = 4;
    job.columns = 1;
    job.values = values;
    job.names = names;
    if (rc == 0)
        rc = pool_scatter(pool, &scatter, &job);
    if (rc == 0)
        rc = pool_gather(scatter, PATIENCE_MS, &results);
    if (rc == 0)
        rc = pool_future_error(pool_scatter_future(scatter, 0), 0);
    pool_scatter_free(scatter);
    pool_future_free(f);
    pool_future_free(g);
    pool_destroy(pool);
    return rc;
}

/* Memory runs out at each allocation in turn, until all succeed: an error,
 * never a crash, a hang or a leak. */
static void
memory_runs_out(int unused)
{
    int failed = 0, rc = -1;

    (void)unused;
    test_begin();
    for (long n = 0; rc != 0; n++) {
        ck_assert_int_lt((int)n, 500);
        pool__mem_fail_after = n;
        rc = use_everything();
        pool__mem_fail_after = -1;
        ck_assert_msg(rc == 0 || rc == POOL_ENOMEM || rc == POOL_EBROKEN ||
                          rc == POOL_EPROTO || rc == POOL_EDIED ||
                          rc == -ECHILD,
            "allocation %ld: %d", n, rc);
        failed += rc != 0;
    }
    ck_assert_int_gt(failed, 10);
    test_end();
}

/* ---- functions -------------------------------------------------------- */

typedef int (*any_fn)(void);

/* A module that is loaded after the forkserver was made. */
static void
a_module_loaded_too_late(int unused)
{
    pool_future_t *f;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    void *module = dlopen("libcbor.so.0.8", RTLD_NOW | RTLD_LOCAL);
    if (module == NULL)
        module = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL);
    ck_assert_ptr_nonnull(module);
    any_fn fn = (any_fn)dlsym(module, "cbor_new_null");
    if (fn == NULL)
        fn = (any_fn)dlsym(module, "zlibVersion");
    ck_assert_ptr_nonnull(fn);
    ck_assert_int_eq(pool_submit(pool, &f, (pool_fn)(void (*)(void))fn, ""), 0);
    ck_assert_int_eq(pool_future_error(f, 0), POOL_ENOFUNC);
    ck_assert(strstr(pool_future_failure(f)->message, "module") != NULL);
    pool_future_free(f);
    pool_destroy(pool);
    dlclose(module);
    test_end();
}

/* Code that is in no module at all, and data that is no code. */
static void
no_module_at_all(int unused)
{
    static const unsigned char answer[] = {0x31, 0xc0, 0xc3}; /* return 0 */
    static int data;
    pool_future_t *f;
    pool_job_t job = POOL_JOB_INIT;
    pool_scatter_t *scatter = NULL;
    double one = 1;
    pool_t *pool;

    (void)unused;
    test_begin();
    pool = test_pool(1);
    void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(code != MAP_FAILED);
    memcpy(code, answer, sizeof answer);
    void *wrong[] = {code, &data, pool};
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(
            pool_submit(pool, &f, (pool_fn)(uintptr_t)wrong[i], ""), 0);
        ck_assert_int_eq(pool_future_error(f, 0), POOL_ENOFUNC);
        pool_future_free(f);
    }
    job.execute = (pool_execute_fn)(uintptr_t)code;
    job.rows = job.columns = 1;
    job.values = &one;
    ck_assert_int_eq(pool_scatter(pool, &scatter, &job), POOL_ENOFUNC);
    ck_assert(strstr(pool_errmsg(), "execute") != NULL);
    pool_destroy(pool);
    munmap(code, 4096);
    test_end();
}

static const struct test tests[] = {
    {"fork_fails", fork_fails},
    {"small_pipes", small_pipes},
    {"out_of_a_cgroups_memory", out_of_a_cgroups_memory},
    {"no_descriptor_left", no_descriptor_left},
    {"memory_runs_out", memory_runs_out},
    {"a_module_loaded_too_late", a_module_loaded_too_late},
    {"no_module_at_all", no_module_at_all},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("limits", tests, argc, argv);
}
