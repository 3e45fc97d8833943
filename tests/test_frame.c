/* Frames: headers byte by byte, and the splitter at every split point. */
#include "codec_check.h"
#include "error.h"
#include "frame.h"

#define LIMIT 1000u

/* Write a frame with a payload of 0xee; its extent. */
static size_t
put_frame(unsigned char *to, uint16_t type, uint32_t size, uint64_t id)
{
    struct pool__frame frame = {size, type, 0xbeef, id};
    size_t extent = pool__frame_extent(size);

    memset(to, 0, extent);
    pool__frame_put(to, &frame);
    memset(to + POOL__FRAME_HEADER, 0xee, size);
    return extent;
}

START_TEST(test_header_bytes)
{
    static const unsigned char wire[16] = {0x04, 0x03, 0x02, 0x01, 0x03, 0x00,
        0xcd, 0xab, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11};
    struct pool__frame frame = {
        0x01020304, POOL__FRAME_REPLY, 0xabcd, UINT64_C(0x1112131415161718)};
    struct pool__frame seen;
    unsigned char bytes[16];

    pool__frame_put(bytes, &frame);
    ck_assert_mem_eq(bytes, wire, sizeof wire);
    ck_assert_int_eq(
        pool__frame_split(bytes, 16, POOL__FRAME_MAX_PAYLOAD, &seen), 0);
    ck_assert_uint_eq(seen.size, frame.size);
    ck_assert_uint_eq(seen.type, frame.type);
    ck_assert_uint_eq(seen.flags, frame.flags);
    ck_assert_uint_eq(seen.id, frame.id);
}
END_TEST

START_TEST(test_extent)
{
    static const struct {
        uint32_t size;
        uint64_t extent;
    } rows[] = {{0, 16}, {1, 24}, {7, 24}, {8, 24}, {9, 32}, {16, 32},
        {POOL__FRAME_MAX_PAYLOAD, UINT64_C(0x100000000)},
        {UINT32_MAX, UINT64_C(0x100000010)}};

    for (size_t i = 0; i < COUNT(rows); i++)
        ck_assert_uint_eq(pool__frame_extent(rows[i].size), rows[i].extent);
}
END_TEST

/* Each size, apart and by so many bytes one over the other: as memmove does,
 * and no byte beside it is touched. */
START_TEST(test_payloads_are_moved)
{
    enum { MIDDLE = 256, MOST = 2 * POOL__SHORT };
    unsigned char mine[2 * MIDDLE + MOST], theirs[sizeof mine];

    for (size_t n = 0; n <= MOST; n++)
        for (size_t to = 0; to <= 2 * MIDDLE; to++) {
            for (size_t i = 0; i < sizeof mine; i++)
                mine[i] = theirs[i] = (unsigned char)(i * 7 + n);
            pool__move(mine + to, mine + MIDDLE, n);
            memmove(theirs + to, theirs + MIDDLE, n);
            ck_assert_mem_eq(mine, theirs, sizeof mine);
        }
}
END_TEST

/* A stream of frames of all paddings, cut anywhere: whole frames come out
 * whole, of the cut one no more than its header, and nothing is overread. */
START_TEST(test_every_split_point)
{
    static const uint32_t sizes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 64, 0, 100};
    unsigned char stream[1024];
    size_t n = 0;

    for (size_t i = 0; i < COUNT(sizes); i++)
        n += put_frame(stream + n, (uint16_t)(1 + i % 7), sizes[i], i);
    for (size_t cut = 0; cut <= n; cut++) {
        unsigned char *data = exact_copy(stream, cut);
        size_t at = 0, i = 0;
        struct pool__frame frame;
        int64_t step;
        while ((step = pool__frame_split(data + at, cut - at, LIMIT, &frame)) >
               0) {
            ck_assert_uint_eq((uint64_t)step, pool__frame_extent(sizes[i]));
            ck_assert_uint_eq(frame.size, sizes[i]);
            ck_assert_uint_eq(frame.type, 1 + i % 7);
            ck_assert_uint_eq(frame.id, i);
            at += (size_t)step;
            i++;
        }
        ck_assert_int_eq(step, 0);
        if (cut == n) {
            ck_assert_uint_eq(at, n);
        } else {
            ck_assert_uint_lt(cut - at, pool__frame_extent(sizes[i]));
            if (cut - at >= POOL__FRAME_HEADER)
                ck_assert_uint_eq(frame.id, i);
        }
        free(data);
    }
}
END_TEST

