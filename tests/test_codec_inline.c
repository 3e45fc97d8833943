/* The inline parts at their edges. The encoder writes the same bytes with room
 * to spare as into a block that just holds them, and nothing where they do not
 * fit; the decoder's inline functions do what those of the library do with the
 * same name, over every first byte, however much follows. */
#include "codec_check.h"
#include "forkpool_codec.h"

#define ROOM 64

/* ---- Encoder ---- */

struct value {
    enum { INT, UINT, NINT, DOUBLE, TEXT, ARRAY, MAP, TAG, BOOL, NIL } what;
    uint64_t n; /* the integer, the bits of the double, the text's size */
    const char *hex;
};

#define LETTERS "abcdefghijklmnopqrstuvwx"

/* Integers on both sides of each width; floats of each kind that there is, and
 * those next to the edges of single and half. */
static const struct value values[] = {
    {UINT, 0, "00"},
    {UINT, 23, "17"},
    {UINT, 24, "1818"},
    {UINT, 0xff, "18ff"},
    {UINT, 0x100, "190100"},
    {UINT, 0xffff, "19ffff"},
    {UINT, 0x10000, "1a00010000"},
    {UINT, 0xffffffff, "1affffffff"},
    {UINT, UINT64_C(0x100000000), "1b0000000100000000"},
    {UINT, UINT64_MAX, "1bffffffffffffffff"},
    {INT, 23, "17"},
    {INT, 24, "1818"},
    {INT, INT64_MAX, "1b7fffffffffffffff"},
    {INT, ~UINT64_C(0), "20"},
    {INT, ~UINT64_C(23), "37"},
    {INT, ~UINT64_C(24), "3818"},
    {INT, ~UINT64_C(0xff), "38ff"},
    {INT, ~UINT64_C(0x100), "390100"},
    {INT, ~UINT64_C(0xffff), "39ffff"},
    {INT, ~UINT64_C(0x10000), "3a00010000"},
    {INT, ~UINT64_C(0xffffffff), "3affffffff"},
    {INT, ~UINT64_C(0x100000000), "3b0000000100000000"},
    {INT, UINT64_C(1) << 63, "3b7fffffffffffffff"},
    {NINT, UINT64_MAX, "3bffffffffffffffff"},
    {ARRAY, 23, "97"},
    {ARRAY, 24, "9818"},
    {MAP, 256, "b90100"},
    {TAG, 55799, "d9d9f7"},
    {BOOL, 0, "f4"},
    {BOOL, 1, "f5"},
    {NIL, 0, "f6"},
    {TEXT, 0, "60"},
    {TEXT, 1, "6161"},
    {TEXT, 23, "776162636465666768696a6b6c6d6e6f7071727374757677"},
    {TEXT, 24, "78186162636465666768696a6b6c6d6e6f707172737475767778"},
    {DOUBLE, 0, "f90000"},
    {DOUBLE, UINT64_C(0x8000000000000000), "f98000"},
    {DOUBLE, UINT64_C(0x3ff0000000000000), "f93c00"}, /* 1 */
    {DOUBLE, UINT64_C(0x40effc0000000000), "f97bff"}, /* the largest half */
    {DOUBLE, UINT64_C(0x40f0000000000000), "fa47800000"},
    {DOUBLE, UINT64_C(0x3ff0040000000000), "f93c01"}, /* a half's last bit */
    {DOUBLE, UINT64_C(0x3ff0020000000000), "fa3f801000"},
    {DOUBLE, UINT64_C(0xbff0020000000000), "fabf801000"},
    {DOUBLE, UINT64_C(0x3f10000000000000), "f90400"}, /* its least normal */
    {DOUBLE, UINT64_C(0x3e70000000000000), "f90001"}, /* its least */
    {DOUBLE, UINT64_C(0x3e60000000000000), "fa33000000"},
    {DOUBLE, UINT64_C(0x3ff0000020000000), "fa3f800001"}, /* a single's last */
    {DOUBLE, UINT64_C(0xbff0000020000000), "fabf800001"},
    {DOUBLE, UINT64_C(0x3ff0000010000000), "fb3ff0000010000000"},
    {DOUBLE, UINT64_C(0x3ff0000000000001), "fb3ff0000000000001"},
    {DOUBLE, UINT64_C(0x47efffffe0000000), "fa7f7fffff"}, /* the largest */
    {DOUBLE, UINT64_C(0xc7efffffe0000000), "faff7fffff"},
    {DOUBLE, UINT64_C(0x47f0000000000000), "fb47f0000000000000"},
    {DOUBLE, UINT64_C(0x47f0000020000000), "fb47f0000020000000"},
    {DOUBLE, UINT64_C(0x3810000000000000), "fa00800000"}, /* least normal */
    {DOUBLE, UINT64_C(0x3810000020000000), "fa00800001"},
    {DOUBLE, UINT64_C(0x3800000020000000), "fb3800000020000000"},
    {DOUBLE, UINT64_C(0x3800000040000000), "fa00400001"}, /* subnormal */
    {DOUBLE, UINT64_C(0x36a0000000000000), "fa00000001"},
    {DOUBLE, UINT64_C(0x3690000000000000), "fb3690000000000000"},
    {DOUBLE, 1, "fb0000000000000001"},
    {DOUBLE, UINT64_C(0x0000000020000000), "fb0000000020000000"},
    {DOUBLE, UINT64_C(0x000fffffe0000000), "fb000fffffe0000000"},
    {DOUBLE, UINT64_C(0x7ff0000000000000), "f97c00"}, /* infinities */
    {DOUBLE, UINT64_C(0xfff0000000000000), "f9fc00"},
    {DOUBLE, UINT64_C(0x7ff8000000000000), "f97e00"}, /* NaNs */
    {DOUBLE, UINT64_C(0x7ff0040000000000), "f97c01"},
    {DOUBLE, UINT64_C(0x7ff0020000000000), "fa7f801000"},
    {DOUBLE, UINT64_C(0xfff0000020000000), "faff800001"},
    {DOUBLE, UINT64_C(0x7ff0000010000000), "fb7ff0000010000000"},
    {DOUBLE, UINT64_C(0x7ff8000000000001), "fb7ff8000000000001"},
    {DOUBLE, UINT64_C(0xffffffffffffffff), "fbffffffffffffffff"},
};

