/* What the tests of the pool share. */
#ifndef FORKPOOL_TESTS_SUPPORT_H
#define FORKPOOL_TESTS_SUPPORT_H

#include <check.h>
#include <stdbool.h>

#include "forkpool.h"
#include "require.h"

/* Sanitizers that change what a process may do. gcc defines the names, clang
 * has features. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TEST_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define TEST_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(TEST_ASAN)
#define TEST_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(TEST_TSAN)
#define TEST_TSAN 1
#endif
#ifndef TEST_ASAN
#define TEST_ASAN 0
#endif
#ifndef TEST_TSAN
#define TEST_TSAN 0
#endif

#define PATIENCE_MS 60000 /* a loaded machine does not fail a test */

/* Whether the full suites were asked for (FORKPOOL_TEST_FULL=1). */
bool test_full(void);

/* Note what this process has; at the end, assert that it has no more: no
 * child, no descriptor, no block of the library. */
void test_begin(void);
void test_end(void);

/* A pool with so many workers, all ready. */
pool_t *test_pool(int workers);
/* The same for workers that write into their result pipe behind the library's
 * back: no reply of theirs is taken from memory before it stands there. */
pool_t *test_pool_of_liars(int workers);

/* A pool of that backend. */
pool_t *test_pool_on(int backend, int workers);

/* How many entries a directory has, . and .. among them, and the descriptor
 * that reads it where it is /proc/self/fd. */
int test_entries(const char *directory);

/* Its statistics now. */
pool_stats_t test_stats(pool_t *pool);

/* pool_vencode with the values given: one item after the other. */
int test_encode(pool_enc_t *enc, const char *format, ...);

/* The state letter of a process, as in /proc/PID/stat; 0: there is none. */
char test_state(pid_t pid);
/* Wait until a process has ended. */
void test_await_gone(pid_t pid);

/* Memory that this process and its workers share, zeroed; lives for ever.
 * After test_begin up to 16 MiB of it are seen by workers that are there
 * already. */
void *test_shared(size_t size);

/* Wait until *word is at least value; false after PATIENCE_MS. For workers
 * too: asserts nothing. */
bool test_await(const int *word, int value);

/* In a worker: the write end of its result pipe. */
int test_result_pipe(void);
/* The descriptor of its region; -1: there is none. */
int test_region_fd(void);
/* Bytes that SEED decides, freed by the caller. */
unsigned char *test_pattern(size_t size, unsigned seed);

/* One program: a case for each function, run by main. */
struct test {
    const char *name;
    void (*run)(int);
};
int test_main(
    const char *suite, const struct test *tests, int argc, char **argv);

/* Tasks that many tests use. */
int task_double(pool_call_t *call);    /* "d" x -> "d" 2x */
int task_echo(pool_call_t *call);      /* bytes -> the same bytes */
int task_pid(pool_call_t *call);       /* -> "i" the worker's pid */
int task_kill_self(pool_call_t *call); /* SIGKILL */
int task_hang(pool_call_t *call);      /* for ever */
/* -> "iiii": how many descriptors its worker has: the standard ones, pipes, the
 * library's memory, others */
int task_descriptors(pool_call_t *call);

#endif
