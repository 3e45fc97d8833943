/* A peer: msgpack-c. Its packer writes to a buffer that is kept; each item is
 * unpacked by msgpack_unpack_next, its only way without a stream. A record is
 * an array of its four members. */
#include <msgpack.h>

#include "codec.h"

static msgpack_sbuffer buffer;
static msgpack_packer packer;

static void
encode_records(void)
{
    msgpack_sbuffer_clear(&buffer);
    for (size_t i = 0; i < RECORDS; i++) {
        const struct record *r = &records[i];
        msgpack_pack_array(&packer, 4);
        msgpack_pack_int64(&packer, r->id);
        msgpack_pack_double(&packer, r->price);
        r->fresh ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer);
        msgpack_pack_str(&packer, r->length);
        msgpack_pack_str_body(&packer, r->name, r->length);
    }
}

static void
encode_doubles(void)
{
    msgpack_sbuffer_clear(&buffer);
    for (size_t i = 0; i < DOUBLES; i++)
        msgpack_pack_double(&packer, doubles[i]);
}

static void
encode_array(void)
{
    msgpack_sbuffer_clear(&buffer);
    msgpack_pack_bin(&packer, sizeof doubles);
    msgpack_pack_bin_body(&packer, doubles, sizeof doubles);
}

static double
value_of(const msgpack_object *o)
{
    double sum = 0;

    switch (o->type) {
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return (double)o->via.u64;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return (double)o->via.i64;
    case MSGPACK_OBJECT_FLOAT64:
        return o->via.f64;
    case MSGPACK_OBJECT_BOOLEAN:
        return o->via.boolean;
    case MSGPACK_OBJECT_STR:
        return codec_text(o->via.str.ptr, o->via.str.size);
    case MSGPACK_OBJECT_BIN:
        return codec_sum(o->via.bin.ptr, o->via.bin.size / sizeof(double));
    case MSGPACK_OBJECT_ARRAY:
        for (uint32_t i = 0; i < o->via.array.size; i++)
            sum += value_of(&o->via.array.ptr[i]);
        return sum;
    default:
        exit(1);
    }
}

static void
decode(double *sum)
{
    msgpack_unpacked item;
    double total = 0;
    size_t at = 0;

    msgpack_unpacked_init(&item);
    while (msgpack_unpack_next(&item, buffer.data, buffer.size, &at) ==
           MSGPACK_UNPACK_SUCCESS)
        total += value_of(&item.data);
    *sum = total;
    msgpack_unpacked_destroy(&item);
    if (at != buffer.size)
        exit(1);
}

int
main(int argc, char **argv)
{
    static const struct shape shapes[] = {
        {"records", encode_records, decode, 4 * RECORDS},
        {"doubles", encode_doubles, decode, DOUBLES},
        {"array", encode_array, decode, DOUBLES},
    };

    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    int rc = codec_main(argc, argv, shapes, 3);
    msgpack_sbuffer_destroy(&buffer);
    return rc;
}