static void
put(pool_enc_t *enc, const struct value *value)
{
    double x;

    memcpy(&x, &value->n, sizeof x);
    switch (value->what) {
    case INT:
        pool_enc_int(enc, (int64_t)value->n);
        return;
    case UINT:
        pool_enc_uint(enc, value->n);
        return;
    case NINT:
        pool_enc_nint(enc, value->n);
        return;
    case DOUBLE:
        pool_enc_double(enc, x);
        return;
    case TEXT:
        pool_enc_text(enc, LETTERS, (size_t)value->n);
        return;
    case ARRAY:
        pool_enc_array(enc, value->n);
        return;
    case MAP:
        pool_enc_map(enc, value->n);
        return;
    case TAG:
        pool_enc_tag(enc, value->n);
        return;
    case BOOL:
        pool_enc_bool(enc, value->n != 0);
        return;
    case NIL:
        pool_enc_null(enc);
    }
}

/* Into blocks of every size up to more than the longest way asks for. */
START_TEST(test_room)
{
    for (size_t v = 0; v < COUNT(values); v++) {
        unsigned char wanted[ROOM];
        size_t size = unhex(values[v].hex, wanted);
        for (size_t room = 0; room <= size + 10; room++) {
            unsigned char bytes[ROOM], *block = exact_copy(bytes, 0);
            size_t needed, before = room % 2; /* an item may stand before it */
            pool_enc_t enc;

            block = realloc(block, before + room + 1);
            memset(block, 0xa5, before + room + 1);
            pool_enc_init(&enc, block, before + room);
            if (before)
                pool_enc_null(&enc);
            put(&enc, &values[v]);
            int rc = pool_enc_finish(&enc, &needed);
            ck_assert_msg(needed == before + size, "%s took %zu bytes",
                values[v].hex, needed - before);
            ck_assert_int_eq(rc, room >= size ? 0 : POOL_ENOSPC);
            ck_assert_uint_eq(block[before + room], 0xa5);
            if (room >= size)
                ck_assert_msg(memcmp(block + before, wanted, size) == 0,
                    "not %s with room for %zu", values[v].hex, room);
            free(block);
        }
    }
}
END_TEST

