/* One copy of a test for every drive: how each opens a pool, waits and closes
 * is said in one table, and a case is written with the functions below.
 *
 * Before a case runs, test_begin is called and, for host drive, a loop is
 * made; after it the loop must close and test_end finds nothing left.
 *
 * In host drive a call that would wait is refused: the waits here run the loop
 * until what is waited for is there, and a guard timer ends the test if it
 * never comes. In the other drives they are the library's own. */
#ifndef FORKPOOL_TESTS_DRIVES_H
#define FORKPOOL_TESTS_DRIVES_H

#include "support.h"

#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { IN_CALLER = 1, IN_HOST = 2, IN_THREAD = 4, IN_ALL = 7 };

struct drive {
    const char *name;
    int bit; /* IN_CALLER, IN_HOST or IN_THREAD */
    void (*options)(pool_options_t *options);
    int (*patience)(pool_future_t *future);
    void (*turn)(void);
    void (*close)(pool_t *pool);
};

/* One program: its cases, each run under the drives that it names. argv[1]
 * may be "case" or "case/drive". */
struct drive_case {
    const char *name;
    void (*run)(const struct drive *d);
    int drives;
};
int drive_main(
    const char *suite, const struct drive_case *cases, int argc, char **argv);

/* ---- pools ------------------------------------------------------------ */

/* A pool with these options (a copy is changed) under the drive. */
pool_t *drive_open(const struct drive *d, const pool_options_t *options);
int drive_try_open(
    const struct drive *d, pool_t **pool, const pool_options_t *options);
/* One with so many workers, all started. */
pool_t *drive_pool(const struct drive *d, int workers);
/* End it, and see it closed. */
void drive_destroy(const struct drive *d, pool_t *pool);
/* A callback is about to destroy it: drive_until shall not touch it. */
void drive_forget(pool_t *pool);
/* Until the pool that a callback has destroyed is closed. */
void drive_until_closed(const struct drive *d);
/* pool_shutdown with WAIT. */
void drive_shutdown(const struct drive *d, pool_t *pool, unsigned flags);
/* In a child that plays a host of its own: the loop is usable again. */
void drive_forked(const struct drive *d);
/* The loop of host drive. */
struct uv_loop_s *drive_loop(void);

/* ---- waits ------------------------------------------------------------ */

/* What pool_future_error gives when the task has settled. */
int drive_error(const struct drive *d, pool_future_t *future);
/* The same, and give the future up. */
int drive_end(const struct drive *d, pool_future_t *future);
/* pool_future_result, for a value that must come. */
#define drive_result(d, future, ...)                                           \
    pool_future_result((future), (d)->patience(future), __VA_ARGS__)
/* pool_wait and pool_as_completed_next with a timeout. */
int drive_wait(const struct drive *d, pool_future_t *const *futures, size_t n,
    int mode, int timeout_ms, size_t *ndone);
int drive_next(const struct drive *d, pool_completed_t *completed,
    int timeout_ms, pool_future_t **future);
/* Let the pools do their work until the predicate holds; it must. */
void drive_until(const struct drive *d, bool (*holds)(void *data), void *data);
/* The same, until a word that workers or callbacks raise has a value. */
void drive_until_word(const struct drive *d, const int *word, int value);
/* Until the process is gone. */
void drive_until_gone(const struct drive *d, int pid);

/* ---- tasks that many of them use ---------------------------------------- */

/* Raise a word that is shared, and read it. */
int raise_word(int *word, int by);
int read_word(const int *word);

/* In shared memory: a task says that it runs and waits for leave. */
struct gate {
    int begun, leave, ended, pid;
};
struct gate *gate_new(void);
/* Submit the task that passes it; its value is "i" 5. */
pool_future_t *gate_submit(pool_t *pool, struct gate *gate);
int task_gate(pool_call_t *call); /* "t": the gate */
void gate_open(struct gate *gate);

int task_fail(pool_call_t *call);       /* fails with 17, "row 3 is wet" */
int task_nothing(pool_call_t *call);    /* no arguments, no value */
int task_stop_self(pool_call_t *call);  /* SIGSTOP */
int task_deaf_hang(pool_call_t *call);  /* ignores SIGTERM. "t": raised */
int task_exit_early(pool_call_t *call); /* _exit(42) */

/* A worker's pid. */
int drive_pid(const struct drive *d, pool_t *pool);
/* The pool works: doubles a number. */
void drive_works(const struct drive *d, pool_t *pool);
pool_future_t *submit(pool_t *pool, pool_fn fn); /* without arguments */

#endif
