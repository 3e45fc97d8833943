/* What one worker prints, where that is captured: a pipe from it, lines to
 * the owner, and the last of it for the record of a failure. */
#ifndef POOL_SRC_OUTPUT_H
#define POOL_SRC_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#define POOL__TAIL_MAX 2048u /* bytes */

struct pool__printed;

struct pool__output {
    int read, write; /* ends of the pipe, -1: none; write until it is open */
    bool open;       /* its handle is in the loop */
    uv_poll_t readable;
    struct pool__printed *printed; /* NULL: nothing is captured */
    const size_t *share; /* bytes that may be read now; NULL: no limit */
    /* A line, printable, NUL after it, at most POOL__LOG_MAX bytes; a longer
     * one comes in pieces. Must not destroy the output. */
    void (*line)(void *owner, const char *text, size_t size);
    void *owner;
};

/* captured: false makes one that does nothing. 0, or -errno or POOL_ENOMEM
 * with nothing left behind. */
int pool__output_init(struct pool__output *output, bool captured,
    void (*line)(void *owner, const char *text, size_t size), void *owner);
/* Begin to listen; the worker exists, its end is closed here. 0 or -errno. */
int pool__output_open(struct pool__output *output, uv_loop_t *loop);
/* The worker is dead: read what there is, though others may hold the pipe,
 * and tell the last line. */
void pool__output_drain(struct pool__output *output);
/* Stop listening; the handle's data is the output. */
void pool__output_close(struct pool__output *output, uv_close_cb closed);
/* Give memory and descriptors back; its handle is closed. */
void pool__output_fini(struct pool__output *output);

/* The last that was printed, at most POOL__TAIL_MAX bytes: printable but for
 * line feeds, NUL after it. size: of TO. Returns its length. */
size_t pool__output_tail(
    const struct pool__output *output, char *to, size_t size);

#endif
