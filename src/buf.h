/* A queue of bytes in one growable block: appended at the tail, taken from
 * the head; moved to the front when it empties or must grow. */
#ifndef POOL_SRC_BUF_H
#define POOL_SRC_BUF_H

#include <stddef.h>
#include <stdint.h>

struct pool__buf {
    uint8_t *bytes;
    size_t head, tail, capacity;
};

/* Make room for N bytes after the tail. 0 or POOL_ENOMEM, nothing changed. */
static inline int pool__buf_reserve(struct pool__buf *buf, size_t n);
void pool__buf_take(struct pool__buf *buf, size_t n);
void pool__buf_fini(struct pool__buf *buf);

static inline size_t
pool__buf_size(const struct pool__buf *buf)
{
    return buf->tail - buf->head;
}

/* Where the room must be made. */
int pool__buf_grow(struct pool__buf *buf, size_t n);

static inline int
pool__buf_reserve(struct pool__buf *buf, size_t n)
{
    return n <= buf->capacity - buf->tail ? 0 : pool__buf_grow(buf, n);
}

#endif
