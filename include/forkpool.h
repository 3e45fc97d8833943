/* forkpool: process pools for C.
 *
 * `concurrent.futures` for C: functions run in forked worker processes, a
 * crash costs one task, and futures collect what they return.
 *
 * Caveats first
 * - A worker sees the memory of this process as it was when the pool's
 *   forkserver was made: in pool_create, or earlier by pool_prepare. What the
 *   program changes later, the workers do not see; send it as arguments.
 *   (POOL_START_FORK is the other way.)
 * - A pool belongs to the thread that created it; other threads are refused
 *   with POOL_EPERM. With POOL_DRIVE_THREAD any thread may use it. In a
 *   process forked from the owner every call gives POOL_EFORKED, and
 *   pool_destroy only frees memory and closes.
 * - Who drives a pool (runs its callbacks, deadlines and restarts) is chosen
 *   at pool_create. Caller (the default): the calls that wait, and pool_poll;
 *   while the program stays away, workers run what they were sent, and
 *   replies, deadlines, deaths and restarts wait until it comes back. Host
 *   (options.loop): your libuv loop; a call that would wait is POOL_EDEADLK.
 *   Thread (POOL_DRIVE_THREAD): a thread of the library's own, which runs the
 *   callbacks; a thread of yours that waits may run the loop meanwhile. One
 *   callback alone runs elsewhere: that which is added to a future that has
 *   settled, at once and where it is added, perhaps beside another.
 * - A call runs to its end: a thread must not be cancelled in one (disable that
 *   around calls, pthread_setcancelstate), and no callback and no signal
 *   handler may leave one by longjmp. From a signal handler nothing here may
 *   be called.
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
 *   none, off, or at once. Another size than this library's and an unknown
 *   flag are POOL_EINVAL.
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
#define POOL_MAX_DEPTH 8     /* pools in workers of pools in workers ... */
#define POOL_MAX_RETRIES 100 /* of one task */
#define POOL_MIN_PRIORITY (-8)
#define POOL_MAX_PRIORITY 7

struct uv_loop_s; /* libuv's uv_loop_t */

typedef struct pool pool_t;
typedef struct pool_future pool_future_t;
typedef struct pool_completed pool_completed_t;
typedef struct pool_map pool_map_t;
typedef struct pool_call pool_call_t;
typedef struct pool_scatter pool_scatter_t;
typedef struct pool_results pool_results_t;
typedef struct pool_comm pool_comm_t;

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
    POOL_SERIAL = 1 /* in this process, one rank, no fork: the oracle; it is
                       driven by the caller, whatever drive, loop and workers
                       say. No deadline is kept, and of retries
                       POOL_RETRY_TASK alone is possible */
};

enum pool_drive {
    POOL_DRIVE_CALLER = 0, /* the calls that wait (host, where loop is set) */
    POOL_DRIVE_THREAD = 1  /* a thread of the library's; any thread may call */
};

enum pool_start {
    POOL_START_FORKSERVER = 0, /* workers see the memory as pool_create (or
                                  pool_prepare) found it; cheap at any size */
    POOL_START_FORK = 1        /* workers are children of this process and see
                                  its memory as it is when each is started: at
                                  pool_create, on demand, in a dead one's place.
                                  Each costs a fork of this process. Functions
                                  are those of modules that pool_create found
                                  loaded and that stay so. wait(2) for any
                                  child finds workers: then how one ended is
                                  unknown. What left a worker's process group
                                  outlives it. Needs pidfds (POOL_ENOTSUP). */
};

/* Where a worker's standard output or error goes. */
enum pool_output {
    POOL_OUTPUT_INHERIT = 0, /* where the program's goes */
    POOL_OUTPUT_NULL = 1,    /* nowhere */
    POOL_OUTPUT_CAPTURE = 2  /* to the log callback, line by line, and its tail
                                into the record of a failure */
};

enum pool_log_kind {
    POOL_LOG_TASK = 0,   /* pool_call_log */
    POOL_LOG_OUTPUT = 1, /* a line that a worker printed */
    POOL_LOG_POOL = 2    /* the library: a worker or forkserver replaced, ... */
};

/* One line of log. Valid during the callback alone. */
typedef struct pool_log {
    int kind;         /* enum pool_log_kind */
    pid_t pid;        /* of the worker; 0: none */
    uint64_t task_id; /* pool_future_id of the task; 0: none */
    const char *text; /* without a line feed; NUL-terminated, printable */
    size_t length;    /* bytes */
} pool_log_t;

/* Gets one line. Thread: the driving one, as callbacks of futures. */
typedef void (*pool_log_fn)(const pool_log_t *line, void *data);

