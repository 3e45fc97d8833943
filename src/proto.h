/* The payloads of the library's own frames. Sans-I/O. */
#ifndef POOL_SRC_PROTO_H
#define POOL_SRC_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

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

/* The same, of what the host tells a worker: any code. */
bool pool__verdict_decode(
    const void *data, size_t size, struct pool__error *error);

/* Control characters and what is no UTF-8 become '?', byte by byte. */
void pool__make_printable(char *text, size_t n);

/* A hello's flags: from the host, that it is the setup, or the record of a
 * scatter; from the worker, that the initializer failed. */
#define POOL__HELLO_SETUP 1u
#define POOL__HELLO_JOB 2u
#define POOL__HELLO_FAILED 1u

/* What a rank gives in a collective begins with an offer; then come the sizes
 * that rank 0 expects (of a GATHERV from it), then its bytes. */
enum pool__collective {
    POOL__BARRIER = 1,
    POOL__BCAST,
    POOL__BCAST_VALUE,
    POOL__ALLGATHER,
    POOL__ALLREDUCE,
    POOL__GATHERV,
    POOL__COLLECTIVES
};

enum pool__fault {
    POOL__FAULT_NONE,
    POOL__FAULT_ARGUMENT, /* from here on the bytes are a text that says why */
    POOL__FAULT_SIZE,
    POOL__FAULT_MEMORY,
    POOL__FAULTS
};

struct pool__offer {
    uint8_t kind;     /* enum pool__collective */
    uint8_t type, op; /* of an ALLREDUCE: enum pool_element, enum pool_op */
    uint8_t fault;    /* enum pool__fault: why this rank can't take part */
    uint64_t count;   /* BCAST: bytes; ALLREDUCE: numbers; else 0 */
};

#define POOL__OFFER_SIZE 16u      /* bytes */
#define POOL__FAULT_TEXT_MAX 200u /* bytes */
void pool__offer_put(void *to, const struct pool__offer *offer);
/* False: it is none. */
bool pool__offer_get(const void *from, size_t size, struct pool__offer *offer);
/* The name of its function. */
const char *pool__collective_name(int kind);

/* The flags of a collective frame from the host: a part, or the end. */
#define POOL__COLLECTIVE_END 0u /* its payload: an error, or nothing */
#define POOL__COLLECTIVE_PART 1u

/* The flags of a reply: how long its task ran, rounded down to 11 bits of
 * mantissa; 0 to 2^42 ns. */
#define POOL__MANTISSA_BITS 11
#define POOL__EXPONENT_MAX 31u
static inline uint16_t
pool__duration_pack(uint64_t ns)
{
    if (pool__likely(ns >> POOL__MANTISSA_BITS == 0))
        return (uint16_t)ns;

    unsigned bits = 64 - (unsigned)__builtin_clzll(ns);
    unsigned shift =
        (unsigned)pool__min(bits - POOL__MANTISSA_BITS, POOL__EXPONENT_MAX);
    ns = pool__min(ns >> shift, (1u << POOL__MANTISSA_BITS) - 1);
    return (uint16_t)(shift << POOL__MANTISSA_BITS | ns);
}

static inline uint64_t
pool__duration_unpack(uint16_t packed)
{
    return (uint64_t)(packed % (1u << POOL__MANTISSA_BITS))
           << (packed >> POOL__MANTISSA_BITS);
}

#endif
