/* Collectives, as the host passes them on. A rank gives its part in one frame;
 * when all have given theirs and they fit together, each rank is sent the
 * parts that it is to get, in rank order, and the end. The host never looks at
 * what is in a part.
 *
 * Invariants: a rank has given and was not answered (waits), or is being
 * answered (round), or neither: then alone it may give. A round's part is
 * freed when nobody is to be sent it any more and no channel reads it. When a
 * rank has settled, nothing is gathered any more: who gives is told so. */
#include "group.h"

#include <stdio.h>
#include <string.h>

#include "budget.h"
#include "sched.h"

struct part {
    struct pool__round *round;
    size_t refs; /* ranks that are yet to be sent it */
    void *block; /* NULL: none yet, or all have it */
    size_t block_size;
    struct pool__offer offer;
    const uint8_t *sizes; /* that rank 0 tells, of a GATHERV */
    const uint8_t *data;
    size_t size;
};

struct pool__round {
    struct pool__core *core;
    size_t refs;
    int size;
    int kind;
    struct part parts[];
};

/* ---- rounds ----------------------------------------------------------- */

static struct pool__round *
round_new(struct pool__group *g)
{
    struct pool__round *round =
        pool__zalloc(sizeof *round + (size_t)g->size * sizeof round->parts[0]);

    if (round != NULL) {
        round->core = g->sched->core;
        round->size = g->size;
        round->refs = 1;
    }
    return round;
}

static void
round_unref(struct pool__round *round)
{
    if (round == NULL || --round->refs != 0)
        return;
    for (int i = 0; i < round->size; i++)
        pool__core_drop(
            round->core, round->parts[i].block, round->parts[i].block_size);
    pool__free(round);
}

static void
drop(struct part *part)
{
    pool__core_drop(part->round->core, part->block, part->block_size);
    part->block = NULL;
}

/* One rank less needs it: large ones go one by one, as they were sent. */
static void
part_unref(struct part *part)
{
    if (--part->refs == 0)
        drop(part);
}

void
pool__peers_sent(void *lent)
{
    struct part *part = lent;
    struct pool__round *round = part->round;

    part_unref(part);
    round_unref(round);
}

/* ---- sending ---------------------------------------------------------- */

static void
make_dirty(struct pool__sched *s, struct pool__proc *proc)
{
    s->urgent = s->core->wake = true;
    pool__list_remove(&proc->sched.dirty);
    pool__list_append(&s->dirty, &proc->sched.dirty);
}

static struct pool__frame
frame_for(const struct pool__member *m, unsigned flags, size_t size)
{
    return (struct pool__frame){.type = POOL__FRAME_COLLECTIVE,
        .flags = (uint16_t)flags,
        .id = pool__frame_id(m->task->number, m->task->sends - 1),
        .size = (uint32_t)size};
}

/* Tell a rank that its collective failed. */
static void
send_error(struct pool__member *m, int code, const char *text)
{
    struct pool__sched *s = m->group->sched;
    struct pool__error error = {.code = code};
    uint8_t payload[POOL__ERROR_MAX];

    if (!pool__proc_serves(m->proc))
        return;
    snprintf(error.message, sizeof error.message, "%s", text);
    struct pool__frame frame =
        frame_for(m, POOL__COLLECTIVE_END, pool__error_encode(payload, &error));
    if (pool__channel_control(&m->proc->channel, &frame, payload) < 0)
        pool__channel_violate(&m->proc->channel, pool__channel_no_memory);
    else
        make_dirty(s, m->proc);
}

/* Whether the part of rank FROM goes to rank TO. */
static bool
is_for(const struct pool__round *round, int from, int to)
{
    switch (round->kind) {
    case POOL__BCAST:
    case POOL__BCAST_VALUE:
        return from == 0 && to != 0;
    case POOL__ALLGATHER:
    case POOL__ALLREDUCE:
        return from != to;
    case POOL__GATHERV:
        return to == 0 && from != 0;
    default:
        return false;
    }
}