/* What breaks the protocol is told by the header alone. */
START_TEST(test_bad_header)
{
    static const struct {
        uint32_t size, limit;
        uint16_t type;
        int result;
    } rows[] = {
        {0, LIMIT, 0, POOL_EPROTO},
        {0, LIMIT, POOL__FRAME_TYPES, POOL_EPROTO},
        {0, LIMIT, 0xffff, POOL_EPROTO},
        {LIMIT, LIMIT, POOL__FRAME_CALL, 0},
        {LIMIT + 1, LIMIT, POOL__FRAME_CALL, POOL_EPROTO},
        {UINT32_MAX, LIMIT, POOL__FRAME_CALL, POOL_EPROTO},
        {UINT32_MAX, UINT32_MAX, POOL__FRAME_CALL, POOL_EPROTO},
        {POOL__FRAME_MAX_PAYLOAD, UINT32_MAX, POOL__FRAME_CALL, 0},
        {POOL__FRAME_MAX_PAYLOAD + 1, UINT32_MAX, POOL__FRAME_CALL,
            POOL_EPROTO},
        {1, 0, POOL__FRAME_STOP, POOL_EPROTO},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct pool__frame frame = {rows[i].size, rows[i].type, 0, 1};
        unsigned char header[16];
        pool__frame_put(header, &frame);
        unsigned char *data = exact_copy(header, sizeof header);
        ck_assert_int_eq(
            pool__frame_split(data, 16, rows[i].limit, &frame), rows[i].result);
        ck_assert_int_eq(pool__frame_split(data, 15, rows[i].limit, &frame), 0);
        free(data);
    }
}
END_TEST

/* Any bit in any byte of the padding, and only there. */
START_TEST(test_padding)
{
    unsigned char bytes[64];
    struct pool__frame frame;

    for (uint32_t size = 0; size <= 16; size++) {
        size_t n = put_frame(bytes, POOL__FRAME_LOG, size, 5);
        for (size_t at = 16; at < n; at++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                unsigned char *data = exact_copy(bytes, n);
                data[at] ^= (unsigned char)(1u << bit);
                int64_t expected = at < 16 + size ? (int64_t)n : POOL_EPROTO;
                ck_assert_int_eq(
                    pool__frame_split(data, n, LIMIT, &frame), expected);
                free(data);
            }
        }
    }
}
END_TEST

/* Frames stand at any address. */
START_TEST(test_unaligned)
{
    unsigned char bytes[64];
    struct pool__frame frame;

    for (size_t at = 0; at < 8; at++) {
        size_t n = put_frame(bytes + at, POOL__FRAME_HELLO, 3, at);
        ck_assert_int_eq(
            pool__frame_split(bytes + at, n, LIMIT, &frame), (int64_t)n);
        ck_assert_uint_eq(frame.id, at);
    }
}
END_TEST

int
main(void)
{
    const struct test tests[] = {
        {"header bytes", test_header_bytes, 0},
        {"extent", test_extent, 0},
        {"payloads are moved", test_payloads_are_moved, 0},
        {"every split point", test_every_split_point, 0},
        {"bad header", test_bad_header, 0},
        {"padding", test_padding, 0},
        {"unaligned", test_unaligned, 0},
    };

    return run_tests("frame", tests, COUNT(tests));
}
