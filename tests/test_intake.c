/* The block that a worker reads into: what was read and not served is kept
 * whatever comes, and what comes next lies on its page as it did in the pipe.
 */
#define _GNU_SOURCE
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "intake.h"
#include "mem.h"

#define SEED 20261128u

static struct pool__intake in;

static uint8_t
byte_at(uint64_t position)
{
    return (uint8_t)(position * 2654435761u >> 24);
}

/* Where a page would have the next byte, if a multiple of 8 were there. */
static bool
begins_a_page(void)
{
    return ((uintptr_t)(in.bytes + in.have) + 7) % POOL__FRONT < 8;
}

/* N bytes of the stream come; POSITION is the first one. */
static void
come(uint64_t position, size_t n)
{
    ck_assert_uint_le(n, in.size - in.have);
    for (size_t i = 0; i < n; i++)
        in.bytes[in.have + i] = byte_at(position + i);
    in.have += n;
}

/* What is there are the bytes of the stream from POSITION on. */
static void
check_kept(uint64_t position)
{
    size_t wrong = 0;

    for (size_t i = in.at; i < in.have; i++)
        wrong += in.bytes[i] != byte_at(position + i - in.at);
    ck_assert_uint_eq(wrong, 0);
}

static void
begin(bool counted)
{
    test_begin();
    in = (struct pool__intake){.counted = counted};
    ck_assert_int_eq(pool__intake_room(&in, POOL__INTAKE_SIZE), 0);
}

static void
end(void)
{
    pool__free(in.bytes);
    test_end();
}

static void
what_comes_begins_a_page(int unused)
{
    uint64_t served = 0;

    (void)unused;
    begin(false);
    ck_assert(begins_a_page());
    for (size_t rest = 0; rest < POOL__FRONT; rest++) {
        size_t kept = in.have - in.at;
        come(served + kept, 5000 + rest - kept);
        in.at += 5000;
        served += 5000;
        ck_assert_int_eq(pool__intake_room(&in, POOL__INTAKE_SIZE), 0);
        ck_assert_uint_eq(in.have - in.at, rest);
        ck_assert_uint_eq((uintptr_t)(in.bytes + in.at) % 8, 0);
        ck_assert_uint_le(POOL__INTAKE_SIZE, in.size - in.at);
        ck_assert(begins_a_page());
        check_kept(served);
    }
    end();
}

/* A large frame comes in pieces and is not moved for each of them. */
static void
much_stays_where_it_is(int unused)
{
    const size_t need = 8u << 20, piece = 100000;
    size_t at = 0;
    const uint8_t *bytes = NULL;

    (void)unused;
    begin(false);
    come(0, 24);
    for (size_t have = 24; have < need; have = in.have - in.at) {
        ck_assert_int_eq(pool__intake_room(&in, need), 0);
        ck_assert_uint_le(need, in.size - in.at);
        ck_assert_uint_eq(in.have - in.at, have);
        if (have > POOL__FRONT) {
            ck_assert_uint_eq(in.at, at);
            ck_assert_ptr_eq(in.bytes, bytes);
        } else {
            ck_assert(begins_a_page());
        }
        at = in.at;
        bytes = in.bytes;
        come(have, pool__min(piece, need - have));
    }
    check_kept(0);
    end();
}

/* Pieces, frames and needs of all sizes, in any order. */
static void
nothing_is_lost(int unused)
{
    unsigned seed = SEED;
    uint64_t served = 0;

    (void)unused;
    for (int counted = 0; counted <= 1; counted++) {
        begin(counted);
        served = 0;
        for (int i = 0; i < 1000; i++) {
            size_t need = i % 100 == 0  ? 6u << 20
                          : i % 10 == 0 ? POOL__INTAKE_SIZE + 1000
                                        : POOL__INTAKE_SIZE;
            ck_assert_int_eq(pool__intake_room(&in, need), 0);
            ck_assert_uint_lt(in.have, in.size);
            size_t kept = in.have - in.at;
            size_t room = pool__min(in.size - in.have, POOL__INTAKE_SIZE);
            come(served + kept, 1 + (size_t)rand_r(&seed) % room);
            check_kept(served);
            size_t whole = (in.have - in.at) / 8 * 8;
            size_t n = (size_t)rand_r(&seed) % (whole + 1) / 8 * 8;
            n = i % 3 == 0 ? whole : n; /* most of it was whole frames */
            in.at += n;
            served += n;
        }
        end();
    }
}

static const struct test tests[] = {
    {"what_comes_begins_a_page", what_comes_begins_a_page},
    {"much_stays_where_it_is", much_stays_where_it_is},
    {"nothing_is_lost", nothing_is_lost},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("intake", tests, argc, argv);
}