static int
send_part(struct pool__member *m, struct part *part)
{
    struct pool__frame frame = frame_for(m, POOL__COLLECTIVE_PART, part->size);
    struct pool__channel *ch = &m->proc->channel;

    if (part->size >= POOL__LARGE) {
        int rc = pool__channel_lend(ch, &frame, part->data, part);
        m->round->refs += rc == 0;
        return rc;
    }
    int rc = pool__channel_control(ch, &frame, part->data);
    if (rc == 0)
        part_unref(part);
    return rc;
}

static void
stop_sending(struct pool__member *m)
{
    struct pool__round *round = m->round;

    if (round == NULL)
        return;
    for (; m->next < round->size; m->next++)
        if (is_for(round, m->next, m->rank))
            part_unref(&round->parts[m->next]);
    m->round = NULL;
    m->proc->sched.member = NULL;
    m->proc->channel.hungry = false;
    round_unref(round);
}

/* The channel has room for more of what goes to its rank. */
void
pool__peers_feed(struct pool__proc *proc)
{
    struct pool__member *m = proc->sched.member;
    struct pool__channel *ch = &proc->channel;
    int rank = m->rank, rc = 0;

    while (rc == 0 && m->next < m->round->size && pool__channel_has_room(ch)) {
        if (is_for(m->round, m->next, rank))
            rc = send_part(m, &m->round->parts[m->next]);
        m->next++;
    }
    if (rc == 0 && m->next == m->round->size && pool__channel_has_room(ch)) {
        struct pool__frame end = frame_for(m, POOL__COLLECTIVE_END, 0);
        rc = pool__channel_control(ch, &end, NULL);
        stop_sending(m);
    }
    if (rc < 0)
        pool__channel_violate(ch, pool__channel_no_memory);
}

/* ---- judging ---------------------------------------------------------- */

struct verdict {
    int code;
    char text[240]; /* what pool_errmsg() holds */
};

static void __attribute__((format(printf, 3, 4)))
judge(struct verdict *v, int code, const char *format, ...)
{
    va_list args;
    size_t n = strlen(v->text);

    v->code = code;
    va_start(args, format);
    vsnprintf(v->text + n, sizeof v->text - n, format, args);
    va_end(args);
}

/* Who complained, all of them; the first one's reason is the code. */
static void
judge_faults(const struct pool__round *round, struct verdict *v)
{
    static const int codes[] = {[POOL__FAULT_ARGUMENT] = POOL_EINVAL,
        [POOL__FAULT_SIZE] = POOL_ETOOBIG,
        [POOL__FAULT_MEMORY] = POOL_ENOMEM};

    for (int i = 0; i < round->size; i++) {
        const struct part *part = &round->parts[i];
        if (part->offer.fault == POOL__FAULT_NONE)
            continue;
        char text[POOL__FAULT_TEXT_MAX + 1] = "";
        if (part->size != 0)
            memcpy(text, part->data, part->size);
        pool__make_printable(text, part->size);
        if (v->code == 0)
            judge(v, codes[part->offer.fault], "%s: rank %d: %s",
                pool__collective_name(part->offer.kind), i, text);
        else
            judge(v, v->code, "; rank %d: %s", i, text);
    }
}

static bool
is_same(const struct pool__offer *a, const struct pool__offer *b)
{
    return a->kind == b->kind && a->type == b->type && a->op == b->op &&
           a->count == b->count;
}

static void
describe(const struct pool__offer *o, char *text, size_t size)
{
    static const char *const types[] = {"int64", "double"};
    static const char *const ops[] = {"sum", "min", "max", "prod"};

    if (o->kind == POOL__BCAST)
        snprintf(text, size, "%llu bytes", (unsigned long long)o->count);
    else
        snprintf(text, size, "the %s of %llu %ss", ops[o->op],
            (unsigned long long)o->count, types[o->type]);
}