typedef struct pool_options {
    size_t size;      /* sizeof(pool_options_t) */
    const char *name; /* in metrics and messages; NULL: "pool"; up to 63
                         bytes of letters, digits and _ - . */
    int workers;      /* the most there may be; 0: the CPUs this process may
                         use (affinity, and the quota of a cgroup of version
                         2); at most POOL_MAX_WORKERS. They start on demand. */
    int min_workers;  /* ready before pool_create returns, and kept; 0: 1 */
    int backend;      /* enum pool_backend */
    int start;        /* enum pool_start */
    int drive;        /* enum pool_drive */
    struct uv_loop_s *loop; /* host drive: the loop; NULL: none */
    int strict;             /* 1: a worker that dies breaks the pool, as in
                               concurrent.futures */
    int kill_grace_ms;     /* from SIGTERM to SIGKILL, and what a worker that is
                              told to end has for its finalizer and its models'
                              release; 0: 3,000; POOL_NONE: SIGKILL at once */
    int deadline_ms;       /* how long a task may run, from its start; 0 or
                              POOL_NONE: for ever */
    int ready_deadline_ms; /* from fork to the initializer's return; 0: 30,000;
                              POOL_NONE: no limit */
    int idle_timeout_ms;   /* a worker idle for so long goes, down to
                              min_workers; 0 or POOL_NONE: it stays */
    int spin_us;           /* how long a worker that has done its work, and a
                              caller that waits, look for more before they
                              sleep: less latency for CPU time. Only where the
                              workers and the caller have a CPU each (so not
                              with the default of workers), and while it pays;
                              0: 50; POOL_NONE: not at all, nor for an instant;
                              at most 100,000 */
    int max_start_failures; /* starts that fail in a row (or workers that die
                               before they did anything) until the pool is
                               POOL_EBROKEN; 0: 8 */
    int64_t max_pending;    /* unsettled tasks; beyond it a submit gives
                               POOL_EAGAIN or waits (wait_ms of the task); 0 or
                               POOL_NONE: no limit */
    int64_t max_argument;   /* bytes of one task's arguments; 0: 256 MiB;
                               POOL_NONE: what a frame holds, 4 GiB - 16 */
    int64_t max_result;     /* bytes of one task's result; likewise */
    int64_t max_tasks_per_worker; /* then it retires; 0, POOL_NONE: no limit */
    int64_t max_worker_age_ms;    /* then it retires when idle; likewise */
    int64_t max_worker_rss;       /* bytes resident after a task: it retires;
                                     likewise */
    int64_t max_worker_memory;    /* bytes of address space beyond what it
                                     began with (RLIMIT_AS); likewise */
    uint64_t seed;                /* of pool_call_seed */
    pool_fn initializer; /* runs in each worker before its first task, with
                            the arguments below (pool_call_args); non-zero:
                            the worker failed to start. NULL: none */
    const void *initializer_arguments; /* encoded by pool_encode; copied */
    size_t initializer_arguments_size; /* bytes */
    void (*finalizer)(void *state); /* runs in a worker that retires or is shut
                                       down, for kill_grace_ms at most, not in
                                       one that is killed, with what
                                       pool_call_state holds; NULL: none */
    int worker_stdout;              /* enum pool_output */
    int worker_stderr; /* enum pool_output; where both capture, they share a
                          pipe and a tail */
    pool_log_fn log;   /* NULL: lines are dropped */
    void *log_data;    /* given to log */
    void (*drain)(pool_t *pool, void *data); /* after a submit was refused with
                           POOL_EAGAIN: there is room again. NULL: none */
    void *drain_data;                        /* given to drain */
} pool_options_t;

#define POOL_OPTIONS_INIT                                                      \
    {                                                                          \
        .size = sizeof(pool_options_t)                                         \
    }

/* Make a pool and its workers.
 * pool:    out; the new pool.
 * options: NULL for the defaults.
 * Returns when min_workers workers are ready; more start when tasks wait. In
 * host drive it returns once the forkserver is made.
 * Errors: POOL_EINVAL (a member out of range, named in pool_errmsg; thread
 *   drive with POOL_START_FORK or with a loop); POOL_EFORMAT and POOL_ETOOBIG
 *   (initializer_arguments that are not encoded, or above 256 MiB);
 *   POOL_EMFILE (5 descriptors a worker do not fit under RLIMIT_NOFILE: the
 *   message names both numbers); POOL_ENOTSUP (pools nested deeper than
 *   POOL_MAX_DEPTH; POOL_START_FORK without pidfds); -EAGAIN, POOL_ENOMEM or
 *   another errno where processes or descriptors could not be had;
 *   POOL_EBROKEN (workers die before they are ready; the message has what the
 *   initializer said). On error nothing is left behind.
 * Ownership: the caller ends it with pool_destroy or pool_close. Thread: the
 * creating thread owns the pool; in host drive it is the loop's. Blocks: until
 * min_workers are ready; in host drive for one fork (with POOL_START_FORK, for
 * min_workers of them). */
POOL_API int pool_create(pool_t **pool, const pool_options_t *options);

/* pool_create with the backend that fits: MPI, where the program was started by
 * mpirun with more than one rank and is linked with libforkpool-mpi (then as
 * pool_mpi_create, and *pool may come out NULL); else POOL_FORK where
 * options->workers is not 1; else POOL_SERIAL. options->backend is ignored.
 * Errors, ownership, thread, blocking: those of the function that it calls.
 * Semantics: the parallel manager's factory. */
POOL_API int pool_create_auto(pool_t **pool, const pool_options_t *options);

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
 *   WAIT it returns at once; what is left still runs (in caller drive inside
 *   later waits), then the workers go.
 * Errors: POOL_EINVAL (unknown flags); POOL_EDEADLK (WAIT in a callback or in
 *   host drive, where something is left to wait for).
 * Thread: the owner. Blocks: with WAIT, until the last task settled and the
 * workers have gone. Semantics: concurrent.futures Executor.shutdown. */
POOL_API int pool_shutdown(pool_t *pool, unsigned flags);

/* Take no more tasks, cancel the pending ones, and signal every live worker:
 * SIGTERM, grace, SIGKILL (terminate) or SIGKILL at once (kill). What runs
 * fails with POOL_EDIED. Returns at once; no error where no worker lives.
 * Errors: those common to all.
 * Thread: the owner. Blocks: no. Semantics: ProcessPoolExecutor's
 * terminate_workers and kill_workers. */
