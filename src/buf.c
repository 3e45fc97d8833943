/* A queue of bytes in one growable block. Invariant: head <= tail <=
 * capacity, and head is 0 whenever the queue is empty. */
#include "buf.h"

#include <string.h>

#include "error.h"
#include "mem.h"
#include "util.h"

#define SMALLEST 4096u

int
pool__buf_grow(struct pool__buf *buf, size_t n)
{
    size_t used = pool__buf_size(buf);

    if (n > SIZE_MAX / 2 - used)
        return pool__fail(POOL_ENOMEM, "buffer of %zu bytes", n);
    if (used + n > buf->capacity) {
        size_t wanted =
            pool__max(SMALLEST, pool__max(2 * buf->capacity, used + n));
        uint8_t *bytes = pool__realloc(buf->bytes, wanted);
        if (bytes == NULL)
            return pool__fail(POOL_ENOMEM, "buffer of %zu bytes", wanted);
        buf->bytes = bytes;
        buf->capacity = wanted;
    }
    if (buf->head != 0)
        memmove(buf->bytes, buf->bytes + buf->head, used);
    buf->head = 0;
    buf->tail = used;
    return 0;
}

void
pool__buf_take(struct pool__buf *buf, size_t n)
{
    buf->head += n;
    if (buf->head == buf->tail)
        buf->head = buf->tail = 0;
}

void
pool__buf_fini(struct pool__buf *buf)
{
    pool__free(buf->bytes);
    memset(buf, 0, sizeof *buf);
}
