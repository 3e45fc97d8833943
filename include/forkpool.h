/* forkpool: process pools for C.
 *
 * `concurrent.futures` for C: functions run in forked worker processes, a
 * crash costs one task, and futures collect what they return.
 *
 * Caveats first
 * - A worker sees the memory of this process as it was when the pool's
 *   forkserver was made: in pool_create, or earlier by pool_prepare. What the
 *   program changes later, the workers do not see; send it as arguments.
 * - A pool belongs to the thread that created it; other threads are refused
 *   with POOL_EPERM. In a process forked from the owner every call gives
 *   POOL_EFORKED, and pool_destroy only frees memory and closes.
 * - The pool's work is done inside the calls that wait (and pool_poll): while
 *   the program stays away, workers run what they were sent, and replies,
 *   deaths and restarts wait until it comes back.
 * - Workers run as the same user and may do what that user may do. Isolation
 *   here is from faults, not from malice; see docs/security.md.
 * - Linux only, with glibc: 4.14 or newer, 5.3 for pidfds.
 *
 * Conventions
 * - A fallible function returns 0 or a negative code of forkpool_error.h;
 *   pool_errmsg() then says what was wrong and where. Results leave through
 *   out-pointers, which are written on success alone.
 * - Structures that the caller fills begin with `size` and are made with
 *   their POOL_..._INIT. 0 is the default of every member; POOL_NONE means
 *   none, off, or at once. A size that this library does not know, an
 *   unknown flag and a non-zero tail are POOL_EINVAL.
 * - Formats are strings of D-Bus type codes; see forkpool_codec.h.
 * - Misuse common to all: a NULL where none may be, POOL_EINVAL; a wrong
 *   thread, POOL_EPERM; a foreign process, POOL_EFORKED. It is not repeated
 *   below. `free` and `destroy` take NULL.
 */
#ifndef FORKPOOL_H
#define FORKPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "forkpool_codec.h"
#include "forkpool_error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define POOL_NONE (-1)
#define POOL_MAX_WORKERS 1024
#define POOL_MAX_TIMEOUT_MS 2147483647

typedef struct pool pool_t;
typedef struct pool_future pool_future_t;
typedef struct pool_call pool_call_t;
typedef struct pool_scatter pool_scatter_t;
typedef struct pool_results pool_results_t;

/* A function that runs in a worker. 0: success, with or without a value.
 * Anything else settles the future with POOL_ETASK and this number as
 * task_code, unless it is the code of a pool_call_args or pool_call_return
 * of this call that failed: then the future settles with that code. */
typedef int (*pool_fn)(pool_call_t *call);

/* ---- version ---------------------------------------------------------- */

#define POOL_VERSION_MAJOR 0
#define POOL_VERSION_MINOR 1
#define POOL_VERSION_PATCH 0

/* "0.1.0": the version of the library that runs.
 * Ownership: static text. Thread: any. Blocks: no. */
POOL_API const char *pool_version(void);

/* ---- pool ------------------------------------------------------------- */

enum pool_backend {
    POOL_FORK = 0,  /* forked workers (the default) */
    POOL_SERIAL = 1 /* in this process, one rank, no fork: the oracle */
};

typedef struct pool_options {
    size_t size;          /* sizeof(pool_options_t) */
    int workers;          /* 0: the CPUs this process may use (affinity and
                             cgroup quota); at most POOL_MAX_WORKERS */
    int min_workers;      /* ready before pool_create returns; 0: 1 */
    int backend;          /* enum pool_backend */
    int kill_grace_ms;    /* from SIGTERM to SIGKILL; 0: 3,000;
                             POOL_NONE: SIGKILL at once */
    int64_t max_pending;  /* unsettled tasks; beyond it a submit gives
                             POOL_EAGAIN; 0 or POOL_NONE: no limit */
    int64_t max_argument; /* bytes of one task's arguments; 0: 256 MiB;
                             POOL_NONE: what a frame holds, 4 GiB - 16 */
    int64_t max_result;   /* bytes of one task's result; likewise */
} pool_options_t;

#define POOL_OPTIONS_INIT                                                      \
    {                                                                          \
        sizeof(pool_options_t), 0, 0, 0, 0, 0, 0, 0                            \
    }