POOL_API int pool_terminate_workers(pool_t *pool);
POOL_API int pool_kill_workers(pool_t *pool);

/* End the pool as pool_destroy does, without waiting for it: the way to end a
 * pool in host drive.
 * on_closed: called with data in the loop when no handle, child or descriptor
 *   of the pool is left: then uv_loop_close can succeed. NULL: nothing. In the
 *   other drives it is called before pool_close returns (from a callback: when
 *   that has returned).
 * Errors: POOL_EBUSY (it is being closed already).
 * Ownership: the pool is gone when on_closed is called; until then only its
 * futures may be used. Thread: the owner. Blocks: in host drive not. */
POOL_API int pool_close(
    pool_t *pool, void (*on_closed)(void *data), void *data);

/* End the pool: pending tasks are cancelled, running ones killed (SIGTERM,
 * grace, SIGKILL) and cancelled, workers reaped, descriptors closed. Futures
 * stay readable until they are freed. From a callback it is deferred until
 * that has returned; in host drive it is pool_close without a callback. In a
 * foreign fork child only memory and descriptors of that child are given back.
 * pool: may be NULL.
 * Thread: the owner. Blocks: at most the kill grace, the time a killed process
 * takes to go, and two seconds where the forkserver hangs. */
POOL_API void pool_destroy(pool_t *pool);

/* Change how many workers there may be.
 * workers: 1 to POOL_MAX_WORKERS. More start on demand; of too many the idle
 *   ones go first, busy ones when they have done what they hold.
 * Errors: POOL_EINVAL; POOL_EMFILE (as pool_create); POOL_ESHUTDOWN;
 *   POOL_ENOTSUP (POOL_SERIAL).
 * Thread: the owner. Blocks: no. */
POOL_API int pool_resize(pool_t *pool, int workers);

/* How many ranks a scatter would have: the workers there may be, until the
 * first scatter; then min(workers, rows of the last scatter). 0 for NULL.
 * Thread: the owner. Blocks: no. Semantics: the parallel manager's
 * number_of_worker_processes. */
POOL_API int pool_worker_count(pool_t *pool);

/* Do what there is to do for the pool: read replies, start tasks, keep
 * deadlines, replace workers, run callbacks.
 * timeout_ms: how long to wait for something to do; 0: not at all, -1: for
 *   ever (or until nothing is left that could happen).
 * Errors: POOL_EINVAL (timeout below -1); POOL_EDEADLK (in a callback);
 *   POOL_ENOTSUP (host and thread drive, which do it themselves).
 * Thread: the owner. Blocks: up to the timeout. */
POOL_API int pool_poll(pool_t *pool, int timeout_ms);

/* A descriptor that is readable whenever pool_poll(pool, 0) has something to
 * do, timers included: for epoll, libevent, GLib and their like. It may be
 * readable once too often. Watch it level-triggered; never read from it.
 * Returns it, or POOL_ENOTSUP (host and thread drive, POOL_SERIAL), -EMFILE or
 *   another errno.
 * Ownership: the pool's; stop to watch it before pool_destroy. Thread: the
 * owner. Blocks: no. */
POOL_API int pool_fd(pool_t *pool);

/* ---- submit ----------------------------------------------------------- */

/* For what else than POOL_EDIED a task is run again. */
enum pool_retry {
    POOL_RETRY_DEADLINE = 1, /* POOL_EDEADLINE */
    POOL_RETRY_TASK = 2      /* POOL_ETASK */
};

typedef struct pool_task_options {
    size_t size;       /* sizeof(pool_task_options_t) */
    uint64_t tag;      /* the caller's own; pool_future_tag gives it back */
    int deadline_ms;   /* how long it may run, from its start; 0: the pool's;
                          POOL_NONE: for ever */
    int retries;       /* how often it is run again after POOL_EDIED; at most
                          POOL_MAX_RETRIES. Its effects may then happen more
                          than once. */
    unsigned retry_on; /* enum pool_retry, or 0 */
    int priority;      /* POOL_MIN_PRIORITY to POOL_MAX_PRIORITY, the greater
                          first; in order of submission within one */
    int wait_ms;       /* where max_pending is reached: 0: POOL_EAGAIN at once;
                          > 0: wait so long for room; POOL_NONE: for ever */
} pool_task_options_t;

#define POOL_TASK_OPTIONS_INIT                                                 \
    {                                                                          \
        .size = sizeof(pool_task_options_t)                                    \
    }

/* Run fn(call) in a worker.
 * future: out; the task's future. NULL: nobody will ask (detached).
 * fn:     a function of the program or of a module that was loaded when the
 *         forkserver was made.
 * format: of the arguments that follow; "" or NULL for none.
 * Errors: POOL_EINVAL (an unknown code in the format, a NULL string) and
 *   POOL_EFORMAT (a value that can't be encoded), with the position in
 *   pool_errmsg; POOL_ETOOBIG (above max_argument); POOL_EAGAIN
 *   (max_pending reached), with wait_ms POOL_ETIMEDOUT, or POOL_EDEADLK in a
 *   callback and in host drive; POOL_ESHUTDOWN; POOL_EBROKEN; POOL_ENOMEM. On
 *   error no task exists. A function that the workers cannot know settles its
 *   future with POOL_ENOFUNC.
 * Ownership: arguments are copied before it returns; the future is the
 * caller's, ended by pool_future_free. Thread: the owner. Blocks: no, unless
 * wait_ms says so (on POOL_SERIAL it runs the task). Semantics:
 * concurrent.futures Executor.submit. */
