/* Maps: inputs in, results out in the same order, built of ordinary tasks. How
 * the inputs get in is map_fill.c's. */
#include "map_fill.h"

#include <string.h>

#include "error.h"
#include "mem.h"

/* ---- the pool --------------------------------------------------------- */

static int
bad(const char *what)
{
    return pool__fail(POOL_EINVAL, "pool_map: %s", what);
}

/* The core must outlive the pool until the map is freed. */
static int
let_go(struct pool__core *core, const char *who)
{
    int rc = pool__enter(core, who);

    if (rc == 0) {
        core->cells_out--;
        pool__leave(core);
    }
    return rc;
}

/* ---- a map ------------------------------------------------------------ */

static int
check_options(const pool_map_options_t *options)
{
    if (options->size != sizeof *options)
        return pool__fail(POOL_EINVAL,
            "pool_map: options.size is %zu, not %zu: use POOL_MAP_OPTIONS_INIT",
            options->size, sizeof *options);
    if (options->chunksize < 0 || options->chunksize > UINT32_MAX)
        return pool__fail(POOL_EINVAL, "pool_map: options.chunksize is %lld",
            (long long)options->chunksize);
    if (options->buffersize < 0)
        return pool__fail(POOL_EINVAL, "pool_map: options.buffersize is %lld",
            (long long)options->buffersize);
    return 0;
}

static struct pool_map *
map_new(struct pool *pool, const pool_map_options_t *options)
{
    struct pool_map *map = pool__zalloc(sizeof *map);

    if (map == NULL)
        return NULL;
    map->core = pool->core;
    map->limit = pool->max_argument;
    map->task = (pool_task_options_t)POOL_TASK_OPTIONS_INIT;
    map->task.deadline_ms = options->deadline_ms;
    map->task.retries = options->retries;
    map->task.retry_on = options->retry_on;
    map->task.priority = options->priority;
    map->chunksize = options->chunksize != 0 ? (size_t)options->chunksize : 1;
    map->ahead =
        options->buffersize != 0 ? (uint64_t)options->buffersize : UINT64_MAX;
    pool__list_init(&map->chunks);
    map->core->cells_out++;
    return map;
}

/* Cancel what is left; the map itself stays. */
static void
cancel(struct pool_map *map)
{
    pool__list_each(node, &map->chunks)
    {
        struct pool__map_chunk *c =
            pool__list_entry(node, struct pool__map_chunk, node);
        (void)(c->future != NULL && pool_future_cancel(c->future));
    }
}

static void
map_delete(struct pool_map *map)
{
    map->busy = map->freed = true; /* for callbacks that cancelling brings */
    if (map->open != NULL)
        pool__map_chunk_delete(map->open);
    cancel(map);
    for (struct pool__map_chunk *c; (c = pool__map_first(map)) != NULL;)
        pool__map_chunk_delete(c);
    pool__scratch_free(map->scratch);
    (void)let_go(map->core, "pool_map_free");
    pool__free(map);
}

/* A map of which not even the first chunk can be sent is none, unless the
 * pool is only full. */
static int
check_begun(struct pool_map *map)
{
    struct pool__map_chunk *chunk = pool__map_first(map);

    if (chunk == NULL || chunk->bytes == NULL || map->refused == POOL_EAGAIN)
        return 0;
    int rc = pool__map_send_waiting(map, 0); /* for the message */
    return chunk->bytes != NULL && rc != POOL_EAGAIN ? rc : 0;
}

/* The pool is entered. */
static int
make_map(struct pool *pool, struct pool_map **map,
    const pool_map_options_t *options, pool_fn fn)
{
    int rc = check_options(options);

    if (rc == 0)
        rc = pool__submit_check(pool, "pool_map", 0);
    if (rc == 0)
        rc = pool__check_known(pool, fn, "pool_map: fn");
    if (rc < 0)
        return rc;
    struct pool_map *m = map_new(pool, options);
    if (m == NULL)
        return pool__fail(POOL_ENOMEM, "pool_map: a map");
    m->fn = fn;
    m->reference = pool__refer(pool, (uintptr_t)fn);
    *map = m;
    return pool__task_options_check(&m->task, "pool_map");
}

int
pool_map(pool_t *pool, pool_map_t **map, const pool_map_options_t *options,
    pool_fn fn, pool_input_fn input, void *data)
{
    const pool_map_options_t defaults = POOL_MAP_OPTIONS_INIT;
    struct pool_map *m = NULL;
    struct pool__core *core;

    if (map == NULL || fn == NULL || input == NULL)
        return bad(map == NULL  ? "map is NULL"
                   : fn == NULL ? "fn is NULL"
                                : "input is NULL");
    int rc = pool__enter_pool(pool, "pool_map");
    if (rc < 0)
        return rc;
    core = pool->core;
    rc = make_map(pool, &m, options != NULL ? options : &defaults, fn);
    pool__leave(core);
    if (rc == 0) {
        m->input = input;
        m->data = data;
        rc = pool__map_refill(m, true);
    }
    if (rc == 0)
        rc = check_begun(m);
    if (rc == 0)
        *map = m;
    else if (m != NULL)
        map_delete(m);
    return rc;
}