/* Make a pool and its workers.
 * pool:    out; the new pool.
 * options: NULL for the defaults.
 * Returns when min_workers workers are ready; the others follow.
 * Errors: POOL_EINVAL (a member out of range, named in pool_errmsg);
 *   POOL_EMFILE (5 descriptors a worker do not fit under RLIMIT_NOFILE: the
 *   message names both numbers); -EAGAIN, POOL_ENOMEM or another errno where
 *   processes or descriptors could not be had; POOL_EBROKEN (workers die
 *   before they are ready). On error nothing is left behind.
 * Ownership: the caller ends it with pool_destroy. Thread: the creating
 * thread owns the pool. Blocks: until min_workers are ready. */
POOL_API int pool_create(pool_t **pool, const pool_options_t *options);

/* Make a forkserver now, for a later pool_create to take over: for programs
 * that start threads or load much data before they need a pool. Each call
 * makes one more; each pool_create takes the oldest. Workers of that pool see
 * the memory as it was at this call.
 * Errors: -EAGAIN, POOL_ENOMEM, -EMFILE as fork(2) and pipe(2) give them.
 * Ownership: the library's; one that is never taken ends with the process.
 * Thread: any. Blocks: for one fork. */
POOL_API int pool_prepare(void);

enum pool_shutdown_flags {
    POOL_SHUTDOWN_WAIT = 1,          /* return when all tasks have settled */
    POOL_SHUTDOWN_CANCEL_FUTURES = 2 /* cancel every pending task */
};

/* Take no more tasks. Idempotent.
 * flags: POOL_SHUTDOWN_WAIT, POOL_SHUTDOWN_CANCEL_FUTURES or both. Without
 *   WAIT it returns at once; what is left runs on inside later waits.
 * Errors: POOL_EINVAL (unknown flags); POOL_EDEADLK (WAIT in a callback).
 * Thread: the owner. Blocks: with WAIT, until the last task settled and the
 * workers have gone. Semantics: concurrent.futures Executor.shutdown. */
POOL_API int pool_shutdown(pool_t *pool, unsigned flags);

/* End the pool: pending tasks are cancelled, running ones killed (SIGTERM,
 * grace, SIGKILL) and cancelled, workers reaped, descriptors closed. Futures
 * stay readable until they are freed. In a foreign fork child only memory and
 * descriptors of that child are given back.
 * pool: may be NULL.
 * Thread: the owner. Blocks: at most the kill grace, the time a killed process
 * takes to go, and two seconds where the forkserver hangs. */
POOL_API void pool_destroy(pool_t *pool);

/* How many ranks a scatter would have: the workers asked for, until the first
 * scatter; then min(workers, rows of the last scatter). 0 for NULL.
 * Thread: the owner. Blocks: no. Semantics: the parallel manager's
 * number_of_worker_processes. */
POOL_API int pool_worker_count(const pool_t *pool);

/* Do what there is to do for the pool: read replies, start tasks, replace
 * workers.
 * timeout_ms: how long to wait for something to do; 0: not at all, -1: for
 *   ever (or until nothing is left that could happen).
 * Errors: POOL_EINVAL (timeout below -1). POOL_EDEADLK (in a callback).
 * Thread: the owner. Blocks: up to the timeout. */
POOL_API int pool_poll(pool_t *pool, int timeout_ms);

/* ---- submit ----------------------------------------------------------- */

typedef struct pool_task_options {
    size_t size;  /* sizeof(pool_task_options_t) */
    uint64_t tag; /* the caller's own; pool_future_tag gives it back */
} pool_task_options_t;

#define POOL_TASK_OPTIONS_INIT                                                 \
    {                                                                          \
        sizeof(pool_task_options_t), 0                                         \
    }

/* Run fn(call) in a worker.
 * future: out; the task's future. NULL: nobody will ask (detached).
 * fn:     a function of the program or of a module that was loaded when the
 *         forkserver was made.
 * format: of the arguments that follow; "" or NULL for none.
 * Errors: POOL_EFORMAT (position and code in pool_errmsg); POOL_ETOOBIG
 *   (above max_argument); POOL_EAGAIN (max_pending reached); POOL_ESHUTDOWN;
 *   POOL_EBROKEN; POOL_ENOMEM. On error no task exists.
 *   A function that the workers cannot know settles its future with
 *   POOL_ENOFUNC.
 * Ownership: arguments are copied before it returns; the future is the
 * caller's, ended by pool_future_free. Thread: the owner. Blocks: no (on
 * POOL_SERIAL it runs the task). */
