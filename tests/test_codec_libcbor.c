/* Agreement with a second implementation, libcbor's cbor_load: on random
 * well-formed items, on cut and on mutated ones, both accept or both refuse,
 * and an accepted item ends at the same byte. Where the two differ the RFC
 * decides; each such case is a row of the table below. */
#include <cbor.h>

#include "codec_check.h"
#include "forkpool_codec.h"

static unsigned char buffer[1 << 15];

/* ---- What both say ---- */

static bool
theirs(const unsigned char *data, size_t size, size_t *read)
{
    struct cbor_load_result result;
    cbor_item_t *item = cbor_load(data, size, &result);

    *read = result.read;
    if (item == NULL)
        return false;
    cbor_decref(&item);
    return true;
}

static int
ours(const unsigned char *data, size_t size, size_t *read, size_t *fault)
{
    pool_dec_t dec;

    pool_dec_init(&dec, data, size);
    pool_dec_set_depth(&dec, POOL_DEPTH_MAX);
    int rc = pool_dec_value(&dec, NULL, NULL);
    *read = (size_t)(dec.at - dec.start);
    *fault = pool_dec_offset(&dec);
    return rc;
}

/* ---- Where they differ ---- */

static const struct {
    const char *name, *hex;
    bool accept; /* what the RFC says and forkpool does */
    const char *paragraph;
} differences[] = {
    {"an unassigned simple value in one byte", "f0", true,
        "RFC 8949 section 3.3, appendix A: simple(16)"},
    {"an unassigned simple value in two bytes", "f8ff", true,
        "RFC 8949 section 3.3, appendix A: simple(255)"},
    {"a tag of 6 to 20 in one byte, the first", "c600", true,
        "RFC 8949 section 3.4: any number is well-formed"},
    {"a tag of 6 to 20 in one byte, the last", "d400", true,
        "RFC 8949 section 3.4: any number is well-formed"},
    {"a text that is not UTF-8", "61ff", true,
        "RFC 8949 sections 1.2 and 5.3.1: not valid, but well-formed"},
    {"a chunk that is not UTF-8", "7f61c3ff", true,
        "RFC 8949 sections 3.2.3 and 5.3.1: not valid, but well-formed"},
};

/* Whether an item holds what libcbor refuses although it is well-formed. */
static bool
differs(const unsigned char *data, size_t size)
{
    pool_item_t item;
    pool_dec_t dec;

    pool_dec_init(&dec, data, size);
    pool_dec_set_depth(&dec, POOL_DEPTH_MAX);
    while (dec.at < dec.end) {
        unsigned initial = *dec.at;
        pool_dec_next(&dec, &item);
        if (item.type == POOL_ITEM_SIMPLE)
            return true;
        if (initial >= 0xc6 && initial <= 0xd4)
            return true;
        if (item.type == POOL_ITEM_TEXT && item.data != NULL &&
            pool_check_utf8(item.data, item.value) < 0)
            return true;
    }
    return false;
}

START_TEST(test_difference)
{
    unsigned char bytes[16];
    size_t read, fault, size = unhex(differences[_i].hex, bytes);

    ck_assert_int_eq(
        ours(bytes, size, &read, &fault) == 0, differences[_i].accept);
    ck_assert_msg(theirs(bytes, size, &read) != differences[_i].accept,
        "%s: libcbor agrees by now; take the row out", differences[_i].name);
}
END_TEST

/* ---- Agreement ---- */

/* libcbor allocates for, and writes to, as many items as a head promises, and
 * goes on for a while after what forkpool stops at. Data that could make it
 * ask for gigabytes is not shown to it. */
static bool
promises_memory(const unsigned char *data, size_t size, size_t from)
{
    for (size_t i = from; i < size; i++) {
        unsigned major = data[i] >> 5, info = data[i] & 31;
        if ((major == 4 || major == 5) && (info == 26 || info == 27))
            return true;
    }
    return false;
}

static void
print_hex(const unsigned char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        fprintf(stderr, "%02x", data[i]);
    fputc('\n', stderr);
}

static void
agree(const unsigned char *bytes, size_t size)
{
    size_t our_size, their_size;
    unsigned char *data = exact_copy(bytes, size);
    size_t fault;
    int rc = ours(data, size, &our_size, &fault);

    if (rc != 0 && promises_memory(data, size, fault)) {
        free(data);
        return;
    }
    bool accepted = theirs(data, size, &their_size);

    bool same = rc == 0 ? accepted && our_size == their_size : !accepted;
    if (rc == 0 && !accepted && differs(data, our_size))
        same = true;
    if (!same) {
        print_hex(data, size);
        ck_abort_msg("forkpool %d (%zu bytes), libcbor %d (%zu bytes)", rc,
            our_size, accepted, their_size);
    }
    free(data);
}

/* Well-formed, then cut, then with bytes changed. */
START_TEST(test_random)
{
    random_seed("libcbor");
    for (unsigned round = 0; round < rounds(5000); round++) {
        struct foreign out = {buffer, buffer + sizeof buffer};
        size_t read, fault;
        foreign_item(&out, (unsigned)random_below(7));
        size_t size = (size_t)(out.at - buffer);
        require(ours(buffer, size, &read, &fault) == 0 && read == size);
        agree(buffer, size);
        agree(buffer, size - 1 - random_below(size));
        for (int i = 0; i < 4; i++) {
            buffer[random_below(size)] = (unsigned char)random_u64();
            agree(buffer, size);
        }
    }
}
END_TEST

/* Short noise: most of what can go wrong does so within a few bytes. */
START_TEST(test_noise)
{
    random_seed("libcbor noise");
    for (unsigned round = 0; round < rounds(50000); round++) {
        static const unsigned char heads[] = {0x1f, 0x5f, 0x7f, 0x9f, 0xbf,
            0xdf, 0xff, 0x81, 0x82, 0xa1, 0xc1, 0x41, 0x61, 0xf8, 0x18};
        size_t size = 1 + random_below(10);
        for (size_t i = 0; i < size; i++)
            buffer[i] = random_below(2) ? heads[random_below(COUNT(heads))]
                                        : (unsigned char)random_u64();
        agree(buffer, size);
    }
}
END_TEST

int
main(void)
{
    const struct test tests[] = {
        {"differences", test_difference, COUNT(differences)},
        {"random", test_random, 0},
        {"noise", test_noise, 0},
    };

    return run_tests("codec: agreement with libcbor", tests, COUNT(tests));
}
