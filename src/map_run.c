/* A chunk of a map, in the worker: run the function on each item.
 *
 * The call of the task is lent to each item in turn, with the item's arguments
 * and the next part of the reply for its room. Invariants: what is replied so
 * far, and the least that the items to come need, never exceeds max_result;
 * `used` is a multiple of 8. */
#include "map.h"

#include <string.h>

#include "call.h"
#include "error.h"
#include "mem.h"
#include "util.h"

#define HEAD sizeof(struct pool__map_reply)
#define LEAST (HEAD + 16) /* of a reply: an error without a message */
#define BLOCK 4096u

/* The replies so far: in the call's room, or in a block. */
struct replies {
    uint8_t *base, *block;
    size_t used, capacity;
    size_t limit;  /* the most there may be */
    size_t spared; /* of it for the items to come */
};

static int
reserve(struct replies *r, size_t n)
{
    if (n <= r->capacity - r->used)
        return 0;
    size_t wanted =
        pool__max(BLOCK, pool__max(2 * r->capacity, r->used + n)) & ~(size_t)7;
    uint8_t *block = pool__malloc_large(wanted);
    if (block == NULL)
        return pool__fail(POOL_ENOMEM, "the results of a chunk");
    if (r->used != 0)
        memcpy(block, r->base, r->used);
    pool__free(r->block);
    r->base = r->block = block;
    r->capacity = wanted;
    return 0;
}

/* Append a reply; its bytes may lie in place. */
static int
reply(struct replies *r, const void *bytes, struct pool__map_reply head)
{
    size_t size = (size_t)head.size, extent = HEAD + pool__round8(size);
    int rc = reserve(r, extent);

    if (rc < 0)
        return rc;
    uint8_t *to = r->base + r->used;
    if (size != 0 && bytes != to + HEAD)
        memcpy(to + HEAD, bytes, size);
    memset(to + HEAD + size, 0, extent - HEAD - size);
    memcpy(to, &head, HEAD);
    r->used += extent;
    return 0;
}

static int
reply_error(struct replies *r, struct pool__error *error, uint32_t attempts)
{
    uint8_t bytes[POOL__ERROR_MAX];
    size_t size = pool__error_encode(bytes, error);

    if (HEAD + pool__round8(size) > r->limit - r->used - r->spared) {
        error->message[0] = '\0';
        size = pool__error_encode(bytes, error);
    }
    return reply(r, bytes,
        (struct pool__map_reply){
            .size = size, .failed = 1, .attempts = attempts});
}

/* Lend the call to an item: what it returns goes to its place at once, where
 * there is room. */
static void
lend(struct pool_call *call, const struct replies *r, const uint8_t *item,
    size_t size)
{
    size_t left = r->capacity - r->used;

    call->room = left > HEAD ? r->base + r->used + HEAD : NULL;
    call->room_size = left > HEAD ? left - HEAD : 0;
    call->area_size = 0; /* it is copied here */
    call->max_result = (r->limit - r->used - r->spared - HEAD) & ~(uint64_t)7;
    pool__call_begin(call, item, size);
}

static int
run_item(struct pool_call *call, const struct pool__map_head *head,
    struct replies *r, const uint8_t *item, size_t size)
{
    uint32_t attempts = 0;
    int rc;

    do {
        lend(call, r, item, size);
        rc = pool__call_run(call, (pool_fn)pool__call_resolve(call, head->fn));
        attempts++;
    } while (rc == POOL_ETASK && attempts < head->tries);
    if (rc < 0)
        return reply_error(r, &call->error, attempts);
    return reply(r, call->result,
        (struct pool__map_reply){
            .size = call->result_size, .attempts = attempts});
}

static int
run_items(struct pool_call *call, const uint8_t *at, const uint8_t *end,
    const struct pool__map_head *head, struct replies *r)
{
    uint64_t number = call->number;
    int rc = 0;

    for (uint32_t i = 0; i < head->count && rc == 0; i++) {
        uint64_t size = 0;
        if ((size_t)(end - at) >= sizeof size)
            memcpy(&size, at, sizeof size);
        else
            return pool__fail(POOL_EINVAL, "a chunk of a map is cut off");
        at += sizeof size;
        if (size > (size_t)(end - at))
            return pool__fail(POOL_EINVAL, "a chunk of a map is cut off");
        r->spared -= LEAST;
        call->number = number + ((uint64_t)i << 32); /* its random bits */
        rc = run_item(call, head, r, at, (size_t)size);
        at += pool__round8((size_t)size);
    }
    return rc;
}

/* What the call had before it was lent. */
struct loan {
    const uint8_t *arguments;
    size_t arguments_size;
    uint8_t *room;
    size_t room_size, area_size;
    uint64_t max_result;
    uint64_t number;
};

static void
give_back(struct pool_call *call, const struct loan *loan)
{
    call->room = loan->room;
    call->room_size = loan->room_size;
    call->area_size = loan->area_size;
    call->max_result = loan->max_result;
    call->number = loan->number;
    pool__call_begin(call, loan->arguments, loan->arguments_size);
}

static int
check_head(const struct pool_call *call, const struct pool__map_head *head)
{
    if (head->count == 0 || head->fn == 0)
        return pool__fail(POOL_EINVAL, "a chunk of a map without a head");
    if (head->count > call->max_result / LEAST)
        return pool__fail(POOL_ETOOBIG,
            "the results of %u items, the limit is %llu bytes", head->count,
            (unsigned long long)call->max_result);
    return 0;
}

int
pool__map_run(pool_call_t *call)
{
    struct pool__map_head head = {0};
    struct loan loan = {call->arguments, call->arguments_size, call->room,
        call->room_size, call->area_size, call->max_result, call->number};
    struct replies r = {.base = call->room,
        .capacity = call->room_size & ~(size_t)7,
        .limit = (size_t)call->max_result};

    if (loan.arguments_size >= sizeof head)
        memcpy(&head, loan.arguments, sizeof head);
    int rc = check_head(call, &head);
    if (rc == 0) {
        r.spared = head.count * LEAST;
        rc = run_items(call, loan.arguments + sizeof head,
            loan.arguments + loan.arguments_size, &head, &r);
    }
    give_back(call, &loan);
    if (rc < 0) {
        pool__free(r.block);
        return pool__call_library_failed(call, rc);
    }
    if (r.block != NULL) {
        pool__free(call->own);
        call->own = r.block;
        call->own_size = r.capacity;
    }
    call->result = r.base;
    call->result_size = r.used;
    return 0;
}