POOL_API int pool_submit(
    pool_t *pool, pool_future_t **future, pool_fn fn, const char *format, ...);

/* clang-format off */
/* POOL_SUBMIT(pool, &future, fn, 3.0, 7): pool_submit with the format derived
 * from the types of up to 12 arguments by _Generic, so that an argument of a
 * type that has no code does not compile. bool is b; signed integers are i or
 * x, unsigned ones u or t, by their width; float and double d; char pointers
 * s. C11 alone, not C++. */
#ifndef __cplusplus
#define POOL_SUBMIT(pool, future, ...)                                         \
    pool_submit(pool, future, POOL__PASTE(POOL__CALL, POOL__COUNT(__VA_ARGS__, \
        12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0))(__VA_ARGS__))
#define POOL__CODE(x)                                                          \
    _Generic((x), bool: 'b', char: 'i', signed char: 'i', short: 'i', int: 'i',\
        long: sizeof(long) == 8 ? 'x' : 'i', long long: 'x',                   \
        unsigned char: 'u', unsigned short: 'u', unsigned: 'u',                \
        unsigned long: sizeof(long) == 8 ? 't' : 'u', unsigned long long: 't', \
        float: 'd', double: 'd', char *: 's', const char *: 's'),
#define POOL__COUNT(fn, a, b, c, d, e, f, g, h, i, j, k, l, n, ...) n
#define POOL__PASTE(a, b) POOL__PASTE_NOW(a, b)
#define POOL__PASTE_NOW(a, b) a##b
#define POOL__CALL(fn, codes, ...) fn, ((const char[]){codes '\0'}), __VA_ARGS__
#define POOL__CALL0(fn) fn, ""
#define POOL__CALL1(fn, ...) POOL__CALL(fn, POOL__CODES1(__VA_ARGS__), __VA_ARGS__)
#define POOL__CALL2(fn, ...) POOL__CALL(fn, POOL__CODES2(__VA_ARGS__), __VA_ARGS__)
#define POOL__CALL3(fn, ...) POOL__CALL(fn, POOL__CODES3(__VA_ARGS__), __VA_ARGS__)
#define POOL__CALL4(fn, ...) POOL__CALL(fn, POOL__CODES4(__VA_ARGS__), __VA_ARGS__)
#define POOL__CALL5(fn, ...) POOL__CALL(fn, POOL__CODES5(__VA_ARGS__), __VA_ARGS__)
#define POOL__CALL6(fn, ...) POOL__CALL(fn, POOL__CODES6(__VA_ARGS__), __VA_ARGS__)
#define POOL__CALL7(fn, ...) POOL__CALL(fn, POOL__CODES7(__VA_ARGS__), __VA_ARGS__)
#define POOL__CALL8(fn, ...) POOL__CALL(fn, POOL__CODES8(__VA_ARGS__), __VA_ARGS__)
#define POOL__CALL9(fn, ...) POOL__CALL(fn, POOL__CODES9(__VA_ARGS__), __VA_ARGS__)
#define POOL__CALL10(fn, ...) POOL__CALL(fn, POOL__CODES10(__VA_ARGS__), __VA_ARGS__)
#define POOL__CALL11(fn, ...) POOL__CALL(fn, POOL__CODES11(__VA_ARGS__), __VA_ARGS__)
#define POOL__CALL12(fn, ...) POOL__CALL(fn, POOL__CODES12(__VA_ARGS__), __VA_ARGS__)
#define POOL__CODES1(a) POOL__CODE(a)
#define POOL__CODES2(a, ...) POOL__CODE(a) POOL__CODES1(__VA_ARGS__)
#define POOL__CODES3(a, ...) POOL__CODE(a) POOL__CODES2(__VA_ARGS__)
#define POOL__CODES4(a, ...) POOL__CODE(a) POOL__CODES3(__VA_ARGS__)
#define POOL__CODES5(a, ...) POOL__CODE(a) POOL__CODES4(__VA_ARGS__)
#define POOL__CODES6(a, ...) POOL__CODE(a) POOL__CODES5(__VA_ARGS__)
#define POOL__CODES7(a, ...) POOL__CODE(a) POOL__CODES6(__VA_ARGS__)
#define POOL__CODES8(a, ...) POOL__CODE(a) POOL__CODES7(__VA_ARGS__)
#define POOL__CODES9(a, ...) POOL__CODE(a) POOL__CODES8(__VA_ARGS__)
#define POOL__CODES10(a, ...) POOL__CODE(a) POOL__CODES9(__VA_ARGS__)
#define POOL__CODES11(a, ...) POOL__CODE(a) POOL__CODES10(__VA_ARGS__)
#define POOL__CODES12(a, ...) POOL__CODE(a) POOL__CODES11(__VA_ARGS__)
#endif
/* clang-format on */

/* pool_submit with options (NULL: none). */
POOL_API int pool_submit_opts(pool_t *pool, pool_future_t **future,
    const pool_task_options_t *options, pool_fn fn, const char *format, ...);

/* pool_submit with raw bytes for arguments (pool_call_bytes reads them).
 * data, size: the bytes; data may be NULL where size is 0. */
POOL_API int pool_submit_bytes(pool_t *pool, pool_future_t **future,
    const pool_task_options_t *options, pool_fn fn, const void *data,
    size_t size);

