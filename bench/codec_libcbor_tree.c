/* A peer: libcbor as its manual begins, with trees: items are built,
 * serialized and freed, and cbor_load builds them again. codec_libcbor.c is
 * its other interface, the faster one. The array is not here: it would be the
 * same. */
#include <cbor.h>

#include "codec.h"

static unsigned char buffer[16 * DOUBLES];
static size_t used;

static void
put(cbor_item_t *item)
{
    size_t written = cbor_serialize(item, buffer + used, sizeof buffer - used);

    if (written == 0)
        exit(1);
    used += written;
    cbor_decref(&item);
}

static void
push(cbor_item_t *array, cbor_item_t *item)
{
    if (!cbor_array_push(array, cbor_move(item)))
        exit(1);
}

static void
encode_records(void)
{
    used = 0;
    for (size_t i = 0; i < RECORDS; i++) {
        const struct record *r = &records[i];
        cbor_item_t *array = cbor_new_definite_array(4);
        push(array, r->id < 0 ? cbor_build_negint64((uint64_t)(-1 - r->id))
                              : cbor_build_uint64((uint64_t)r->id));
        push(array, cbor_build_float8(r->price));
        push(array, cbor_build_bool(r->fresh));
        push(array, cbor_build_stringn(r->name, r->length));
        put(array);
    }
}

static void
encode_doubles(void)
{
    used = 0;
    for (size_t i = 0; i < DOUBLES; i++)
        put(cbor_build_float8(doubles[i]));
}

static double
value_of(const cbor_item_t *item)
{
    double sum = 0;

    switch (cbor_typeof(item)) {
    case CBOR_TYPE_UINT:
        return (double)cbor_get_int(item);
    case CBOR_TYPE_NEGINT:
        return -1.0 - (double)cbor_get_int(item);
    case CBOR_TYPE_STRING:
        return codec_text(cbor_string_handle(item), cbor_string_length(item));
    case CBOR_TYPE_FLOAT_CTRL:
        return cbor_float_ctrl_is_ctrl(item) ? cbor_get_bool(item)
                                             : cbor_float_get_float(item);
    case CBOR_TYPE_ARRAY:
        for (size_t i = 0; i < cbor_array_size(item); i++)
            sum += value_of(cbor_array_handle(item)[i]);
        return sum;
    default:
        exit(1);
    }
}

static void
decode(double *sum)
{
    struct cbor_load_result result;

    for (size_t at = 0; at < used; at += result.read) {
        cbor_item_t *item = cbor_load(buffer + at, used - at, &result);
        if (item == NULL)
            exit(1);
        *sum += value_of(item);
        cbor_decref(&item);
    }
}

int
main(int argc, char **argv)
{
    static const struct shape shapes[] = {
        {"records", encode_records, decode, 4 * RECORDS},
        {"doubles", encode_doubles, decode, DOUBLES},
    };

    return codec_main(argc, argv, shapes, 2);
}
