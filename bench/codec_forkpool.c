/* The library's codec, through the encoder and the cursor of
 * forkpool_codec.h. A record is an array of its four members. What is read is
 * added up in a local variable, as a loop over a cursor allows; libcbor's
 * callbacks have to reach theirs by a pointer. */
#include <forkpool_codec.h>

#include "codec.h"

static pool_enc_t enc; /* growable: its buffer is kept */

static void
check(int rc)
{
    if (rc < 0)
        exit(1);
}

/* At what was encoded. */
static void
begin(pool_dec_t *dec)
{
    size_t size;

    check(pool_enc_finish(&enc, &size));
    pool_dec_init(dec, pool_enc_data(&enc), size);
}

static void
encode_records(void)
{
    pool_enc_clear(&enc);
    for (size_t i = 0; i < RECORDS; i++) {
        const struct record *r = &records[i];
        pool_enc_array(&enc, 4);
        pool_enc_int(&enc, r->id);
        pool_enc_double(&enc, r->price);
        pool_enc_bool(&enc, r->fresh);
        pool_enc_text(&enc, r->name, r->length);
    }
}

static void
decode_records(double *sum)
{
    pool_dec_t dec;
    const char *text;
    uint64_t count;
    int64_t id;
    double price, total = 0;
    size_t size;
    bool fresh;

    begin(&dec);
    for (size_t i = 0; i < RECORDS; i++) {
        check(pool_dec_array(&dec, &count));
        check(pool_dec_int(&dec, &id));
        check(pool_dec_double(&dec, &price));
        check(pool_dec_bool(&dec, &fresh));
        check(pool_dec_text(&dec, &text, &size));
        total += (double)id + price + fresh + codec_text(text, size);
    }
    check(pool_dec_finish(&dec));
    *sum = total;
}

static void
encode_doubles(void)
{
    pool_enc_clear(&enc);
    for (size_t i = 0; i < DOUBLES; i++)
        pool_enc_double(&enc, doubles[i]);
}

static void
decode_doubles(double *sum)
{
    pool_dec_t dec;
    double x, total = 0;

    begin(&dec);
    for (size_t i = 0; i < DOUBLES; i++) {
        check(pool_dec_double(&dec, &x));
        total += x;
    }
    check(pool_dec_finish(&dec));
    *sum = total;
}

static void
encode_array(void)
{
    pool_enc_clear(&enc);
    pool_enc_numbers(&enc, POOL_F64, doubles, DOUBLES);
}

static void
decode_array(double *sum)
{
    pool_dec_t dec;
    const void *elements;
    size_t count;

    begin(&dec);
    check(pool_dec_numbers(&dec, POOL_F64, &elements, &count));
    *sum = codec_sum(elements, count);
    check(pool_dec_finish(&dec));
}

int
main(int argc, char **argv)
{
    static const struct shape shapes[] = {
        {"records", encode_records, decode_records, 4 * RECORDS},
        {"doubles", encode_doubles, decode_doubles, DOUBLES},
        {"array", encode_array, decode_array, DOUBLES},
    };

    pool_enc_init_growable(&enc);
    int rc = codec_main(argc, argv, shapes, 3);
    pool_enc_free(&enc);
    return rc;
}
