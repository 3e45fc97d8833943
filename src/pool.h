/* A pool: what its public functions share. */
#ifndef POOL_SRC_POOL_H
#define POOL_SRC_POOL_H

#include "call.h"
#include "error.h"
#include "guard.h"
#include "sched.h"
#include "spin.h"

enum pool__drive {
    POOL__DRIVE_CALLER, /* the calls that wait run the loop */
    POOL__DRIVE_HOST,   /* a uv_loop_t of the program's watches it */
    POOL__DRIVE_THREAD, /* a thread of the pool's does */
    POOL__DRIVE_SERIAL  /* there is none: tasks run where they are submitted */
};

/* Of a pool's thread, while a thread that waits may lead in its place. */
enum pool__rest {
    POOL__REST_NONE,  /* it is awake and leads itself */
    POOL__REST_LOOP,  /* it sleeps on the loop's descriptor */
    POOL__REST_NAP,   /* it looks whether it is needed, soon */
    POOL__REST_PARKED /* it sleeps until it is called */
};

enum pool__cancelling {
    POOL__CANCEL_NONE,
    POOL__CANCEL_PENDING,
    POOL__CANCEL_ALL /* running tasks too */
};

struct pool {
    struct pool__core *core;
    struct pool__table table; /* not of a serial pool */
    struct pool__sched sched;
    enum pool__drive drive;
    char name[64];

    /* the loop, see loop.c */
    uv_loop_t loop;
    bool stale;   /* watches were added since it ran; loop.data points here */
    bool driving; /* in it, in a callback, or in a serial task */
    uv_timer_t wait_timer;
    uv_prepare_t wait_prepare;
    bool (*wait_done)(void *); /* what is waited for */
    void *wait_data;
    bool timed_out;                 /* wait_timer fired */
    uint64_t spin_most_ns, spin_ns; /* as asked for; as it fits the CPUs */
    struct pool__spin spin;
    struct {    /* see alarm.c */
        int fd; /* a timerfd; -1: nobody sleeps on the loop's descriptor */
        uint64_t due_ns;
        bool lingers; /* it is set for frames that wait for more */
        bool heard;   /* the loop has run since it was opened */
        uv_poll_t handle;
    } alarm;
    bool found;                /* replies stood in memory in its last turn */
    struct {                   /* see drive_host.c */
        uv_poll_t *poll;       /* of our loop's descriptor, in the host's */
        uv_prepare_t *prepare; /* NULL: all are being closed */
        uv_prepare_t *last; /* then: which is closed last; NULL: it has gone */
        uv_idle_t *idle;    /* active: the host's loop does not sleep */
        bool goes_on;       /* it is, with tasks unsettled */
        bool busy;          /* keeps uv_run going */
        uint64_t turns, slips; /* of them, that took too long */
    } host;
    struct { /* see drive_thread.c */
        pthread_t id;
        bool detached; /* nobody will join it */
        enum pool__rest rest;
        int bell;        /* an eventfd that wakes it */
        bool called;     /* it shall lead again, now */
        uint64_t leads;  /* of other threads, begun and ended: odd while one
                            leads */
        uint64_t nap_ns; /* how long it leaves them alone */
    } thread;

    /* its end, see close.c */
    bool shut;    /* no more submits */
    bool broken;  /* no workers to be had */
    bool closing; /* it ends */
    enum pool__cancelling cancelling;
    void (*on_closed)(void *data);
    void *closed_data;

    /* what the program asked for */
    int workers;
    size_t max_pending;  /* SIZE_MAX: no limit */
    size_t max_argument; /* bytes */
    uint64_t max_result; /* bytes */
    uint64_t seed;
    pool_log_fn log;
    void *log_data;
    void (*drain)(pool_t *pool, void *data);
    void *drain_data;
    void (*finalizer)(void *state);
    uint8_t *setup; /* bytes that tell workers of initializer and finalizer */

    size_t last_ranks;        /* of the last scatter; 0: none yet */
    struct pool__list models; /* of a serial pool */
    void *state;              /* likewise, see pool_call_state */
    uint64_t serial_task;     /* likewise: the number of what runs */
    struct pool_comm comm;    /* the group of one that the owner is */
};

/* ---- options.c ---------------------------------------------------------- */

/* 0, or POOL_EINVAL with a message that names the member. */
POOL__SHARED int pool__options_check(const pool_options_t *options);
/* 0, POOL_EINVAL or POOL_ENOMEM. */
int pool__options_take(struct pool *pool, const pool_options_t *options);