/* Whether this process and thread may use the map. */
static int
check_user(struct pool_map *map, const char *who)
{
    int rc = pool__enter(map->core, who);

    if (rc == 0)
        pool__leave(map->core);
    return rc;
}

/* In a callback of a call that waits, that call does the rest. */
void
pool_map_free(pool_map_t *map)
{
    if (map == NULL || map->freed || check_user(map, "pool_map_free") < 0)
        return;
    map->freed = map->busy;
    if (map->busy)
        cancel(map);
    else
        map_delete(map);
}

const pool_failure_t *
pool_map_failure(const pool_map_t *map)
{
    return map != NULL ? map->last : NULL;
}

/* ---- the next result -------------------------------------------------- */

/* What is left of a wait. */
struct wait {
    int timeout_ms;
    uint64_t end;
};

static int
left_ms(const struct wait *wait)
{
    if (wait->timeout_ms <= 0)
        return wait->timeout_ms;
    uint64_t now = pool__now_ns();
    return now < wait->end ? (int)((wait->end - now + 999999) / 1000000) : 0;
}

static int
not_yet(const struct wait *wait)
{
    return pool__fail(
        POOL_ETIMEDOUT, "pool_map_next: not within %d ms", wait->timeout_ms);
}

/* The map ends here, whatever was still to be sent. */
static int
end_with(struct pool_map *map, int code)
{
    if (map->open != NULL)
        pool__map_chunk_delete(map->open);
    map->open = NULL;
    for (struct pool__map_chunk *c; (c = pool__map_first(map)) != NULL;)
        pool__map_chunk_delete(c);
    map->unsent = 0;
    map->ended = true;
    map->end = 0;
    return pool__fail(code, "pool_map_next: %s", pool_strerror(code));
}

static int
no_more(struct pool_map *map)
{
    int end = map->end;

    map->end = 0;
    return end < 0
               ? pool__fail(end, "pool_map_next: the input returned %d", end)
               : pool__fail(POOL_ENOENT, "pool_map_next: no more results");
}

static int
would_wait(void)
{
    return pool__fail(POOL_EDEADLK,
        "pool_map_next: would wait where nothing may: in a task, a callback "
        "or host drive");
}

/* The chunk of the next item is sent, or has failed before. */
static int
next_chunk(struct pool_map *map, const struct wait *wait,
    struct pool__map_chunk **chunk)
{
    int rc = 0;

    if (pool__map_first(map) == NULL && !map->ended)
        rc = pool__map_refill(map, false);
    *chunk = pool__map_first(map);
    if (*chunk == NULL && map->ended)
        return no_more(map);
    if (*chunk == NULL)
        return end_with(map, rc < 0 ? rc : map->refused);
    if ((*chunk)->bytes == NULL)
        return 0;
    rc = pool__map_send_waiting(map, left_ms(wait));
    if ((*chunk)->bytes == NULL)
        return 0;
    if (rc == POOL_EAGAIN || rc == POOL_ETIMEDOUT)
        return not_yet(wait);
    return rc == POOL_EDEADLK ? would_wait() : end_with(map, rc);
}

/* The first chunk has settled, or a callback has freed the map. */
static bool
has_come(void *data)
{
    const struct pool_map *map = data;

    return map->freed || pool__task_settled(pool__map_first(map)->future);
}

static int
await(struct pool_map *map, struct pool__map_chunk *chunk,
    const struct wait *wait)
{
    struct pool__gate gate = {.cores = &map->core, .count = 1, .event = -1};
    const void *data = NULL;

    if (map->freed || chunk->settled || chunk->code != 0)
        return 0;
    int rc =
        pool__gate_wait(&gate, has_come, map, left_ms(wait), "pool_map_next");
    if (map->freed)
        return 0;
    if (rc == POOL_ETIMEDOUT)
        return not_yet(wait);
    if (rc == POOL_EDEADLK)
        return would_wait();
    if (rc < 0)
        return rc;
    rc = pool_future_bytes(chunk->future, 0, &data, &chunk->data_size);
    if (rc < 0 && pool_future_failure(chunk->future) == NULL &&
        !pool_future_cancelled(chunk->future))
        return rc; /* of the wait */
    chunk->settled = true;
    chunk->code = rc;
    chunk->data = data;
    return 0;
}

/* An item failed by itself, or without a task. */
static int
item_failed(struct pool_map *map, int code, const char *message)
{
    map->failure =
        (pool_failure_t){.code = code, .message = message, .exit_status = -1};
    map->last = &map->failure;
    return code;
}