POOL_API int pool_submit(
    pool_t *pool, pool_future_t **future, pool_fn fn, const char *format, ...);

/* pool_submit with options (NULL: none). */
POOL_API int pool_submit_opts(pool_t *pool, pool_future_t **future,
    const pool_task_options_t *options, pool_fn fn, const char *format, ...);

/* pool_submit with raw bytes for arguments (pool_call_bytes reads them).
 * data, size: the bytes; data may be NULL where size is 0. */
POOL_API int pool_submit_bytes(pool_t *pool, pool_future_t **future,
    const pool_task_options_t *options, pool_fn fn, const void *data,
    size_t size);

/* ---- future ----------------------------------------------------------- */

/* Why a task failed. Belongs to the future; NULL members mean unknown. */
typedef struct pool_failure {
    int code;            /* POOL_ETASK, POOL_EDIED, ... */
    int task_code;       /* with POOL_ETASK: what the function returned */
    const char *message; /* one sentence; never NULL */
    pid_t pid;           /* of the worker; 0 where none was involved */
    int exit_status;     /* it left by exit: its status; -1: it did not, or
                            the status is unknown */
    int signal;          /* it was killed by a signal: which; else 0 */
    bool core_dumped;
    int attempts; /* how often it was started */
} pool_failure_t;

/* Wait for the task and read its value.
 * timeout_ms: 0 polls, -1 waits for ever.
 * format, ...: what the value must be, and pointers to receive it; "" or NULL
 *   to read nothing.
 * Errors: POOL_ETIMEDOUT (nothing has changed); the task's own code
 *   (POOL_ETASK, POOL_EDIED, POOL_ECANCELED, ...); POOL_EFORMAT (the value
 *   does not fit the format; the future keeps it, ask again); POOL_EDEADLK.
 * Ownership: text, bytes and arrays are the future's, valid until it is
 * freed. Thread: the owner. Blocks: up to the timeout. Semantics:
 * concurrent.futures Future.result. */
POOL_API int pool_future_result(
    pool_future_t *future, int timeout_ms, const char *format, ...);

/* pool_future_result for a value of raw bytes (or to see an encoded one).
 * data, size: out, either may be NULL. */
POOL_API int pool_future_bytes(
    pool_future_t *future, int timeout_ms, const void **data, size_t *size);

/* Wait as pool_future_result does; 0 if the task succeeded, its code if it
 * failed or was cancelled, POOL_ETIMEDOUT if the wait ended first. */
POOL_API int pool_future_error(pool_future_t *future, int timeout_ms);

/* The record of a failure; NULL while the task has not failed.
 * Ownership: the future's. Thread: the owner. Blocks: no. */
POOL_API const pool_failure_t *pool_future_failure(const pool_future_t *future);

/* What state a task is in. done: it has a value, failed, or was cancelled.
 * running: a worker has claimed it and no reply is in. Each looks once at
 * what the workers have sent. false for NULL.
 * Thread: the owner. Blocks: no. */
POOL_API bool pool_future_done(pool_future_t *future);
POOL_API bool pool_future_running(pool_future_t *future);
POOL_API bool pool_future_cancelled(pool_future_t *future);

/* Take a pending task back; it settles POOL_ECANCELED and never runs. A task
 * that was sent ahead and is not claimed is still pending.
 * Returns 0 also where it was cancelled before.
 * Errors: POOL_EBUSY (running or finished).
 * Thread: the owner. Blocks: no. Semantics: Future.cancel. */
POOL_API int pool_future_cancel(pool_future_t *future);

/* The tag of pool_task_options_t. 0 for NULL. */
POOL_API uint64_t pool_future_tag(const pool_future_t *future);

/* One more owner: each must call pool_future_free. Returns its argument. */
POOL_API pool_future_t *pool_future_ref(pool_future_t *future);

/* Give a future up. Of an unsettled one the task goes on, detached.
 * future: may be NULL. Thread: the owner. Blocks: no. */
POOL_API void pool_future_free(pool_future_t *future);

enum pool_wait_mode {
    POOL_ALL_COMPLETED = 0,
    POOL_FIRST_COMPLETED = 1,
    POOL_FIRST_EXCEPTION = 2 /* or all completed; cancelled is no exception */
};

