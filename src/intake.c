/* The block that a worker reads its tasks into. */
#include "intake.h"

#include <string.h>

#include "forkpool_error.h"
#include "mem.h"
#include "util.h"

#define LENT_MOST (64u << 20) /* a larger block goes when it is empty */

static int
change(struct pool__intake *in, size_t size)
{
    size_t rest = in->have - in->at;
    uint8_t *block = pool__malloc_large(size);

    if (block == NULL)
        return POOL_ENOMEM;
    /* The host must not find the pipe locked while pages are made. */
    if (size > POOL__INTAKE_KEPT)
        pool__populate(block, size);
    size_t front = pool__front(block, rest, 0);
    if (rest != 0)
        memcpy(block + front, in->bytes + in->at, rest);
    pool__free(in->bytes);
    in->bytes = block;
    in->size = size;
    in->at = front;
    in->have = front + rest;
    in->filled = false;
    return 0;
}

/* A large block is empty: the next large frame may have it, or the kernel its
 * pages. */
static int
spare(struct pool__intake *in)
{
    if (in->counted || in->size > LENT_MOST)
        return change(in, POOL__INTAKE_SIZE + POOL__FRONT);
    if (in->filled)
        pool__unpopulate(in->bytes, in->size);
    in->filled = false;
    return 0;
}

/* What was read stays where it can: a large frame comes in many pieces. */
static void
move(struct pool__intake *in, size_t rest)
{
    size_t front = pool__front(in->bytes, rest, 0);

    if (in->at < POOL__FRONT && rest >= POOL__FRONT)
        return;
    memmove(in->bytes + front, in->bytes + in->at, rest);
    in->at = front;
    in->have = front + rest;
}

int
pool__intake_room(struct pool__intake *in, size_t need)
{
    size_t rest = in->have - in->at;
    size_t size = pool__max(need, POOL__INTAKE_SIZE) + POOL__FRONT;
    int rc = 0;

    if (size > in->size)
        rc = change(in, size);
    else if (in->size > POOL__INTAKE_KEPT && rest == 0)
        rc = spare(in);
    if (rc == 0)
        move(in, rest);
    in->filled = in->filled || need > POOL__INTAKE_KEPT;
    return rc;
}