/* pool_submit_bytes that takes the bytes over instead of copying them.
 * data, size: must not change until free_fn is called; NULL is POOL_EINVAL,
 *   whatever size is.
 * free_fn: called once with data when the pool has done with it; it must not
 *   call the library. NULL: nothing is called, the bytes must outlive the
 *   future.
 * Ownership: on success data is the pool's; on error it stays the caller's.
 * Thread: the owner; free_fn runs in any thread that uses the pool. */
POOL_API int pool_submit_owned(pool_t *pool, pool_future_t **future,
    const pool_task_options_t *options, pool_fn fn, void *data, size_t size,
    void (*free_fn)(void *data));

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
    int attempts;            /* how often it was started */
    const char *stderr_tail; /* the last 2 KiB, at most, that the worker
                                printed; NULL unless that is captured */
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
 * running: a worker has claimed it and no reply is in. In caller drive each
 * looks once at what the workers have sent. false for NULL.
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

/* Cancel a running task too: the flag that pool_call_cancelled reads is set,
 * its worker gets SIGTERM, after the grace SIGKILL, and the future settles
 * POOL_ECANCELED at once. A pending task is cancelled as above.
 * Errors: POOL_EBUSY (finished); POOL_ENOTSUP (POOL_SERIAL).
 * Thread: the owner. Blocks: no. */
POOL_API int pool_future_cancel_running(pool_future_t *future);

/* Ask a running task to stop by itself: the flag alone. Its future settles
 * with what the task then returns. A pending task is cancelled.
 * Errors: as pool_future_cancel_running. */
POOL_API int pool_future_cancel_request(pool_future_t *future);

typedef void (*pool_done_fn)(pool_future_t *future, void *data);

/* Have callback(future, data) called once when the task has settled. Callbacks
 * run in the order they were added, after the state is final, with no lock
 * held; they may submit, cancel, free this future, add callbacks, and destroy
 * the pool. To wait in one is POOL_EDEADLK.
 * On a settled future it is called before this returns, in this thread: in
 * thread drive perhaps while another runs, and there it may wait.
 * Errors: POOL_ENOMEM.
 * Ownership: the future lives while the callback runs, also where it was
 * freed. Thread: the owner; a callback that is not called at once runs in the
 * driving thread. Blocks: no. Semantics: Future.add_done_callback. */
POOL_API int pool_future_add_done_callback(
    pool_future_t *future, pool_done_fn callback, void *data);

/* The number of the task in its pool: 1 for the first that was submitted.
 * 0 for NULL. */
POOL_API uint64_t pool_future_id(const pool_future_t *future);

/* The tag of pool_task_options_t; of a scatter's future, its rank. 0 for
 * NULL. */
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

/* Go through futures as they settle: those that have first.
 * completed:  out.
 * futures, n: as in pool_wait; each is given once.
 * Errors: POOL_EINVAL (a NULL future), POOL_ENOMEM.
 * Ownership: it holds the futures; pool_as_completed_free ends it. Thread: the
 * owner of all. Blocks: no. Semantics: concurrent.futures.as_completed. */
POOL_API int pool_as_completed(
    pool_completed_t **completed, pool_future_t *const *futures, size_t n);

/* The next future that has settled. One thread at a time, callbacks included;
 * another may free it meanwhile.
 * timeout_ms: 0 polls, -1 waits for ever.
 * future: out; borrowed from the array.
 * Errors: POOL_ENOENT (each has been given); POOL_ETIMEDOUT; POOL_EDEADLK;
 *   POOL_ECANCELED (it was freed meanwhile).
 * Thread: the owner. Blocks: up to the timeout. */
POOL_API int pool_as_completed_next(
    pool_completed_t *completed, int timeout_ms, pool_future_t **future);

/* End it; the futures stay. completed: may be NULL. */
POOL_API void pool_as_completed_free(pool_completed_t *completed);

/* ---- map --------------------------------------------------------------- */

/* The next input of a map: encode the arguments of one call of fn.
 * Returns 1; 0 at the end; a negative number of its own to stop with an error.
 * Thread: the one that called pool_map or pool_map_next. */
typedef int (*pool_input_fn)(void *data, pool_enc_t *arguments);

typedef struct pool_map_options {
    size_t size;        /* sizeof(pool_map_options_t) */
    int64_t chunksize;  /* inputs that one task carries; 0: 1 */
    int64_t buffersize; /* inputs taken ahead of the results; 0: all of them at
                           once */
    int deadline_ms;    /* of each task, as in pool_task_options_t */
    int retries;        /* likewise */
    unsigned retry_on;  /* likewise */
    int priority;       /* likewise */
} pool_map_options_t;

#define POOL_MAP_OPTIONS_INIT                                                  \
    {                                                                          \
        .size = sizeof(pool_map_options_t)                                     \
    }

/* Run fn on each input, and give the results in the order of the inputs.
 * map:     out.
 * options: NULL for the defaults.
 * input:   called for one input after the other: buffersize times before this
 *   returns, then once for each result taken. Without a buffersize, until it
 *   ends.
 * Errors: POOL_EINVAL (a chunksize or buffersize below 0, an input or fn that
 *   is NULL); POOL_ENOFUNC (fn is a function that workers cannot know); those
 *   of pool_submit, also where there is no input. An error of input is told by
 *   pool_map_next, after the results of the inputs before it.
 * Ownership: the caller ends it with pool_map_free; data must live till then.
 * Thread: the owner. Blocks: no. Semantics: Executor.map. */