/* A worker's reply that cannot be read fails what is left of its chunk. */
static int
bad_reply(struct pool_map *map, struct pool__map_chunk *chunk)
{
    chunk->data_size = 0;
    return item_failed(map, POOL_EPROTO, "the reply for a chunk is malformed");
}

/* The next item of a reply: its bytes, or how it failed. */
static int
split_reply(struct pool_map *map, struct pool__map_chunk *chunk,
    const uint8_t **data, size_t *size)
{
    struct pool__map_reply head;

    if (chunk->data_size < sizeof head)
        return bad_reply(map, chunk);
    memcpy(&head, chunk->data, sizeof head);
    size_t left = chunk->data_size - sizeof head;
    if (head.size > left || pool__round8((size_t)head.size) > left)
        return bad_reply(map, chunk);
    *data = chunk->data + sizeof head;
    *size = (size_t)head.size;
    chunk->data = *data + pool__round8(*size);
    chunk->data_size = left - pool__round8(*size);
    if (head.failed == 0)
        return 0;
    if (!pool__error_decode(*data, *size, &map->error))
        return bad_reply(map, chunk);
    item_failed(map, map->error.code, map->error.message);
    map->failure.task_code = map->error.task_code;
    map->failure.attempts = (int)head.attempts;
    return map->error.code;
}

/* Take the next item of a chunk that has settled. */
static int
take_item(struct pool_map *map, struct pool__map_chunk *chunk,
    const uint8_t **data, size_t *size)
{
    map->taken++;
    chunk->taken++;
    if (chunk->code != 0 && chunk->future == NULL)
        return item_failed(map, chunk->code,
            chunk->code == POOL_ETOOBIG  ? "an input above max_argument"
            : chunk->code == POOL_ENOMEM ? "no memory for the input"
                                         : "the input could not be encoded");
    if (chunk->code != 0) {
        map->last = pool_future_failure(chunk->future);
        return chunk->code;
    }
    if (chunk->count > 1)
        return split_reply(map, chunk, data, size);
    *data = chunk->data;
    *size = chunk->data_size;
    return 0;
}

/* Forget the item that was given last. */
static void
forget_last(struct pool_map *map)
{
    struct pool__map_chunk *chunk = pool__map_first(map);

    map->last = NULL;
    if (chunk != NULL && chunk->taken == chunk->count)
        pool__map_chunk_delete(chunk);
}

static int
decode_item(const uint8_t *data, size_t size, const char *format, va_list args)
{
    pool_dec_t dec;

    if (format == NULL || *format == '\0')
        return 0;
    pool_dec_init(&dec, data, size);
    int rc = pool_vdecode(&dec, format, args);
    return rc == 0 ? pool_dec_finish(&dec) : rc;
}

static int
next_item(
    struct pool_map *map, int timeout_ms, const uint8_t **data, size_t *size)
{
    struct wait wait = {timeout_ms,
        pool__now_ns() + (timeout_ms > 0 ? (uint64_t)timeout_ms * 1000000 : 0)};
    struct pool__map_chunk *chunk = NULL;

    forget_last(map);
    int rc = next_chunk(map, &wait, &chunk);
    if (rc == 0)
        rc = await(map, chunk, &wait);
    if (rc < 0 || map->freed)
        return rc;
    bool fresh = chunk->taken == 0;
    rc = take_item(map, chunk, data, size);
    if (fresh && map->unsent != 0)
        (void)pool__map_send_waiting(
            map, 0); /* where its chunk was there is room */
    (void)pool__map_refill(map, false);
    if (rc < 0)
        return pool__fail(rc, "pool_map_next: %s",
            map->last != NULL ? map->last->message : pool_strerror(rc));
    return 0;
}

int
pool_map_next(pool_map_t *map, int timeout_ms, const char *format, ...)
{
    const uint8_t *data = NULL;
    size_t size = 0;
    va_list args;

    if (map == NULL)
        return pool__fail(POOL_EINVAL, "pool_map_next: map is NULL");
    int rc = check_user(map, "pool_map_next");
    if (rc == 0)
        rc = pool__check_timeout(timeout_ms, "pool_map_next");
    if (rc == 0 && map->busy)
        rc = pool__fail(POOL_EBUSY, "pool_map_next: inside another call of it");
    if (rc < 0)
        return rc;
    map->busy = true;
    rc = next_item(map, timeout_ms, &data, &size);
    map->busy = false;
    if (map->freed) {
        map_delete(map);
        return pool__fail(
            POOL_ECANCELED, "pool_map_next: the map was freed meanwhile");
    }
    if (rc < 0)
        return rc;
    va_start(args, format);
    rc = decode_item(data, size, format, args);
    va_end(args);
    return rc;
}