/* Make the first frame of workers, where they need one. 0 or a code. */
int pool__options_setup(struct pool *pool, const pool_options_t *options);

/* What workers know a function at ADDRESS as, which pool__check_known has found
 * there: sent to them in its place. pool__call_resolve is the way back. */
static inline uint64_t
pool__refer(const struct pool *pool, uintptr_t address)
{
    return pool__table_refer(&pool->table, address);
}

/* ---- pool.c ---------------------------------------------------------------
 */

/* As pool_create; workers come from SERVER's maker, which is taken over, also
 * on failure. */
POOL__SHARED int pool__create_made(struct pool **pool,
    const pool_options_t *options, struct pool__forkserver *server);

/* Whether this process was forked from the pool's, by a callback that came back
 * perhaps: then nothing is done here any more, and nobody is told. */
static inline bool
pool__is_foreign(const struct pool *pool)
{
    return pool->core->stamp != pool__owner_stamp();
}

/* ---- loop.c: running the loop ------------------------------------------- */

int pool__loop_open(struct pool *pool);
/* Run the loop once, then tell the program what is new; or leave that to who
 * may. */
void pool__turn(struct pool *pool, uv_run_mode mode);
void pool__turn_untold(struct pool *pool, uv_run_mode mode);
/* The same until nothing is to be done at once, or the budget is over. */
void pool__turn_over(struct pool *pool);
/* Whether something is to be done at once, or frames wait to be written; the
 * first alone. */
bool pool__has_work(struct pool *pool);
bool pool__is_pressed(struct pool *pool);
/* Run until done(data), for at most timeout_ms. 0, POOL_ETIMEDOUT, or
 * POOL_EDEADLK where nothing may wait. */
int pool__drive(struct pool *pool, bool (*done)(void *), void *data,
    int timeout_ms, const char *who);
/* In caller drive: do once what can be done without waiting. */
void pool__drive_once(struct pool *pool);
/* Where no other thread and no loop does so: tell the program all of it. */
void pool__tell_all(struct pool *pool);
/* At the end of a public function: tell what it brought about. The pool may be
 * gone afterwards. */
void pool__settle_down(struct pool *pool);
/* Whether a wait here would wait for itself. */
bool pool__must_not_wait(const struct pool *pool);
/* Close the loop and free the pool; everything in it has ended. */
void pool__loop_close(struct pool *pool);

/* ---- spin.c -------------------------------------------------------------- */

/* Whether sides that look fit so many CPUs: the workers and their supervisor.
 * Called again when either number has changed. */
void pool__spin_fit(struct pool *pool, int cpus);
/* Not in the pool's own thread: take the replies that stand in memory;
 * SLEEPS: the loop is to sleep next, unless there were some. */
bool pool__look(struct pool *pool, bool sleeps);
/* It looks no more: what stands there is taken now. */
bool pool__look_away(struct pool *pool);
/* Look for replies for a while, at most until then, before sleeping. True: some
 * were taken. */
bool pool__spin(struct pool *pool, uint64_t until_ns);

/* ---- alarm.c, drive_host.c, drive_thread.c ------------------------------- */

int pool__alarm_open(struct pool *pool);
/* Make the loop's descriptor readable when something is to be done. */
void pool__alarm_set(struct pool *pool);
/* The same, now: who sleeps on it shall look around. */
void pool__alarm_ring(struct pool *pool);
void pool__alarm_close(struct pool *pool);

int pool__host_open(struct pool *pool, uv_loop_t *loop);
/* The pool has ended: leave the host's loop, then free it. */
void pool__host_close(struct pool *pool);
/* In a forked child: its copy of the host's loop has nothing to do with it, but
 * that it watches a descriptor, which is returned; -1: it doesn't. */
int pool__host_forget(struct pool *pool);
/* Keep uv_run going while there is something to come. */
void pool__host_keep(struct pool *pool);

int pool__thread_start(struct pool *pool);
/* Wait in another thread, as pool__drive. */
int pool__thread_wait(
    struct pool *pool, bool (*done)(void *), void *data, int timeout_ms);
