/* The payloads of the library's own frames. Sans-I/O. */
#ifndef POOL_SRC_PROTO_H
#define POOL_SRC_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOL__PROTOCOL_VERSION 1u
#define POOL__MESSAGE_MAX 1024u /* bytes of a failure's message, with NUL */
#define POOL__ERROR_MAX (POOL__MESSAGE_MAX + 64u)

/* How a task failed, as its worker tells it. */
struct pool__error {
    int32_t code;      /* POOL_ETASK, POOL_EFORMAT, POOL_ETOOBIG, POOL_ENOMEM */
    int32_t task_code; /* what the function returned */
    char message[POOL__MESSAGE_MAX];
};

/* To a buffer of POOL__ERROR_MAX bytes; returns how many were written. */
size_t pool__error_encode(void *to, const struct pool__error *error);
/* False where the bytes are no such payload or the code is none that a
 * worker may give. The message comes out printable. */
bool pool__error_decode(
    const void *data, size_t size, struct pool__error *error);

/* Control characters and what is no UTF-8 become '?', byte by byte. */
void pool__make_printable(char *text, size_t n);

/* A hello's flags: from the host, that it is the setup, or the record of a
 * scatter; from the worker, that the initializer failed. */
#define POOL__HELLO_SETUP 1u
#define POOL__HELLO_JOB 2u
#define POOL__HELLO_FAILED 1u

/* The flags of a reply: how long its task ran, rounded down to 11 bits of
 * mantissa; 0 to 2^42 ns. */
uint16_t pool__duration_pack(uint64_t ns);
uint64_t pool__duration_unpack(uint16_t packed);

#endif
