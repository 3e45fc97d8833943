/* A peer: libcbor by its streaming interface, the faster of its two (its
 * cbor_load builds a tree, allocating each item). A record is an array of its
 * four members; doubles are always nine bytes, as libcbor writes them. */
#include <cbor.h>

#include "codec.h"

static unsigned char buffer[16 * DOUBLES];
static size_t used;

static void
put(size_t written)
{
    if (written == 0)
        exit(1);
    used += written;
}

#define ROOM buffer + used, sizeof buffer - used

static void
encode_records(void)
{
    used = 0;
    for (size_t i = 0; i < RECORDS; i++) {
        const struct record *r = &records[i];
        put(cbor_encode_array_start(4, ROOM));
        put(r->id < 0 ? cbor_encode_negint((uint64_t)(-1 - r->id), ROOM)
                      : cbor_encode_uint((uint64_t)r->id, ROOM));
        put(cbor_encode_double(r->price, ROOM));
        put(cbor_encode_bool(r->fresh, ROOM));
        put(cbor_encode_string_start(r->length, ROOM));
        memcpy(buffer + used, r->name, r->length);
        used += r->length;
    }
}

static void
encode_doubles(void)
{
    used = 0;
    for (size_t i = 0; i < DOUBLES; i++)
        put(cbor_encode_double(doubles[i], ROOM));
}

static void
encode_array(void)
{
    used = 0;
    put(cbor_encode_bytestring_start(sizeof doubles, ROOM));
    memcpy(buffer + used, doubles, sizeof doubles);
    used += sizeof doubles;
}

/* ---- decoding: a callback for each kind of value ------------------------ */

static void
on_uint8(void *sum, uint8_t n)
{
    *(double *)sum += n;
}

static void
on_uint16(void *sum, uint16_t n)
{
    *(double *)sum += n;
}

static void
on_uint32(void *sum, uint32_t n)
{
    *(double *)sum += n;
}

static void
on_uint64(void *sum, uint64_t n)
{
    *(double *)sum += (double)n;
}

static void
on_negint8(void *sum, uint8_t n)
{
    *(double *)sum += -1.0 - n;
}

static void
on_negint16(void *sum, uint16_t n)
{
    *(double *)sum += -1.0 - n;
}

static void
on_negint32(void *sum, uint32_t n)
{
    *(double *)sum += -1.0 - n;
}

static void
on_double(void *sum, double x)
{
    *(double *)sum += x;
}

static void
on_bool(void *sum, bool value)
{
    *(double *)sum += value;
}

static void
on_text(void *sum, cbor_data text, uint64_t length)
{
    *(double *)sum += codec_text(text, length);
}

static void
on_bytes(void *sum, cbor_data data, uint64_t length)
{
    *(double *)sum += codec_sum(data, length / sizeof(double));
}

static void
decode(double *sum)
{
    struct cbor_callbacks callbacks = cbor_empty_callbacks;

    callbacks.uint8 = on_uint8;
    callbacks.uint16 = on_uint16;
    callbacks.uint32 = on_uint32;
    callbacks.uint64 = on_uint64;
    callbacks.negint8 = on_negint8;
    callbacks.negint16 = on_negint16;
    callbacks.negint32 = on_negint32;
    callbacks.float8 = on_double;
    callbacks.boolean = on_bool;
    callbacks.string = on_text;
    callbacks.byte_string = on_bytes;
    for (size_t at = 0; at < used;) {
        struct cbor_decoder_result result =
            cbor_stream_decode(buffer + at, used - at, &callbacks, sum);
        if (result.status != CBOR_DECODER_FINISHED)
            exit(1);
        at += result.read;
    }
}

int
main(int argc, char **argv)
{
    static const struct shape shapes[] = {
        {"records", encode_records, decode, 4 * RECORDS},
        {"doubles", encode_doubles, decode, DOUBLES},
        {"array", encode_array, decode, DOUBLES},
    };

    return codec_main(argc, argv, shapes, 3);
}