/* Wait for several futures, of one pool or of several of this thread.
 * futures, n: n pointers; one that occurs twice counts once. n may be 0.
 * mode:       enum pool_wait_mode.
 * timeout_ms: 0 polls, -1 waits for ever.
 * ndone:      out, may be NULL; how many have settled, also on a timeout.
 * Errors: POOL_EINVAL (unknown mode, a NULL future); POOL_ETIMEDOUT;
 *   POOL_EDEADLK.
 * Thread: the owner. Blocks: up to the timeout. Semantics:
 * concurrent.futures.wait. */
POOL_API int pool_wait(pool_future_t *const *futures, size_t n, int mode,
    int timeout_ms, size_t *ndone);

/* ---- inside a worker -------------------------------------------------- */

/* Read the arguments of the call.
 * format, ...: what they must be, and pointers to receive them.
 * Errors: POOL_EFORMAT. Return it, and the future settles with it and with a
 *   message that names the argument.
 * Ownership: text, bytes and arrays stay the call's, valid until the function
 * returns. Thread: the one that runs the task. Blocks: no. */
POOL_API int pool_call_args(pool_call_t *call, const char *format, ...);

/* The raw bytes of the arguments. data, size: out, either may be NULL. */
POOL_API int pool_call_bytes(
    pool_call_t *call, const void **data, size_t *size);

/* Set the value that the task returns; a second call replaces the first, one
 * that fails leaves none.
 * Errors: POOL_EFORMAT, POOL_ETOOBIG (above max_result), POOL_ENOMEM. Return
 *   the code, and the future settles with it.
 * Ownership: values are copied. Thread: the task's. Blocks: no. */
POOL_API int pool_call_return(pool_call_t *call, const char *format, ...);
POOL_API int pool_call_return_bytes(
    pool_call_t *call, const void *data, size_t size);

/* Set a value of SIZE raw bytes and get the place to write them, 8-aligned.
 * buf: out; holds no defined bytes yet. Not a source for pool_call_return.
 * Errors as pool_call_return_bytes.
 * Ownership: the call's; write to it until the function returns. */
POOL_API int pool_call_reserve(pool_call_t *call, size_t size, void **buf);

/* Say why the task fails: `return pool_call_fail(call, 3, "row %d", i);`
 * Returns code, or -1 where it is 0. The text is kept up to 1,023 bytes. */
POOL_API int pool_call_fail(pool_call_t *call, int code, const char *text, ...)
    POOL_PRINTF(3, 4);

/* In a scatter, the rank of this chunk and the number of ranks; otherwise the
 * number of the worker and the number of workers. */
POOL_API int pool_call_rank(const pool_call_t *call);
POOL_API int pool_call_size(const pool_call_t *call);

/* ---- sweep: scatter and gather ---------------------------------------- */

/* The rows that one rank runs. */
typedef struct pool_rows {
    size_t first;             /* number of the first one in the job, from 0 */
    size_t count;             /* rows, >= 1 */
    size_t columns;           /* 0: a list */
    const double *values;     /* count x columns, row after row; NULL: a list */
    const char *const *names; /* columns; NULL where the job gave none */
    const void *items;        /* a list: count encoded values in sequence */
    size_t items_size;        /* bytes */
} pool_rows_t;

/* Read row ROW (from 0, of this chunk) of a list.
 * format, ...: what the row must be; a row that is an array of several
 *   values is read value by value ("sd" of ["a", 1.5]).
 * Errors: POOL_EINVAL (no such row, a matrix), POOL_EFORMAT.
 * Ownership: what it hands out is the rows'. Thread: any. Blocks: no; costs
 * grow with ROW. */
POOL_API int pool_rows_get(
    const pool_rows_t *rows, size_t row, const char *format, ...);

/* Make the model, once in each worker that takes part. Its arguments are the
 * job's build_arguments (pool_call_args). Non-zero: the rank fails. */
typedef int (*pool_build_fn)(pool_call_t *call, void **model);
/* Run one chunk; return its results with pool_call_return. */
typedef int (*pool_execute_fn)(
    pool_call_t *call, void *model, const pool_rows_t *rows);
/* Give the model back, in each worker that built, when the scatter ends or
 * the worker retires (not when it is killed). */
typedef void (*pool_release_fn)(void *model);

enum pool_schedule { POOL_STATIC = 0 };

