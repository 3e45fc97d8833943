/* From inputs to chunks to tasks. A chunk of one item is a task of the
 * caller's function itself. */
#include "map_fill.h"

#include <string.h>

#include "error.h"
#include "mem.h"

#define HEAD sizeof(struct pool__map_head)
#define SCRATCH_LEAST ((size_t)64 << 10)

/* ---- chunks ----------------------------------------------------------- */

void
pool__map_chunk_delete(struct pool__map_chunk *chunk)
{
    pool__list_remove(&chunk->node);
    pool_future_free(chunk->future);
    pool__free(chunk->bytes);
    pool__free(chunk);
}

/* A task of SIZE bytes. The core is entered, so that the pool stays. */
static int
submit_bytes(struct pool_map *map, pool_fn fn, const uint8_t *bytes,
    size_t size, pool_future_t **future)
{
    struct pool *pool = map->core->pool;
    struct pool_future *task;

    if (pool == NULL)
        return pool__fail(POOL_ESHUTDOWN, "pool_map: the pool is destroyed");
    int rc =
        pool__task_prepare(pool, "pool_map", fn, size, NULL, &map->task, &task);
    if (rc == 0 && map->freed) { /* it was waited for room */
        pool__task_unmake(task);
        return pool__fail(POOL_ECANCELED, "pool_map: the map was freed");
    }
    if (rc < 0)
        return rc;
    pool__move(pool__task_data(task), bytes, size);
    pool__task_start(pool, task, fn, future);
    return 0;
}

/* Give the bytes of a closed chunk to the pool. One item is a plain task. */
static int
submit(struct pool_map *map, struct pool__map_chunk *chunk,
    const uint8_t *bytes, int wait_ms)
{
    size_t skip = HEAD + sizeof(uint64_t);
    size_t size = chunk->size;
    pool_fn fn = pool__map_run;
    uint64_t one;

    if (chunk->count == 1) {
        memcpy(&one, bytes + skip - sizeof one, sizeof one);
        bytes += skip;
        size = (size_t)one;
        fn = map->fn;
    }
    map->task.wait_ms = wait_ms;
    int rc = pool__enter(map->core, "pool_map");
    if (rc == 0) {
        rc = submit_bytes(map, fn, bytes, size, &chunk->future);
        pool__leave(map->core);
    }
    return map->refused = rc;
}

/* The pool does not take a chunk now: keep it. */
static void
keep(struct pool_map *map, struct pool__map_chunk *chunk)
{
    chunk->bytes = pool__malloc(chunk->size);
    if (chunk->bytes == NULL) {
        chunk->code = POOL_ENOMEM;
        return;
    }
    memcpy(chunk->bytes, map->scratch->bytes, chunk->size);
    map->unsent++;
}

int
pool__map_send_waiting(struct pool_map *map, int wait_ms)
{
    pool__list_each(node, &map->chunks)
    {
        struct pool__map_chunk *chunk =
            pool__list_entry(node, struct pool__map_chunk, node);
        if (chunk->bytes == NULL)
            continue;
        int rc = submit(map, chunk, chunk->bytes, wait_ms);
        if (rc < 0)
            return rc;
        pool__free(chunk->bytes);
        chunk->bytes = NULL;
        map->unsent--;
        wait_ms = 0;
    }
    return 0;
}

/* No more items for the open chunk: send it, or keep it. */
static void
close_chunk(struct pool_map *map)
{
    struct pool__map_chunk *chunk = map->open;
    struct pool__map_head head = {
        .count = (uint32_t)chunk->count, .tries = 1, .fn = map->reference};

    map->open = NULL;
    pool__list_append(&map->chunks, &chunk->node);
    if (chunk->code != 0)
        return;
    if ((map->task.retry_on & POOL_RETRY_TASK) != 0 && map->task.retries > 0)
        head.tries += (uint32_t)map->task.retries;
    memcpy(map->scratch->bytes, &head, sizeof head);
    if (map->unsent != 0 || submit(map, chunk, map->scratch->bytes, 0) < 0)
        keep(map, chunk);
}

static struct pool__map_chunk *
new_chunk(void)
{
    struct pool__map_chunk *chunk = pool__zalloc(sizeof *chunk);

    if (chunk == NULL)
        return NULL;
    pool__list_init(&chunk->node);
    chunk->size = HEAD;
    return chunk;
}

/* ---- inputs ----------------------------------------------------------- */

/* An encoder does not grow and an input is asked for once. So there is room
 * for the largest chunk and the largest input; what is not written costs
 * addresses, no memory. */
static int
need_scratch(struct pool_map *map)
{
    size_t size = 2 * pool__min(map->limit, SIZE_MAX / 4) + SCRATCH_LEAST;

    if (map->scratch == NULL)
        map->scratch = pool__scratch_new(size & ~(size_t)7, SCRATCH_LEAST);
    return map->scratch != NULL
               ? 0
               : pool__fail(POOL_ENOMEM, "pool_map: room for inputs");
}

