/* What a worker has read from its task pipe and not yet served. */
#ifndef POOL_SRC_INTAKE_H
#define POOL_SRC_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOL__INTAKE_SIZE (256u << 10) /* bytes; what is read at once */
/* A larger block is not kept with its pages when it is empty. Bytes. */
#define POOL__INTAKE_KEPT (4u << 20)

struct pool__intake {
    uint8_t *bytes; /* read up to HAVE, served up to AT; NULL: none yet */
    size_t size, have, at;
    bool counted; /* memory is: a large block goes when it is empty */
    bool filled;  /* it has held a large frame */
};

/* Have room for NEED bytes from `at` on, in a block that is made for that; what
 * is not served moves to its front, unless it is much and fits where it is.
 * What is read next goes to `have`, POOL__INTAKE_SIZE bytes at most. 0 or
 * POOL_ENOMEM. */
int pool__intake_room(struct pool__intake *intake, size_t need);

#endif
