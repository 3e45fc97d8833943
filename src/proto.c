/* The payloads of the library's own frames. An error is the CBOR sequence
 * code, task code, message (a byte string: tasks may say what is no UTF-8). */
#include "proto.h"

#include <string.h>

#include "forkpool_codec.h"
#include "forkpool_error.h"
#include "util.h"

#define MANTISSA_BITS 11
#define EXPONENT_MAX 31u

size_t
pool__error_encode(void *to, const struct pool__error *error)
{
    size_t size = 0;

    pool_encode(to, POOL__ERROR_MAX, &size, "iiay", error->code,
        error->task_code, error->message, strlen(error->message));
    return size;
}

static bool
may_come_from_a_worker(int code)
{
    return code == POOL_ETASK || code == POOL_EFORMAT || code == POOL_ETOOBIG ||
           code == POOL_ENOMEM || code == POOL_EINVAL;
}

bool
pool__error_decode(const void *data, size_t size, struct pool__error *error)
{
    const void *text;
    size_t length;

    if (pool_decode(data, size, "iiay", &error->code, &error->task_code, &text,
            &length) < 0 ||
        length >= POOL__MESSAGE_MAX || !may_come_from_a_worker(error->code))
        return false;
    memcpy(error->message, text, length);
    error->message[length] = '\0';
    bool utf8 = pool_check_utf8(text, length) == 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)error->message[i];
        if (c < ' ' || c == 0x7f || (c > 0x7f && !utf8))
            error->message[i] = '?';
    }
    return true;
}

uint16_t
pool__duration_pack(uint64_t ns)
{
    unsigned shift = 0;

    while (ns >> MANTISSA_BITS != 0 && shift < EXPONENT_MAX) {
        ns >>= 1;
        shift++;
    }
    ns = pool__min(ns, (1u << MANTISSA_BITS) - 1);
    return (uint16_t)(shift << MANTISSA_BITS | ns);
}

uint64_t
pool__duration_unpack(uint16_t packed)
{
    uint64_t mantissa = packed & ((1u << MANTISSA_BITS) - 1);

    return mantissa << (packed >> MANTISSA_BITS);
}