/* Another thread leaves the pool: who leads hears what there is to do. */
void pool__thread_settle(struct pool *pool);
/* Its thread shall lead again, at once, whoever leads now. */
void pool__thread_call(struct pool *pool);
/* Whether a thread that waits leads now. */
static inline bool
pool__thread_led(const struct pool *pool)
{
    return pool->thread.leads % 2 != 0;
}
/* Whether nobody leads, and its thread will soon. */
static inline bool
pool__thread_naps(const struct pool *pool)
{
    return pool->thread.rest == POOL__REST_NAP && !pool__thread_led(pool);
}

/* ---- close.c --------------------------------------------------------------
 */

/* Begin to end: cancel, kill, retire. */
void pool__close_begin(struct pool *pool);
/* Whether the workers have gone and the forkserver is next. */
bool pool__close_ready(const struct pool *pool);
/* Whether nothing is left. */
bool pool__close_done(struct pool *pool);
/* Nothing is left but memory: give that back. The core stays. */
void pool__close_free(struct pool *pool);
/* Caller drive, in no callback: wait for the end and free the pool. */
void pool__close_finish(struct pool *pool);

/* ---- notice.c -------------------------------------------------------------
 */

/* Run what waits to be told to the program, for a while: much may be left. */
void pool__tell(struct pool *pool);
/* How much of each worker may be read from now on: as what waits allows; or a
 * little, until it has brought a notice after number DUE; or nothing. */
void pool__listen(struct pool *pool);
void pool__listen_little(struct pool *pool, uint64_t due);
void pool__listen_not(struct pool *pool);
/* Whether the drain callback is to be called. */
bool pool__drain_due(const struct pool *pool);
/* A line for the log callback; a newline at its end is dropped. */
void pool__log(struct pool *pool, int kind, pid_t pid, uint64_t task_id,
    const char *text, size_t length);

/* ---- submit.c --------------------------------------------------------------
 */

/* 0, or POOL_EINVAL and the member that is wrong. */
int pool__task_options_check(
    const pool_task_options_t *options, const char *who);
/* Whether the pool takes a task with SIZE bytes of arguments, unless it is
 * full: 0, POOL_ESHUTDOWN, POOL_EBROKEN or POOL_ETOOBIG. */
int pool__submit_check(struct pool *pool, const char *who, size_t size);
/* A new task for fn with SIZE bytes of room, or with the caller's block; it
 * must be started next, or unmade. The pool is entered. */
int pool__task_prepare(struct pool *pool, const char *who, pool_fn fn,
    size_t size, void *block, const pool_task_options_t *options,
    struct pool_future **task);
/* The same for a chunk of a scatter: its block and its options are the
 * scatter's. */
int pool__chunk_prepare(struct pool *pool, const char *who, pool_fn fn,
    void *block, size_t size, struct pool__task_extra *extra,
    struct pool_future **task);
/* Start it; future: NULL detaches it. */
void pool__task_start(struct pool *pool, struct pool_future *task, pool_fn fn,
    struct pool_future **future);

/* As pool__enter, for a function that was given a pool. */
static inline int
pool__enter_pool(struct pool *pool, const char *who)
{
    if (pool__unlikely(pool == NULL))
        return pool__fail(POOL_EINVAL, "%s: pool is NULL", who);
    return pool__enter(pool->core, who);
}

/* 0, or POOL_ENOFUNC for what workers can't call; fn may be NULL. what: the
 * public function and the argument. */
int pool__check_known(struct pool *pool, pool_fn fn, const char *what);
/* A call as a serial pool makes it. */
void pool__serial_call(
    struct pool *pool, struct pool_call *call, uint64_t number);

/* ---- wait.c ----------------------------------------------------------------
 */

/* What futures of one or of several pools wait for together. */
struct pool__gate {
    struct pool__core **cores;
    size_t count;
    int event; /* an eventfd that other threads write; -1: none */
};

/* The distinct cores of futures. 0, POOL_EINVAL, POOL_ENOMEM, POOL_EFORKED or
 * POOL_EPERM. */
int pool__gate_open(struct pool__gate *gate, pool_future_t *const *futures,
    size_t n, const char *who);
void pool__gate_close(struct pool__gate *gate);
/* A watcher has fired: wake who waits. */
void pool__gate_signal(struct pool__gate *gate);
/* The same for another reason than a watcher. No core is entered. */
void pool__gate_wake(struct pool__gate *gate, const char *who);
/* Wait for done(data), which is asked in this thread or under a pool's lock. */
int pool__gate_wait(struct pool__gate *gate, bool (*done)(void *), void *data,
    int timeout_ms, const char *who);

#endif