POOL_API int pool_map(pool_t *pool, pool_map_t **map,
    const pool_map_options_t *options, pool_fn fn, pool_input_fn input,
    void *data);

/* Wait for the next result and read it. A map is one thread's at a time,
 * callbacks included.
 * timeout_ms: 0 polls, -1 waits for ever.
 * format, ...: as in pool_future_result.
 * Errors: POOL_ENOENT (no more results); POOL_ETIMEDOUT (this wait: the result
 *   is still to come, call again); the item's own code, and the map goes on
 *   after it; POOL_EFORMAT (the item counts as taken); what input returned,
 *   once, and then POOL_ENOENT; POOL_EDEADLK; POOL_EBUSY (in a callback
 *   that another call of it runs); POOL_ECANCELED (a callback has freed it).
 * Ownership: text, bytes and arrays are the map's, valid until the next call.
 * Thread: the owner. Blocks: up to the timeout. */
POOL_API int pool_map_next(
    pool_map_t *map, int timeout_ms, const char *format, ...);

/* Why the item that pool_map_next gave last has failed; NULL if it has not.
 * Ownership: the map's, until the next call. */
POOL_API const pool_failure_t *pool_map_failure(const pool_map_t *map);

/* End a map: what is pending is cancelled, what runs goes on, detached.
 * map: may be NULL. Thread: the owner. Blocks: no. */
POOL_API void pool_map_free(pool_map_t *map);

/* ---- statistics --------------------------------------------------------- */

#define POOL_HISTOGRAM_BUCKETS 256

/* Durations. Bucket i counts those of at least pool_histogram_bound(i - 1) and
 * less than pool_histogram_bound(i). */
typedef struct pool_histogram {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint64_t p50_ns; /* upper bounds of the buckets of the quantiles */
    uint64_t p99_ns;
    uint64_t buckets[POOL_HISTOGRAM_BUCKETS];
} pool_histogram_t;

typedef struct pool_stats {
    size_t size; /* sizeof(pool_stats_t) */
    /* counters, since pool_create */
    uint64_t submitted; /* tasks */
    uint64_t completed; /* with a value */
    uint64_t cancelled;
    uint64_t failed; /* all of them; by code: */
    uint64_t failed_task, failed_died, failed_deadline, failed_broken,
        failed_proto, failed_other;
    uint64_t retried;         /* runs again */
    uint64_t rejected;        /* submits that gave POOL_EAGAIN */
    uint64_t workers_started; /* became ready */
    uint64_t workers_died;    /* unasked */
    uint64_t workers_retired; /* by a limit, a resize or idleness */
    uint64_t start_failures;
    uint64_t forkservers;        /* made */
    uint64_t forkserver_threads; /* that ran when the last one was made */
    uint64_t bytes_sent, bytes_received; /* payloads of tasks and results */
    /* gauges */
    uint64_t pending; /* unsettled, not known to run */
    uint64_t running;
    uint64_t workers;            /* live ones */
    uint64_t idle;               /* of them */
    uint64_t queued_bytes;       /* arguments of unsettled tasks */
    uint64_t longest_turn_ns;    /* thread CPU time of the library between two
                                    returns to the host's loop; debug builds */
    pool_histogram_t run_time;   /* of tasks, in their workers */
    pool_histogram_t queue_time; /* from submission until it is sent to a
                                    worker; of every 64th task after the first
                                    1,024 */
} pool_stats_t;

#define POOL_STATS_INIT                                                        \
    {                                                                          \
        .size = sizeof(pool_stats_t)                                           \
    }

/* What the pool has done and does.
 * stats: out; size must be set, as POOL_STATS_INIT does.
 * Thread: the owner. Blocks: no. */
POOL_API int pool_stats(pool_t *pool, pool_stats_t *stats);

/* The upper bound of a bucket, ns. Thread: any. */
POOL_API uint64_t pool_histogram_bound(unsigned bucket);

/* The statistics as text in Prometheus' exposition format 0.0.4, labelled with
 * the pool's name.
 * buffer, size: where to write, NUL included; may be NULL and 0 to ask for the
 *   length.
 * length: out, may be NULL; bytes of the whole text without the NUL.
 * Errors: POOL_ENOSPC (it did not fit; nothing useful was written).
 * Thread: the owner. Blocks: no. */
POOL_API int pool_stats_text(
    pool_t *pool, char *buffer, size_t size, size_t *length);

/* ---- inside a worker -------------------------------------------------- */

/* Read the arguments of the call.
 * format, ...: what they must be, and pointers to receive them.
 * Errors: POOL_EFORMAT; POOL_EINVAL (an unknown code in the format). Return it,
 *   and the future settles with it and with a message that names the argument.
 * Ownership: text, bytes and arrays stay the call's, valid until the function
 * returns, in children that it forks too. Thread: the one that runs the task.
 * Blocks: no. */
POOL_API int pool_call_args(pool_call_t *call, const char *format, ...);

/* The raw bytes of the arguments. data, size: out, either may be NULL. */
POOL_API int pool_call_bytes(
    pool_call_t *call, const void **data, size_t *size);

/* Set the value that the task returns; a second call replaces the first, one
 * that fails leaves none.
 * Errors: POOL_EFORMAT, POOL_EINVAL (an unknown code in the format, a NULL
 *   string), POOL_ETOOBIG (above max_result), POOL_ENOMEM. Return the code, and
 *   the future settles with it.
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

/* Send one line to the pool's log callback: printf text, cut at 1,023 bytes;
 * control characters become '?'; an empty text sends nothing. Lines arrive
 * whole and in order, before the task settles. Costs a system call. Errors:
 * POOL_EINVAL. Thread: the task's. Blocks: while the pipe is full. */