/* Without a buffer they count, and so they do after an error, which stays. */
START_TEST(test_counting)
{
    for (size_t v = 0; v < COUNT(values); v++) {
        unsigned char block[ROOM];
        pool_enc_t counter, failed;
        size_t size;

        pool_enc_init(&counter, NULL, 0);
        put(&counter, &values[v]);
        ck_assert_int_eq(pool_enc_finish(&counter, &size), 0);
        ck_assert_uint_eq(size, strlen(values[v].hex) / 2);
        pool_enc_init(&failed, block, sizeof block);
        pool_enc_simple(&failed, 24);
        put(&failed, &values[v]);
        ck_assert_int_eq(pool_enc_finish(&failed, &size), POOL_EINVAL);
        ck_assert_uint_eq(size, strlen(values[v].hex) / 2);
    }
}
END_TEST

START_TEST(test_text_without_data)
{
    for (size_t size = 0; size <= 24; size++) {
        unsigned char block[ROOM];
        pool_enc_t enc;

        pool_enc_init(&enc, block, sizeof block);
        pool_enc_text(&enc, NULL, size);
        ck_assert_int_eq(
            pool_enc_finish(&enc, NULL), size > 0 ? POOL_EINVAL : 0);
    }
}
END_TEST

/* ---- Decoder ---- */

/* What a read gave: a result that an error leaves as it was. */
struct got {
    int rc, error;
    uint64_t value, size;
    size_t at, offset, checked;
    const char *reason;
};

enum reader { AS_INT, AS_UINT, AS_DOUBLE, AS_BOOL, AS_TEXT, AS_ARRAY, READERS };

/* The same read by an inline function or by the library's. */
static struct got
read_as(enum reader reader, pool_dec_t *dec, bool library)
{
    struct got got = {0, 0, 0, 0, 0, 0, 0, NULL};
    int64_t n = 77;
    uint64_t u = 77;
    double x = 77;
    bool b = true;
    const char *text = NULL;
    size_t size = 77;

    switch (reader) {
    case AS_INT:
        got.rc = library ? pool_dec_get_int(dec, &n) : pool_dec_int(dec, &n);
        got.value = (uint64_t)n;
        break;
    case AS_UINT:
        got.rc = library ? pool_dec_get_uint(dec, &u) : pool_dec_uint(dec, &u);
        got.value = u;
        break;
    case AS_DOUBLE:
        got.rc =
            library ? pool_dec_get_double(dec, &x) : pool_dec_double(dec, &x);
        memcpy(&got.value, &x, sizeof x);
        break;
    case AS_BOOL:
        got.rc = library ? pool_dec_get_bool(dec, &b) : pool_dec_bool(dec, &b);
        got.value = b;
        break;
    case AS_TEXT:
        got.rc = library ? pool_dec_get_text(dec, &text, &size)
                         : pool_dec_text(dec, &text, &size);
        got.value = text == NULL ? UINT64_MAX
                                 : (uint64_t)(text - (const char *)dec->start);
        got.size = size;
        break;
    default:
        got.rc =
            library ? pool_dec_get_array(dec, &u) : pool_dec_array(dec, &u);
        got.value = u;
    }
    got.error = dec->error;
    got.at = (size_t)(dec->at - dec->start);
    got.offset = pool_dec_offset(dec);
    got.checked = (size_t)(dec->checked - dec->start);
    got.reason = dec->reason;
    return got;
}

