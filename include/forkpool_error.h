/* forkpool: error codes, shared by forkpool.h and forkpool_codec.h.
 *
 * Every fallible function of the library returns 0 or a negative code. A code
 * that has an errno is -errno, so that an error of a system call passes
 * through unchanged; the library's own codes lie below -4096.
 */
#ifndef FORKPOOL_ERROR_H
#define FORKPOOL_ERROR_H

#include <errno.h>

#if defined(__GNUC__)
#define POOL_API __attribute__((visibility("default")))
#define POOL_PRINTF(at, first) __attribute__((format(printf, at, first)))
#else
#define POOL_API
#define POOL_PRINTF(at, first)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* One row a code: X(name, value, text). The enum, pool_err_name,
 * pool_strerror and the table in the manual are all made from it. */
#define POOL_ERRORS(X)                                                         \
    X(EINVAL, -EINVAL, "invalid argument")                                     \
    X(ENOMEM, -ENOMEM, "out of memory")                                        \
    X(EAGAIN, -EAGAIN, "queue full, or nothing to be had now")                 \
    X(EBUSY, -EBUSY, "already running or finished")                            \
    X(EPERM, -EPERM, "called from a thread that does not drive the pool")      \
    X(ENOENT, -ENOENT, "not there")                                            \
    X(ENOSPC, -ENOSPC, "buffer too small")                                     \
    X(ENOTSUP, -ENOTSUP, "not supported here")                                 \
    X(EMFILE, -EMFILE, "too few file descriptors")                             \
    X(EDEADLK, -EDEADLK, "would block where nothing may block")                \
    X(ETIMEDOUT, -ETIMEDOUT, "the wait ended first")                           \
    X(ECANCELED, -ECANCELED, "cancelled")                                      \
    X(ETASK, -5001, "the task returned an error")                              \
    X(EDIED, -5002, "the worker died while it ran the task")                   \
    X(EDEADLINE, -5003, "the task ran past its deadline")                      \
    X(EBROKEN, -5004, "the pool can run nothing more")                         \
    X(ESHUTDOWN, -5005, "the pool is shut down")                               \
    X(EPROTO, -5006, "a worker broke the protocol")                            \
    X(EFORMAT, -5007, "arguments or result do not match the format")           \
    X(ETOOBIG, -5008, "larger than the limit")                                 \
    X(ENOFUNC, -5009, "a function that the workers cannot know")               \
    X(EFORKED, -5010, "used in a process that did not create it")

enum {
#define POOL_ERROR_ENUM(name, value, text) POOL_##name = (value),
    POOL_ERRORS(POOL_ERROR_ENUM)
#undef POOL_ERROR_ENUM
};

/* The name of a code, such as "POOL_EDIED"; for another negative errno the
 * errno's name, such as "ENXIO"; "POOL_OK" for 0; "unknown" otherwise.
 * Ownership: static text. Thread: any. Blocks: no. */
POOL_API const char *pool_err_name(int code);

/* One English phrase that says what a code means, without a full stop.
 * Ownership: static text. Thread: any. Blocks: no. */
POOL_API const char *pool_strerror(int code);

/* What was wrong and where, for the last call of the library that failed in
 * the calling thread: a sentence that begins with the function's name. ""
 * where no call has failed. A call that succeeds leaves it alone.
 * Ownership: valid until the thread's next failing call. Thread: any, each
 * has its own. Blocks: no. Semantics: as dlerror(3), not cleared by reading. */
POOL_API const char *pool_errmsg(void);

#ifdef __cplusplus
}
#endif
#endif