POOL_API int pool_call_log(pool_call_t *call, const char *text, ...)
    POOL_PRINTF(2, 3);

/* 64 random bits for this task: made of the pool's seed and the task's number
 * (pool_future_id), in a scatter of the number of the chunk's first row, in a
 * map of the task's number and the item's place in its chunk. The same whatever
 * worker, schedule or backend runs it, and at a retry. */
POOL_API uint64_t pool_call_seed(const pool_call_t *call);

/* Whether the task was asked to stop (pool_future_cancel_running or
 * _cancel_request). Costs a load. */
POOL_API bool pool_call_cancelled(const pool_call_t *call);

/* A place of this worker's own, NULL at its start: what an initializer leaves
 * there, tasks and the finalizer find. */
POOL_API void **pool_call_state(pool_call_t *call);

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
 * the worker retires (not when it is killed, as it is where this takes longer
 * than kill_grace_ms then). */
typedef void (*pool_release_fn)(void *model);

/* How rows are dealt; OpenMP's words. The chunks of a job depend on its rows,
 * its chunk member and the workers alone, never on who was faster. */
enum pool_schedule {
    POOL_STATIC = 0,  /* one part for each of min(workers, rows) ranks */
    POOL_DYNAMIC = 1, /* chunks of `chunk` rows, for whoever is idle */
    POOL_GUIDED = 2   /* chunks that shrink with what is left, to `chunk` */
};

enum pool_job_flags {
    POOL_JOB_PEERS = 1 /* the ranks of a static schedule start together and
                          talk to one another by pool_call_comm */
};

/* How far a scatter is. */
typedef struct pool_progress {
    size_t rows;            /* of the job */
    size_t done;            /* rows of chunks that have settled, restored and
                               failed ones too */
    size_t failed;          /* of them, rows of chunks that failed */
    double rows_per_second; /* run so far; restored ones do not count; 0 until
                               a chunk has settled */
    double remaining_s;     /* seconds, at that rate; NaN while it is 0 */
} pool_progress_t;

/* Called when a chunk has settled. Thread: the driving one, as callbacks of
 * futures; what they may do, it may. */
typedef void (*pool_progress_fn)(const pool_progress_t *progress, void *data);

struct pool_local_results;
/* Called once for each chunk that has settled and was not restored, failed
 * ones too, in the order of settling, before progress; likewise.
 * local: valid during the call alone.
 * Returns 0. Negative: the sweep is to end: pending chunks are cancelled, it
 * is not called again, and pool_gather gives this code. */
typedef int (*pool_settled_fn)(
    const struct pool_local_results *local, void *data);
/* Called by pool_scatter for each chunk in row order.
 * process_number, rows: which chunk.
 * results, size: out; what an execute returned for it once; copied.
 * Returns 1: here they are, the chunk does not run; 0: it is to run;
 * negative: pool_scatter fails with it. With POOL_JOB_PEERS results count only
 * where every rank has some: else all run. Thread: the caller's of
 * pool_scatter; it must not use the pool. */
typedef int (*pool_restore_fn)(int process_number, const pool_rows_t *rows,
    const void **results, size_t *size, void *data);

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
    int schedule;                /* enum pool_schedule */
    unsigned flags;              /* enum pool_job_flags, or 0 */
    size_t chunk;                /* rows. Dynamic: of each chunk, 0: 1. Guided:
                                    of the smallest, 0: automatic. Static: 0 */
    int deadline_ms;             /* of each chunk, as in pool_task_options_t */
    int retries;                 /* likewise */
    unsigned retry_on;           /* likewise */
    int priority;                /* likewise */
    int progress_ms;             /* least time between two calls of progress;
                                    0: after each chunk. The last one always
                                    comes */
    pool_progress_fn progress;   /* NULL: none */
    pool_settled_fn settled;     /* NULL: none */
    pool_restore_fn restore;     /* NULL: none */
    void *data;                  /* given to the three; must live until the
                                    scatter is freed */
} pool_job_t;

#define POOL_JOB_INIT                                                          \
    {                                                                          \
        .size = sizeof(pool_job_t)                                             \
    }

/* Deal the rows of a job and start them.
 * Static: of N rows over k = min(workers, N) ranks the first N mod k get one
 * row more (numpy's array_split). Dynamic and guided: into chunks that idle
 * workers pull; a chunk's number, in row order, is its rank here. Guided: a
 * chunk is what is left over 2 x workers, but no less than `chunk` rows
 * (automatic: so that no rank gets more than 64 such smallest ones).
 * Where POOL_JOB_PEERS is set, the ranks start when so many workers are free,
 * and hold none until then; tasks and smaller groups that came later may
 * overtake them, but each second second workers that become idle are kept for
 * them, if the pool has enough.
 * scatter: out; set before a hook is called. job: read during the call alone.
 * Errors: POOL_EINVAL (no rows, no execute, neither or both of values and
 *   items, a list with another number of values, an unknown schedule or flag,
 *   a chunk with a static schedule, a member out of range, more chunks than
 *   max_pending; peers with another schedule, with retries or with more ranks
 *   than workers); POOL_EFORMAT
 *   (items or build_arguments not well-formed); POOL_ETOOBIG (a chunk above
 *   max_argument); POOL_ENOFUNC; what restore returned; those of pool_submit.
 *   On error nothing runs.
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
 *   POOL_ETIMEDOUT as well, with the part that is there, and where settled
 *   ended the sweep.
 * Errors: POOL_ETIMEDOUT; POOL_EDEADLK; what settled returned, when all have
 *   settled; POOL_ECANCELED (a hook has freed the scatter meanwhile). A failed
 *   rank is no error of gather: pool_results_failed counts them.
 * It returns when the last hook has, but in that hook itself it gives 0.
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
 * detached. No hook is called any more. scatter: may be NULL. Thread: the
 * owner. Blocks: no, but while a hook of it runs in the pool's own thread. */