/* The first rank that did other than rank 0. */
static void
judge_offers(const struct pool__round *round, struct verdict *v)
{
    const struct pool__offer *first = &round->parts[0].offer;
    char told[64], other[64];
    int i = 1;

    while (i < round->size && is_same(first, &round->parts[i].offer))
        i++;
    if (i == round->size)
        return;
    const struct pool__offer *offer = &round->parts[i].offer;
    if (offer->kind != first->kind) {
        judge(v, POOL_EINVAL,
            "the ranks made different calls: rank 0 %s, rank %d %s",
            pool__collective_name(first->kind), i,
            pool__collective_name(offer->kind));
        return;
    }
    describe(first, told, sizeof told);
    describe(offer, other, sizeof other);
    judge(v, POOL_EINVAL, "%s: rank 0 gave %s, rank %d %s",
        pool__collective_name(first->kind), told, i, other);
}

static void
judge_sizes(const struct pool__round *round, uint64_t most, struct verdict *v)
{
    for (int i = 0; i < round->size && v->code == 0; i++) {
        const struct part *part = &round->parts[i];
        uint64_t told = part->size;
        if (round->parts[0].sizes != NULL)
            memcpy(&told, round->parts[0].sizes + 8 * (size_t)i, sizeof told);
        if (told != part->size)
            judge(v, POOL_EINVAL,
                "pool_gatherv: rank %d sent %zu bytes, rank 0 expected %llu", i,
                part->size, (unsigned long long)told);
        else if (part->size > most)
            judge(v, POOL_ETOOBIG,
                "%s: rank %d gave %zu bytes, the limit is %llu",
                pool__collective_name(part->offer.kind), i, part->size,
                (unsigned long long)most);
    }
}

/* Nothing is gathered any more: each rank that waits is told why. */
static void
fail_round(struct pool__group *g, int code, const char *text)
{
    struct pool__round *round = g->round;

    g->round = NULL;
    g->given = 0;
    for (int i = 0; i < g->size; i++) {
        struct pool__member *m = &g->members[i];
        if (m->waits && m->task != NULL)
            send_error(m, code, text);
        m->waits = false;
    }
    round_unref(round);
}

/* How many ranks get the part of rank FROM. */
static size_t
count_takers(const struct pool__round *round, int from)
{
    size_t others = (size_t)round->size - 1;

    switch (round->kind) {
    case POOL__BCAST:
    case POOL__BCAST_VALUE:
        return from == 0 ? others : 0;
    case POOL__ALLGATHER:
    case POOL__ALLREDUCE:
        return others;
    case POOL__GATHERV:
        return from != 0;
    default:
        return 0;
    }
}

/* All have given: does it fit? */
static void
conclude(struct pool__group *g)
{
    struct pool__round *round = g->round;
    struct verdict v = {0, ""};

    judge_faults(round, &v);
    if (v.code == 0)
        judge_offers(round, &v);
    if (v.code == 0)
        judge_sizes(round, g->sched->policy.max_argument, &v);
    if (v.code < 0) {
        fail_round(g, v.code, v.text);
        return;
    }
    round->kind = round->parts[0].offer.kind;
    g->round = NULL;
    g->given = 0;
    for (int i = 0; i < g->size; i++) {
        struct pool__member *m = &g->members[i];
        round->parts[i].refs = count_takers(round, i);
        if (round->parts[i].refs == 0)
            drop(&round->parts[i]);
        m->waits = false;
        m->round = round;
        m->next = 0;
        round->refs++;
        m->proc->sched.member = m;
        m->proc->channel.hungry = true;
        make_dirty(g->sched, m->proc);
    }
    round_unref(round);
}

/* ---- what a rank gives ----------------------------------------------------
 */

