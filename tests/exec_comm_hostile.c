/* Ranks that lie about what they give: each costs the liar its life, the
 * others are told that it is gone, and the pool goes on. */
#include "peers.h"

#include <unistd.h>

#include "frame.h"
#include "proto.h"

enum lie {
    NOTHING,
    HALF_A_HEAD,
    ALMOST_A_HEAD,
    NO_KIND,
    UNKNOWN_KIND,
    UNKNOWN_FAULT,
    DIRTY_HEAD,
    BARRIER_WITH_BYTES,
    BARRIER_WITH_A_COUNT,
    BCAST_TOO_SHORT,
    BCAST_FROM_A_LEAF,
    VALUE_FROM_A_LEAF,
    GATHER_WITH_A_COUNT,
    SUM_TOO_SHORT,
    SUM_OF_BYTES,
    UNKNOWN_TYPE,
    UNKNOWN_OP,
    TYPE_OF_A_BARRIER,
    SIZES_MISSING,
    LONG_COMPLAINT,
    WITH_FLAGS,
    OF_ANOTHER_CALL,
    TWICE,
    AND_A_RESULT,
    AND_AN_ERROR,
    LIES
};

/* What such a rank says: an offer, and how many bytes follow it. */
struct said {
    struct pool__offer offer;
    size_t bytes;
};

static const struct said said[LIES] = {
    [NO_KIND] = {{0, 0, 0, 0, 0}, 0},
    [UNKNOWN_KIND] = {{POOL__COLLECTIVES, 0, 0, 0, 0}, 0},
    [UNKNOWN_FAULT] = {{POOL__BARRIER, 0, 0, POOL__FAULTS, 0}, 0},
    [DIRTY_HEAD] = {{POOL__BARRIER, 0, 0, 0, 0}, 0},
    [BARRIER_WITH_BYTES] = {{POOL__BARRIER, 0, 0, 0, 0}, 8},
    [BARRIER_WITH_A_COUNT] = {{POOL__BARRIER, 0, 0, 0, 1}, 0},
    [BCAST_TOO_SHORT] = {{POOL__BCAST, 0, 0, 0, 16}, 8},
    [BCAST_FROM_A_LEAF] = {{POOL__BCAST, 0, 0, 0, 8}, 8},
    [VALUE_FROM_A_LEAF] = {{POOL__BCAST_VALUE, 0, 0, 0, 0}, 8},
    [GATHER_WITH_A_COUNT] = {{POOL__ALLGATHER, 0, 0, 0, 8}, 8},
    [SUM_TOO_SHORT] = {{POOL__ALLREDUCE, 0, 0, 0, UINT64_MAX}, 8},
    [SUM_OF_BYTES] = {{POOL__ALLREDUCE, 0, 0, 0, 1}, 9},
    [UNKNOWN_TYPE] = {{POOL__ALLREDUCE, 2, 0, 0, 1}, 8},
    [UNKNOWN_OP] = {{POOL__ALLREDUCE, 0, 4, 0, 1}, 8},
    [TYPE_OF_A_BARRIER] = {{POOL__BARRIER, 1, 0, 0, 0}, 0},
    [SIZES_MISSING] = {{POOL__GATHERV, 0, 0, 0, 0}, 16},
    [LONG_COMPLAINT] = {{POOL__BARRIER, 0, 0, POOL__FAULT_ARGUMENT, 0},
        POOL__FAULT_TEXT_MAX + 1},
    [WITH_FLAGS] = {{POOL__BARRIER, 0, 0, 0, 0}, 0},
    [OF_ANOTHER_CALL] = {{POOL__BARRIER, 0, 0, 0, 0}, 0},
    [TWICE] = {{POOL__BARRIER, 0, 0, 0, 0}, 0},
    [AND_A_RESULT] = {{POOL__BARRIER, 0, 0, 0, 0}, 0},
    [AND_AN_ERROR] = {{POOL__BARRIER, 0, 0, 0, 0}, 0},
};

/* A frame at the end of what is to be written. */
static size_t
put(unsigned char *to, const struct pool__frame *frame, const void *payload)
{
    pool__frame_put(to, frame);
    memcpy(to + POOL__FRAME_HEADER, payload, frame->size);
    return (size_t)pool__frame_extent(frame->size);
}

