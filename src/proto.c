/* The payloads of the library's own frames. An error is the CBOR sequence
 * code, task code, message (a byte string: tasks may say what is no UTF-8). */
#define _GNU_SOURCE
#include "proto.h"

#include <endian.h>
#include <string.h>

#include "dec.h"
#include "forkpool_codec.h"
#include "forkpool_error.h"
#include "util.h"

/* How many bytes of text are the next character, printable or not. */
static size_t
next_character(
    const unsigned char *p, const unsigned char *end, bool *printable)
{
    if (*p < 0x80) {
        *printable = *p >= ' ' && *p != 0x7f;
        return 1;
    }
    size_t n = pool__utf8_sequence(p, end);
    bool control = n == 2 && p[0] == 0xc2 && p[1] < 0xa0; /* U+0080 to 9F */
    *printable = n != 0 && !control;
    return n != 0 ? n : 1;
}

void
pool__make_printable(char *text, size_t n)
{
    unsigned char *p = (unsigned char *)text;
    const unsigned char *end = p + n;
    bool printable;

    while (p != end) {
        size_t length = next_character(p, end, &printable);
        if (!printable)
            memset(p, '?', length);
        p += length;
    }
}

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
    return pool__verdict_decode(data, size, error) &&
           may_come_from_a_worker(error->code);
}

bool
pool__verdict_decode(const void *data, size_t size, struct pool__error *error)
{
    const void *text;
    size_t length;

    if (pool_decode(data, size, "iiay", &error->code, &error->task_code, &text,
            &length) < 0 ||
        length >= POOL__MESSAGE_MAX)
        return false;
    memcpy(error->message, text, length);
    error->message[length] = '\0';
    pool__make_printable(error->message, length);
    return true;
}

void
pool__offer_put(void *to, const struct pool__offer *offer)
{
    uint8_t head[POOL__OFFER_SIZE] = {
        offer->kind, offer->type, offer->op, offer->fault};
    uint64_t count = htole64(offer->count);

    memcpy(head + 8, &count, sizeof count);
    memcpy(to, head, sizeof head);
}

bool
pool__offer_get(const void *from, size_t size, struct pool__offer *offer)
{
    uint8_t head[POOL__OFFER_SIZE], none[4] = {0};
    uint64_t count;

    if (size < sizeof head)
        return false;
    memcpy(head, from, sizeof head);
    memcpy(&count, head + 8, sizeof count);
    *offer = (struct pool__offer){
        head[0], head[1], head[2], head[3], le64toh(count)};
    return memcmp(head + 4, none, sizeof none) == 0 && offer->kind != 0 &&
           offer->kind < POOL__COLLECTIVES && offer->fault < POOL__FAULTS;
}

const char *
pool__collective_name(int kind)
{
    static const char *const names[] = {[POOL__BARRIER] = "pool_barrier",
        [POOL__BCAST] = "pool_bcast",
        [POOL__BCAST_VALUE] = "pool_bcast_value",
        [POOL__ALLGATHER] = "pool_allgather",
        [POOL__ALLREDUCE] = "pool_allreduce",
        [POOL__GATHERV] = "pool_gatherv"};

    return names[kind];
}