/* The item that was just encoded fails, without a task: it is a chunk of its
 * own. Where there is no memory for that, its whole chunk fails. */
static void
add_failed(struct pool_map *map, int code)
{
    struct pool__map_chunk *own = map->open->count != 0 ? new_chunk() : NULL;

    if (own != NULL) {
        close_chunk(map);
        map->open = own;
    }
    map->open->count++;
    map->open->code = code;
    close_chunk(map);
}

/* Bytes of arguments if an item of SIZE bytes joins this chunk. */
static size_t
needed(const struct pool__map_chunk *chunk, size_t size)
{
    return chunk->count == 0
               ? size
               : chunk->size + sizeof(uint64_t) + pool__round8(size);
}

/* The chunk is full by its bytes: close it and begin the next one with the
 * item that lies behind it. False: no memory. */
static bool
move_on(struct pool_map *map, size_t size)
{
    struct pool__map_chunk *next = new_chunk();
    const uint8_t *item = map->scratch->bytes + map->open->size;

    if (next == NULL)
        return false;
    close_chunk(map);
    map->open = next;
    memmove(map->scratch->bytes + HEAD, item, sizeof(uint64_t) + size);
    return true;
}

/* An item of SIZE bytes lies behind the open chunk; rc: the encoder's. */
static void
add_item(struct pool_map *map, int rc, uint64_t size)
{
    if (rc == POOL_ENOSPC)
        rc = size > map->limit ? POOL_ETOOBIG : POOL_ENOMEM;
    if (rc == 0 && size > map->limit)
        rc = POOL_ETOOBIG;
    if (rc < 0) {
        add_failed(map, rc);
        return;
    }
    memcpy(map->scratch->bytes + map->open->size, &size, sizeof size);
    if (needed(map->open, (size_t)size) > map->limit &&
        !move_on(map, (size_t)size)) {
        add_failed(map, POOL_ENOMEM);
        return;
    }
    size_t end = map->open->size + sizeof size + (size_t)size;
    map->open->size = pool__round8(end);
    memset(map->scratch->bytes + end, 0, map->open->size - end);
    if (++map->open->count == map->chunksize)
        close_chunk(map);
}

/* An open chunk, and scratch of which at least half is free. It is always so
 * unless the scratch is smaller than wanted: then chunks close early. */
static int
need_room(struct pool_map *map)
{
    int rc = need_scratch(map);

    if (rc == 0 && map->open != NULL && map->open->count != 0 &&
        map->open->size > map->scratch->size / 2)
        close_chunk(map);
    if (rc == 0 && map->open == NULL && (map->open = new_chunk()) == NULL)
        rc = pool__fail(POOL_ENOMEM, "pool_map: a chunk");
    return rc;
}

/* Take one input. POOL_ENOMEM: none was taken. */
static int
take_input(struct pool_map *map)
{
    pool_enc_t enc;
    size_t size = 0;
    int rc = need_room(map);

    if (rc < 0)
        return rc;
    size_t at = map->open->size + sizeof(uint64_t);
    pool_enc_init(&enc, map->scratch->bytes + at, map->scratch->size - at);
    rc = map->input(map->data, &enc);
    if (rc <= 0) {
        map->ended = true;
        map->end = rc;
        return 0;
    }
    map->inputs++;
    rc = pool_enc_finish(&enc, &size);
    add_item(map, rc, size);
    if (map->open == NULL)
        pool__scratch_trim(map->scratch, at + size);
    return 0;
}

/* Refused for good: what else there is would be refused too. */
static bool
is_over(const struct pool_map *map)
{
    switch (map->refused) {
    case 0:
    case POOL_EAGAIN:
    case POOL_ENOMEM:
    case POOL_ETIMEDOUT: /* it was waited for room */
    case POOL_EDEADLK:
        return false;
    default:
        return true;
    }
}

/* Whether an item that was sent is still to be given. */
static bool
outstanding(const struct pool_map *map)
{
    const struct pool__map_chunk *first = pool__map_first(map);

    return first != NULL &&
           (first->taken < first->count || first->node.next != &map->chunks);
}

int
pool__map_refill(struct pool_map *map, bool first)
{
    int rc = 0;

    while (rc == 0 && !map->ended && !map->freed && !is_over(map) &&
           map->inputs - map->taken < map->ahead)
        rc = take_input(map);
    if (map->open != NULL && map->open->count != 0 &&
        (first || map->ended || !outstanding(map)))
        close_chunk(map);
    if (map->ended) {
        pool__scratch_free(map->scratch);
        map->scratch = NULL;
    }
    return rc;
}