/* One write, so that the host reads all of it at once. */
static void
tell(enum lie lie, int rank)
{
    unsigned char payload[512] = {0}, all[2048] = {0};
    struct pool__frame frame = {.type = POOL__FRAME_COLLECTIVE,
        .id = pool__frame_id((uint64_t)rank + 1, 0),
        .size = (uint32_t)(POOL__OFFER_SIZE + said[lie].bytes)};
    struct pool__error error = {POOL_ETASK, 1, "no"};

    pool__offer_put(payload, &said[lie].offer);
    payload[5] = lie == DIRTY_HEAD;
    frame.flags = lie == WITH_FLAGS;
    frame.id += lie == OF_ANOTHER_CALL;
    if (lie <= ALMOST_A_HEAD)
        frame.size = lie == NOTHING ? 0 : lie == HALF_A_HEAD ? 8 : 15;
    size_t n = put(all, &frame, payload);
    if (lie == AND_AN_ERROR) {
        frame.type = POOL__FRAME_ERROR;
        frame.size = (uint32_t)pool__error_encode(payload, &error);
    } else if (lie == AND_A_RESULT) {
        frame.type = POOL__FRAME_REPLY;
        frame.size = 0;
    }
    if (lie >= TWICE)
        n += put(all + n, &frame, payload);
    if (write(test_result_pipe(), all, n) != (ssize_t)n)
        _exit(1);
}

struct lying {
    int lie, liar, told;
};

static int
rank_lies(pool_comm_t *comm, void *shared)
{
    struct lying *lying = shared;

    if (pool_comm_rank(comm) == lying->liar) {
        tell((enum lie)lying->lie, lying->liar);
        for (;;)
            pause();
    }
    /* What was said at first may have been fine, and enough. */
    int rc = pool_barrier(comm);
    if (rc == 0 && lying->lie >= TWICE)
        rc = pool_barrier(comm);
    NEED(rc == POOL_EDIED);
    raise_word(&lying->told, 1);
    return 0;
}

static pool_t *
open_pool(const struct drive *d)
{
    pool_options_t options = POOL_OPTIONS_INIT;

    options.workers = options.min_workers = 3;
    options.spin_us = POOL_NONE; /* a lie is read from the pipe */
    return drive_open(d, &options);
}

static void
every_lie(const struct drive *d)
{
    for (int lie = 0; lie < LIES; lie++) {
        struct lying *lying = test_shared(sizeof *lying);
        pool_t *pool = open_pool(d);
        lying->lie = lie;
        lying->liar = lie == SIZES_MISSING || lie == BCAST_TOO_SHORT ? 0 : 1;
        pool_scatter_t *s = peers_start(pool, rank_lies, lying, 3);
        for (int i = 0; i < 3; i++) {
            int rc = peer_code(d, s, i);
            ck_assert_msg(rc == (i == lying->liar ? POOL_EPROTO : 0),
                "lie %d: rank %d: %d", lie, i, rc);
        }
        ck_assert_int_eq(lying->told, 2);
        pool_scatter_free(s);
        drive_works(d, pool);
        /* It began its task: that it died is no failed start. */
        pool_stats_t stats = POOL_STATS_INIT;
        ck_assert_int_eq(pool_stats(pool, &stats), 0);
        ck_assert_uint_eq(stats.start_failures, 0);
        drive_destroy(d, pool);
    }
}

/* A task that is no rank of a group gives something. */
static int
task_gives(pool_call_t *call)
{
    (void)call;
    tell(TWICE, 0);
    for (;;)
        pause();
    return 0;
}

static void
no_rank(const struct drive *d)
{
    pool_t *pool = open_pool(d);

    ck_assert_int_eq(drive_end(d, submit(pool, task_gives)), POOL_EPROTO);
    drive_works(d, pool);
    drive_destroy(d, pool);
}

/* The beginning of a part and no more: the pool can be ended, and nothing is
 * held for what was only promised. */
static int
rank_promises(pool_comm_t *comm, void *shared)
{
    unsigned char bytes[POOL__FRAME_HEADER];
    struct pool__frame frame = {.type = POOL__FRAME_COLLECTIVE,
        .id = pool__frame_id((uint64_t)pool_comm_rank(comm) + 1, 0),
        .size = 250u << 20};

    pool__frame_put(bytes, &frame);
    if (write(test_result_pipe(), bytes, sizeof bytes) < 0)
        _exit(1);
    raise_word(shared, 1);
    for (;;)
        pause();
    return 0;
}

static void
promises(const struct drive *d)
{
    pool_t *pool = open_pool(d);
    int *promised = test_shared(sizeof *promised);
    pool_scatter_t *s = peers_start(pool, rank_promises, promised, 3);

    drive_until_word(d, promised, 3);
    drive_destroy(d, pool);
    pool_scatter_free(s);
}

static const struct drive_case cases[] = {
    {"every_lie", every_lie, IN_ALL},
    {"no_rank", no_rank, IN_ALL},
    {"promises", promises, IN_ALL},
    {NULL, NULL, 0},
};

int
main(int argc, char **argv)
{
    return drive_main("comm_hostile", cases, argc, argv);
}