static bool
same(const struct got *a, const struct got *b)
{
    return a->rc == b->rc && a->error == b->error && a->value == b->value &&
           a->size == b->size && a->at == b->at && a->offset == b->offset &&
           a->checked == b->checked && a->reason == b->reason;
}

/* One read of these bytes both ways; then again, where an error stays. */
static void
compare(enum reader reader, const unsigned char *bytes, size_t size)
{
    unsigned char *data = exact_copy(bytes, size);
    pool_dec_t here, there;

    pool_dec_init(&here, data, size);
    pool_dec_init(&there, data, size);
    for (int again = 0; again < 2; again++) {
        struct got a = read_as(reader, &here, false);
        struct got b = read_as(reader, &there, true);
        if (!same(&a, &b))
            ck_abort_msg("reader %d, first byte %02x of %zu: %d %llx at %zu, "
                         "not %d %llx at %zu",
                (int)reader, bytes[0], size, a.rc, (unsigned long long)a.value,
                a.offset, b.rc, (unsigned long long)b.value, b.offset);
    }
    free(data);
}

START_TEST(test_every_first_byte)
{
    random_seed("inline reads");
    for (unsigned first = 0; first <= 0xff; first++) {
        for (size_t size = 0; size <= 26; size++) {
            unsigned char bytes[32];
            for (unsigned i = 0; i < 16; i++) {
                bytes[0] = (unsigned char)first;
                /* Exponents of ones and zeros are the rare kinds. */
                for (size_t k = 1; k < sizeof bytes; k++)
                    bytes[k] = (unsigned char)(i < 4    ? (i & 1) * 0xff
                                               : i < 12 ? random_u64()
                                                        : random_below(24));
                if (i == 4 || i == 5)
                    bytes[1] = i & 1 ? 0xff : 0x7f;
                for (int reader = 0; reader < READERS; reader++)
                    compare((enum reader)reader, bytes, size);
            }
        }
    }
}
END_TEST

/* What is encoded is read back from a block that ends with it, with more
 * behind it, and one byte short. */
START_TEST(test_there_and_back)
{
    for (size_t v = 0; v < COUNT(values); v++) {
        unsigned char bytes[ROOM] = {0};
        size_t size = unhex(values[v].hex, bytes);
        for (size_t more = 0; more <= 10; more++) {
            unsigned char *data = exact_copy(bytes, size + more);
            pool_dec_t dec;
            double x;
            uint64_t n;

            pool_dec_init(&dec, data, size + more);
            if (values[v].what == DOUBLE) {
                ck_assert_int_eq(pool_dec_double(&dec, &x), 0);
                ck_assert_mem_eq(&x, &values[v].n, sizeof x);
            } else if (values[v].what == INT) {
                ck_assert_int_eq(pool_dec_int(&dec, (int64_t *)&n), 0);
                ck_assert_uint_eq(n, values[v].n);
            } else if (values[v].what == UINT) {
                ck_assert_int_eq(pool_dec_uint(&dec, &n), 0);
                ck_assert_uint_eq(n, values[v].n);
            } else {
                size = 0;
            }
            ck_assert_uint_eq(pool_dec_offset(&dec), size);
            free(data);
        }
        for (int reader = 0; size > 0 && reader < READERS; reader++)
            compare((enum reader)reader, bytes, size - 1);
    }
}
END_TEST

/* Arrays and maps of every short form against the cursor's other way in, whose
 * checker has a stack. Depth 0 takes none. */