/* Whether SIZE bytes may follow such an offer from this rank. */
static bool
fits(const struct pool__member *m, const struct pool__offer *o, size_t size)
{
    if (o->fault != POOL__FAULT_NONE)
        return size <= POOL__FAULT_TEXT_MAX;
    if (o->kind == POOL__ALLREDUCE)
        return o->type <= POOL_DOUBLE && o->op <= POOL_PROD && size % 8 == 0 &&
               o->count == size / 8;
    if (o->type != 0 || o->op != 0)
        return false;
    switch (o->kind) {
    case POOL__BARRIER:
        return size == 0 && o->count == 0;
    case POOL__BCAST:
        return size == (m->rank == 0 ? o->count : 0);
    case POOL__BCAST_VALUE:
        return o->count == 0 && (m->rank == 0 || size == 0);
    case POOL__GATHERV:
        return o->count == 0 &&
               (m->rank != 0 || size / 8 >= (size_t)m->group->size);
    default:
        return o->count == 0;
    }
}

/* Keep what came: BLOCK, or a copy where there is none. */
static bool
keep(struct pool__member *m, const struct pool__offer *offer,
    const uint8_t *payload, size_t size, void *block)
{
    struct part *part = &m->group->round->parts[m->rank];
    bool tells = offer->kind == POOL__GATHERV && m->rank == 0 &&
                 offer->fault == POOL__FAULT_NONE;
    size_t head = POOL__OFFER_SIZE + (tells ? 8 * (size_t)m->group->size : 0);

    if (block == NULL) {
        block = pool__malloc(size);
        if (block == NULL)
            return false;
        memcpy(block, payload, size);
    }
    part->round = m->group->round;
    part->block = block;
    part->block_size = size;
    part->offer = *offer;
    part->sizes = tells ? (const uint8_t *)block + POOL__OFFER_SIZE : NULL;
    part->data = (const uint8_t *)block + head;
    part->size = size - head;
    return true;
}

void
pool__peers_give(struct pool__proc *proc, struct pool_future *task,
    const struct pool__frame *frame, const void *payload, void *block)
{
    struct pool__member *m = pool__member_of(task);
    struct pool__offer offer;

    if (m == NULL || m->waits || m->round != NULL ||
        !pool__offer_get(payload, frame->size, &offer) ||
        !fits(m, &offer, frame->size - POOL__OFFER_SIZE)) {
        pool__free(block);
        pool__channel_violate(&proc->channel, "a collective that is none");
        return;
    }
    struct pool__group *g = m->group;
    m->proc = proc;
    if (g->living < g->size) {
        pool__core_drop(g->sched->core, block, frame->size);
        send_error(m, POOL_EDIED, g->lost);
        return;
    }
    if (g->round == NULL)
        g->round = round_new(g);
    if (g->round == NULL || !keep(m, &offer, payload, frame->size, block)) {
        pool__free(block);
        pool__channel_violate(&proc->channel, pool__channel_no_memory);
        return;
    }
    m->waits = true;
    if (++g->given == g->size)
        conclude(g);
}

/* ---- a rank that is gone ---------------------------------------------------
 */

static void
note_lost(struct pool__member *m, const struct pool_future *task)
{
    struct pool__group *g = m->group;

    if (g->lost[0] != '\0')
        return;
    if (task == NULL || task->state == POOL__TASK_CANCELLED)
        snprintf(g->lost, sizeof g->lost, "rank %d was cancelled", m->rank);
    else if (task->state == POOL__TASK_VALUE)
        snprintf(g->lost, sizeof g->lost, "rank %d has returned", m->rank);
    else
        snprintf(g->lost, sizeof g->lost, "rank %d failed: %s", m->rank,
            pool__task_failure(task)->message);
}

void
pool__peers_lost(struct pool__member *m, const struct pool_future *task)
{
    stop_sending(m);
    note_lost(m, task);
    if (m->group->round != NULL)
        fail_round(m->group, POOL_EDIED, m->group->lost);
}
