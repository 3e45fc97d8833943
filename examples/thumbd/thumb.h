/* thumbd: the task that makes a thumbnail, in a worker. */
#ifndef THUMBD_THUMB_H
#define THUMBD_THUMB_H

#include <forkpool.h>

#include <stdbool.h>
#include <stdint.h>

#define THUMB_WIDTH 160 /* where the client names none */
#define THUMB_MAX_WIDTH 1024
#define THUMB_MAX_PIXELS 50000000
#define THUMB_MAX_RESULT (8 << 20) /* bytes */

/* Stands before the image in the arguments of a task. */
struct thumb_order {
    uint32_t width; /* of the square that the thumbnail fits into */
    uint32_t reserved;
};

/* Bodies that begin with CRASH, HANG or OOM do that to their worker. Set
 * before the pool is made. */
extern bool thumb_test_faults;

/* The pool's initializer. */
int thumb_initialize(pool_call_t *call);

/* Arguments: a thumb_order and an image. Returns the thumbnail's bytes, in
 * the format of the image. */
int thumb_task(pool_call_t *call);

#endif