START_TEST(test_containers)
{
    random_seed("inline containers");
    for (unsigned i = 0; i < rounds(100000); i++) {
        unsigned char bytes[40];
        size_t size = random_below(sizeof bytes + 1);
        unsigned major = 4 + (unsigned)random_below(2);
        unsigned depth = (unsigned)random_below(3);
        pool_dec_t dec, other;
        pool_item_t item;
        uint64_t count = 77;

        bytes[0] = (unsigned char)(major << 5 | random_below(6));
        for (size_t k = 1; k < sizeof bytes; k++) /* mostly plain and short */
            bytes[k] = (unsigned char)(random_u64() &
                                       (random_below(16) ? 0x63 : 0xff));
        unsigned char *data = exact_copy(bytes, size);
        pool_dec_init(&dec, data, size);
        pool_dec_init(&other, data, size);
        pool_dec_set_depth(&dec, depth);
        pool_dec_set_depth(&other, depth);
        int wanted = size == 0 ? POOL_EFORMAT : pool_dec_next(&other, &item);
        int rc = major == 4 ? pool_dec_array(&dec, &count)
                            : pool_dec_map(&dec, &count);
        require(rc == wanted);
        if (size > 0) {
            require(pool_dec_offset(&dec) == pool_dec_offset(&other));
            require(dec.checked == other.checked);
            require(dec.reason == other.reason);
        }
        require(count == (rc == 0 ? item.value : 77));
        free(data);
    }
}
END_TEST

/* Every first byte in an array that was checked, where a short way is open to
 * what is well-formed. */
START_TEST(test_within)
{
    static const unsigned char fillers[] = {0, 0xff, 0x18};
    unsigned entered = 0;

    for (unsigned first = 0; first <= 0xff; first++) {
        for (size_t f = 0; f < COUNT(fillers); f++) {
            unsigned char bytes[32] = {0x81, (unsigned char)first, fillers[f]};
            uint64_t count;
            pool_dec_t here, there;

            memset(bytes + 3, fillers[f] == 0xff ? 0xff : 0, sizeof bytes - 3);
            pool_dec_init(&here, bytes, sizeof bytes);
            if (pool_dec_array(&here, &count) < 0)
                continue;
            there = here;
            struct got a = read_as(AS_ARRAY, &here, false);
            struct got b = read_as(AS_ARRAY, &there, true);
            ck_assert_msg(same(&a, &b), "first byte %02x: %llu, not %llu",
                first, (unsigned long long)a.value,
                (unsigned long long)b.value);
            entered += a.rc == 0;
        }
    }
    ck_assert_uint_gt(entered, 24);
}
END_TEST

/* Arrays in an array that was checked; a read that is refused stays so for all
 * that follow, and stores nothing. */
START_TEST(test_sticky)
{
    const unsigned char bytes[] = {0x84, 0x80, 0x81, 0x01, 0x61, 0x61, 0xf5};
    pool_dec_t dec;
    uint64_t count;

    pool_dec_init(&dec, bytes, sizeof bytes);
    ck_assert_int_eq(pool_dec_array(&dec, &count), 0);
    ck_assert_uint_eq(count, 4);
    ck_assert_int_eq(pool_dec_array(&dec, &count), 0);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(pool_dec_array(&dec, &count), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(pool_dec_array(&dec, &count), POOL_EFORMAT);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(pool_dec_offset(&dec), 3);
    for (int reader = 0; reader < READERS; reader++) {
        struct got got = read_as((enum reader)reader, &dec, false);
        struct got same_again = read_as((enum reader)reader, &dec, true);
        ck_assert_int_eq(got.rc, POOL_EFORMAT);
        ck_assert_uint_eq(got.offset, 3);
        ck_assert(same(&got, &same_again));
        if (reader != AS_DOUBLE && reader != AS_TEXT)
            ck_assert_uint_eq(got.value, reader == AS_BOOL ? 1 : 77);
    }
    ck_assert_int_eq(pool_dec_finish(&dec), POOL_EFORMAT);
}
END_TEST

int
main(void)
{
    const struct test tests[] = {
        {"room", test_room, 0},
        {"counting", test_counting, 0},
        {"text without data", test_text_without_data, 0},
        {"every first byte", test_every_first_byte, 0},
        {"there and back", test_there_and_back, 0},
        {"containers", test_containers, 0},
        {"within", test_within, 0},
        {"sticky", test_sticky, 0},
    };

    return run_tests("codec: inline parts", tests, COUNT(tests));
}