typedef struct pool_job {
    size_t size;                 /* sizeof(pool_job_t) */
    pool_build_fn build;         /* NULL: no model */
    const void *build_arguments; /* encoded by pool_encode */
    size_t build_arguments_size; /* bytes */
    pool_execute_fn execute;     /* must be given */
    pool_release_fn release;     /* NULL: nothing to give back */
    size_t rows;                 /* >= 1 */
    size_t columns;              /* of the matrix; 0: a list */
    const double *values;        /* rows x columns, row after row */
    const char *const *names;    /* columns names, or NULL */
    const void *items;           /* a list: rows encoded values in sequence */
    size_t items_size;           /* bytes */
    int schedule;                /* POOL_STATIC */
} pool_job_t;

#define POOL_JOB_INIT                                                          \
    {                                                                          \
        sizeof(pool_job_t), NULL, NULL, 0, NULL, NULL, 0, 0, NULL, NULL, NULL, \
            0, POOL_STATIC                                                     \
    }

/* Deal the rows of a job to min(workers, rows) ranks and start them. Static:
 * of N rows over k ranks the first N mod k get one row more (numpy's
 * array_split).
 * scatter: out. job: read during the call alone.
 * Errors: POOL_EINVAL (no rows, no execute, neither or both of values and
 *   items, a list with another number of values, an unknown schedule);
 *   POOL_EFORMAT (items or build_arguments not well-formed); POOL_ETOOBIG (a
 *   chunk above max_argument); POOL_ENOFUNC; those of pool_submit.
 * Ownership: everything is copied; pool_scatter_free ends it. Thread: the
 * owner. Blocks: no (on POOL_SERIAL it runs the job). */
POOL_API int pool_scatter(
    pool_t *pool, pool_scatter_t **scatter, const pool_job_t *job);

/* What one rank ran and returned. */
typedef struct pool_local_results {
    int process_number;            /* the rank */
    pool_rows_t parameters;        /* the rows it was given */
    const void *results;           /* what execute returned; NULL if failed */
    size_t results_size;           /* bytes; pool_decode reads them */
    int error;                     /* 0, or why there are no results;
                                      POOL_EAGAIN: not settled yet */
    const pool_failure_t *failure; /* more about the error; NULL without */
} pool_local_results_t;

/* Wait for every rank.
 * timeout_ms: 0 polls, -1 waits for ever.
 * results:    out; all ranks in rank order, failed ones too. Written on
 *   POOL_ETIMEDOUT as well, with the part that is there.
 * Errors: POOL_ETIMEDOUT, POOL_EDEADLK. A failed rank is no error of gather:
 *   pool_results_failed counts them.
 * Ownership: the scatter's, valid until it is freed; a second gather gives
 * the same. Thread: the owner. Blocks: up to the timeout. */
POOL_API int pool_gather(
    pool_scatter_t *scatter, int timeout_ms, pool_results_t **results);

/* All LocalResults, in rank order.
 * array, count: out; ranks 0 to count - 1.
 * Ownership: the scatter's. Thread: the owner. Blocks: no. Semantics: the
 * parallel manager's results_from_local_tree. */
POOL_API int pool_local_results(pool_t *pool, const pool_results_t *results,
    const pool_local_results_t **array, size_t *count);

/* How many ranks failed. */
POOL_API size_t pool_results_failed(const pool_results_t *results);

/* Put the results of all ranks under one another.
 * columns: how many doubles a row has; each rank must have returned rows x
 *   columns of them as "ad".
 * matrix:  rows x columns doubles, caller's; rows of failed ranks are NaN.
 * success: rows flags, caller's, or NULL; true where the rank succeeded and
 *   no value of the row is NaN.
 * Errors: POOL_EINVAL (0 columns); POOL_EFORMAT (a rank returned something
 *   else: the message names the rank, what was expected and what came; the
 *   other ranks are written, its rows are NaN). Thread: the owner. Blocks:
 *   no. */
POOL_API int pool_results_matrix(const pool_results_t *results, size_t columns,
    double *matrix, bool *success);

/* The future of a rank; borrowed, do not free. NULL where there is none. */
POOL_API pool_future_t *pool_scatter_future(pool_scatter_t *scatter, int rank);

/* End a scatter: cancel what is pending, free all. Ranks that run go on,
 * detached. scatter: may be NULL. Thread: the owner. Blocks: no. */
POOL_API void pool_scatter_free(pool_scatter_t *scatter);

#ifdef __cplusplus
}
#endif
#endif
