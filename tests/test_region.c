/* Claims: of worker and supervisor exactly one gets each task, whatever the
 * order; and the words survive being used again lap after lap. And payloads
 * that are copied into a segment or out of one. */
#include "support.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "region.h"
#include "segment.h"

static struct pool__region *
make(void)
{
    struct pool__region *region;
    int fd = -1;

    ck_assert_int_eq(pool__region_create(&fd, POOL__REGION_SIZE), 0);
    region = pool__region_map(fd);
    ck_assert_ptr_nonnull(region);
    close(fd);
    return region;
}

static void
one_of_two_wins(int unused)
{
    struct pool__region *r = make();

    (void)unused;
    for (uint64_t o = 1; o < 5 * POOL__RING; o++) {
        bool claim_first = o % 3 != 0;
        ck_assert(!pool__claimed(r, o));
        if (claim_first) {
            ck_assert(pool__claim(r, o));
            ck_assert(!pool__claim_recall(r, o));
            ck_assert(pool__claimed(r, o));
        } else {
            ck_assert(pool__claim_recall(r, o));
            ck_assert(!pool__claim(r, o));
        }
        ck_assert(!pool__claim(r, o)); /* once and for all */
    }
    pool__region_unmap(r);
}

/* The supervisor takes a lap back and sends the next before the worker has
 * looked: the worker claims nothing of what was recalled. */
static void
a_late_worker_claims_nothing_old(int unused)
{
    struct pool__region *r = make();

    (void)unused;
    for (uint64_t o = 1; o <= 2 * POOL__RING; o++)
        ck_assert(pool__claim_recall(r, o));
    for (uint64_t o = 1; o <= 2 * POOL__RING; o++)
        ck_assert(!pool__claim(r, o));
    ck_assert(pool__claim(r, 2 * POOL__RING + 1));
    pool__region_unmap(r);
}

enum { RACES = 200000 };

static void *
claim_all(void *data)
{
    struct pool__region *r = data;
    uintptr_t won = 0;

    for (uint64_t o = 1; o <= RACES; o++)
        won += pool__claim(r, o);
    return (void *)won;
}

static void
races_have_one_winner(int unused)
{
    struct pool__region *r = make();
    pthread_t worker;
    void *claimed;
    uintptr_t recalled = 0;

    (void)unused;
    ck_assert_int_eq(pthread_create(&worker, NULL, claim_all, r), 0);
    for (uint64_t o = RACES; o >= 1; o--)
        recalled += pool__claim_recall(r, o);
    pthread_join(worker, &claimed);
    /* A recall of a later lap decides the words of earlier ones, which then
     * nobody gets; so at most, not exactly. */
    ck_assert_uint_le((uintptr_t)claimed + recalled, RACES);
    ck_assert_uint_gt((uintptr_t)claimed + recalled, 0);
    pool__region_unmap(r);
}

/* As above within one lap: then each task is had by exactly one. */
static void *
claim_lap(void *data)
{
    struct pool__region *r = data;
    uintptr_t won = 0;

    for (uint64_t o = 1; o < POOL__RING; o++)
        won += pool__claim(r, o);
    return (void *)won;
}

static void
a_lap_is_shared_out(int unused)
{
    (void)unused;
    for (int round = 0; round < 200; round++) {
        struct pool__region *r = make();
        pthread_t worker;
        void *claimed;
        uintptr_t recalled = 0;
        ck_assert_int_eq(pthread_create(&worker, NULL, claim_lap, r), 0);
        for (uint64_t o = POOL__RING - 1; o >= 1; o--)
            recalled += pool__claim_recall(r, o);
        pthread_join(worker, &claimed);
        ck_assert_uint_eq((uintptr_t)claimed + recalled, POOL__RING - 1);
        pool__region_unmap(r);
    }
}

/* Whatever its size and where it goes; and nothing else. */
static void
a_payload_is_copied_whole(int unused)
{
    enum { MOST = (32 << 20) + 80, GUARD = 64 };
    static uint8_t from[MOST], to[GUARD + MOST + 2 * GUARD];

    (void)unused;
    for (size_t i = 0; i < MOST; i++)
        from[i] = (uint8_t)(i * 2654435761u >> 24);
    for (size_t size = MOST - 161; size <= MOST - 16; size++) {
        size_t at = GUARD + size % 3 * 8, source = size % 16;
        memset(to + at - GUARD, 0xaa, GUARD);
        memset(to + at + size, 0xaa, GUARD);
        to[at] = to[at + size - 1] = (uint8_t)~from[source];
        pool__segment_copy(to + at, from + source, size);
        ck_assert_int_eq(memcmp(to + at, from + source, size), 0);
        for (size_t i = 1; i <= GUARD; i++)
            ck_assert(to[at - i] == 0xaa && to[at + size + i - 1] == 0xaa);
    }
}

static const struct test tests[] = {
    {"a_payload_is_copied_whole", a_payload_is_copied_whole},
    {"one_of_two_wins", one_of_two_wins},
    {"a_late_worker_claims_nothing_old", a_late_worker_claims_nothing_old},
    {"races_have_one_winner", races_have_one_winner},
    {"a_lap_is_shared_out", a_lap_is_shared_out},
    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    return test_main("region", tests, argc, argv);
}