POOL_API void pool_scatter_free(pool_scatter_t *scatter);

/* ---- peers ------------------------------------------------------------- */

/* The ranks of a group talk to one another. Every rank must make the same
 * calls in the same order; each call is a point that all ranks reach before
 * any leaves. What all collectives have in common is told with the first,
 * pool_barrier. */

/* The group of one that the owner of a pool is. NULL, with pool_errmsg: no
 * pool, a wrong thread, a foreign process.
 * Ownership: the pool's. */
POOL_API pool_comm_t *pool_comm(pool_t *pool);

/* The group of the ranks of a static scatter whose job says POOL_JOB_PEERS; in
 * any other task one whose collectives give POOL_ENOTSUP. NULL for NULL.
 * Ownership: the call's, until the function returns. */
POOL_API pool_comm_t *pool_call_comm(pool_call_t *call);

/* The rank here, from 0; the number of ranks; whether this is rank 0. 0, 0 and
 * false for NULL. Blocks: no. */
POOL_API int pool_comm_rank(const pool_comm_t *comm);
POOL_API int pool_comm_size(const pool_comm_t *comm);
POOL_API bool pool_comm_is_root(const pool_comm_t *comm);

/* All ranks arrive before any leaves.
 *
 * Errors, of all collectives: POOL_EINVAL, on every rank, where the ranks made
 * different calls, or the same with lengths, types or operations that do not
 * fit, or one gave a bad argument (the message names the ranks); nothing was
 * written then, and the group can go on. POOL_EDIED, on every rank that is
 * left: a peer died, failed, was cancelled or has returned. POOL_ENOTSUP: the
 * job did not ask for peers. POOL_ETOOBIG: a contribution above max_result or
 * max_argument. POOL_ENOMEM: also on one rank alone, where it has no room for
 * what the others gave.
 * Ownership: what the last collective of a group gave may be given to the next
 * one. Thread: that of the call, or the pool's owner; one at a time uses a
 * group. Blocks: until all ranks are there; the host must drive the pool
 * meanwhile. In a group of one they return at once. Semantics: MPI's
 * collectives of the same names. */
POOL_API int pool_barrier(pool_comm_t *comm);

/* Rank 0's bytes land in everyone's buffer.
 * data, size: rank 0: what is sent; others: where it goes. size bytes, the
 *   same on every rank; may be 0. */
POOL_API int pool_bcast(pool_comm_t *comm, void *data, size_t size);

/* Rank 0's encoded value, to all.
 * value, size: rank 0's, made by pool_encode; those of others are ignored and
 *   may be NULL and 0.
 * out, out_size: out; the value, 8-aligned, for pool_decode.
 * Errors: POOL_EINVAL too where it is not well-formed.
 * Ownership: out is the group's, until its next collective. */
POOL_API int pool_bcast_value(pool_comm_t *comm, const void *value, size_t size,
    const void **out, size_t *out_size);

/* What one rank gave. */
typedef struct pool_part {
    const void *data; /* 8-aligned; NULL where size is 0 */
    size_t size;      /* bytes */
} pool_part_t;

/* Every rank's bytes, in rank order, to all.
 * data, size: this rank's; sizes may differ by rank.
 * parts: out; pool_comm_size() of them.
 * Ownership: parts and what they point to are the group's, until its next
 * collective. */
POOL_API int pool_allgather(pool_comm_t *comm, const void *data, size_t size,
    const pool_part_t **parts);

enum pool_element { POOL_INT64 = 0, POOL_DOUBLE = 1 };
enum pool_op { POOL_SUM = 0, POOL_MIN = 1, POOL_MAX = 2, POOL_PROD = 3 };

/* Combine n numbers of each rank, element by element, in rank order: the same
 * bits on every rank. int64 sums and products wrap around; of doubles with a
 * NaN, MIN and MAX give NaN.
 * send: n numbers. recv: n numbers, may be send.
 * n:    the same on every rank; may be 0.
 * type: enum pool_element. op: enum pool_op. */
POOL_API int pool_allreduce(pool_comm_t *comm, const void *send, void *recv,
    size_t n, int type, int op);

/* Every rank's bytes one after the other, in rank order, to rank 0.
 * send, send_size: this rank's; sizes may differ by rank.
 * recv, recv_size: rank 0: where they go, and its length; ignored elsewhere.
 * sizes: rank 0: pool_comm_size() sizes in bytes, what each rank will send;
 *   their sum must be recv_size; ignored elsewhere.
 * Errors: POOL_EINVAL too where the sum is another or a rank sent another
 *   size. */
POOL_API int pool_gatherv(pool_comm_t *comm, const void *send, size_t send_size,
    void *recv, size_t recv_size, const size_t *sizes);

#ifdef __cplusplus
}
#endif
#endif
