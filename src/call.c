/* Calls: arguments in, result or error out. The same code runs in workers and
 * in a serial pool.
 *
 * Invariant: result points into room, area or own, so a result lives until the
 * next pool__call_begin. One that fits is made where it will be sent from. */
#include "call.h"

#include <stdio.h>
#include <string.h>

#include "error.h"
#include "frame.h"
#include "mem.h"
#include "util.h"

void
pool__call_fini(struct pool_call *call)
{
    pool__free(call->own);
    call->own = NULL;
    call->own_size = 0;
}

int
pool__call_failed(struct pool_call *call, int rc, const char *who)
{
    struct pool__error *error = &call->error;
    bool own = call->failed_code != 0 && rc == call->failed_code;

    error->code = own ? rc : POOL_ETASK;
    error->task_code = rc;
    if (error->message[0] == '\0')
        snprintf(
            error->message, sizeof error->message, "%s returned %d", who, rc);
    return error->code;
}

int
pool__call_library_failed(struct pool_call *call, int rc)
{
    call->failed_code = rc;
    snprintf(
        call->error.message, sizeof call->error.message, "%s", pool_errmsg());
    return rc;
}

int
pool_call_args(pool_call_t *call, const char *format, ...)
{
    pool_dec_t dec;
    va_list args;

    if (call == NULL)
        return pool__fail(POOL_EINVAL, "pool_call_args: call is NULL");
    pool_dec_init(&dec, call->arguments, call->arguments_size);
    va_start(args, format);
    int rc = pool_vdecode(&dec, format != NULL ? format : "", args);
    va_end(args);
    if (rc == 0)
        rc = pool_dec_finish(&dec);
    return pool__likely(rc == 0) ? 0 : pool__call_library_failed(call, rc);
}

int
pool_call_bytes(pool_call_t *call, const void **data, size_t *size)
{
    if (call == NULL)
        return pool__fail(POOL_EINVAL, "pool_call_bytes: call is NULL");
    if (data != NULL)
        *data = call->arguments;
    if (size != NULL)
        *size = call->arguments_size;
    return 0;
}

/* Room for a result of SIZE bytes. */
static int
reserve(struct pool_call *call, const char *who, size_t size, uint8_t **to)
{
    if (size > call->max_result)
        return pool__fail(POOL_ETOOBIG,
            "%s: a result of %zu bytes, the limit is %llu", who, size,
            (unsigned long long)call->max_result);
    if (size <= call->room_size) {
        *to = call->room;
        return 0;
    }
    if (size >= POOL__LARGE && size <= call->area_size) {
        call->area_used = true;
        *to = call->area;
        return 0;
    }
    if (size > call->own_size) {
        uint8_t *block = pool__malloc_large(size);
        if (block == NULL)
            return pool__fail(
                POOL_ENOMEM, "%s: a result of %zu bytes", who, size);
        pool__free(call->own);
        call->own = block;
        call->own_size = size;
    }
    *to = call->own;
    return 0;
}

static int
encode_result(struct pool_call *call, const char *format, va_list args)
{
    pool_enc_t enc;
    uint8_t *to = call->room;
    size_t size = 0;
    va_list again;

    va_copy(again, args);
    pool_enc_init(&enc, call->room, call->room_size);
    int rc = pool_vencode(&enc, format != NULL ? format : "", args);
    if (rc == 0 || rc == POOL_ENOSPC)
        rc = pool_enc_finish(&enc, &size);
    if (rc == POOL_ENOSPC ||
        (rc == 0 && (size > call->room_size || size > call->max_result))) {
        rc = reserve(call, "pool_call_return", size, &to);
        if (rc == 0) {
            pool_enc_init(&enc, to, size);
            rc = pool_vencode(&enc, format, again);
        }
    }
    va_end(again);
    call->result = rc == 0 ? to : NULL; /* it has been written over */
    call->result_size = rc == 0 ? size : 0;
    return rc;
}

int
pool_call_return(pool_call_t *call, const char *format, ...)
{
    va_list args;

    if (call == NULL)
        return pool__fail(POOL_EINVAL, "pool_call_return: call is NULL");
    va_start(args, format);
    int rc = encode_result(call, format, args);
    va_end(args);
    return pool__likely(rc == 0) ? 0 : pool__call_library_failed(call, rc);
}

int
pool_call_reserve(pool_call_t *call, size_t size, void **buf)
{
    uint8_t *to = NULL;

    if (call == NULL || buf == NULL)
        return pool__fail(POOL_EINVAL, "pool_call_reserve: %s is NULL",
            call == NULL ? "call" : "buf");
    int rc = reserve(call, "pool_call_reserve", size, &to);
    if (rc < 0)
        return pool__call_library_failed(call, rc);
    call->result = to;
    call->result_size = size;
    *buf = to;
    return 0;
}

pool__hot int
pool_call_return_bytes(pool_call_t *call, const void *data, size_t size)
{
    uint8_t *to = NULL;

    if (call == NULL || (data == NULL && size != 0))
        return pool__fail(POOL_EINVAL, "pool_call_return_bytes: %s is NULL",
            call == NULL ? "call" : "data");
    int rc = reserve(call, "pool_call_return_bytes", size, &to);
    if (rc < 0)
        return pool__call_library_failed(call, rc);
    if (size != 0)
        pool__move(to, data, size);
    call->result = to;
    call->result_size = size;
    return 0;
}

int
pool_call_fail(pool_call_t *call, int code, const char *text, ...)
{
    if (code == 0)
        code = -1;
    if (call == NULL || text == NULL)
        return code;
    va_list args;
    va_start(args, text);
    vsnprintf(call->error.message, sizeof call->error.message, text, args);
    va_end(args);
    call->failed_code = 0; /* the code is the task's own now */
    return code;
}

int
pool_call_rank(const pool_call_t *call)
{
    return call != NULL ? call->rank : 0;
}

int
pool_call_size(const pool_call_t *call)
{
    return call != NULL ? call->size : 0;
}

pool_comm_t *
pool_call_comm(pool_call_t *call)
{
    if (call == NULL)
        return NULL;
    call->comm.rank = call->rank;
    call->comm.size = call->size;
    call->comm.max_size =
        pool__min(call->max_result, POOL__FRAME_MAX_PAYLOAD - POOL__OFFER_SIZE -
                                        (size_t)call->size * sizeof(uint64_t));
    return &call->comm;
}

int
pool_call_log(pool_call_t *call, const char *text, ...)
{
    char line[POOL__LOG_MAX + 1];
    va_list args;

    if (call == NULL || text == NULL)
        return pool__fail(POOL_EINVAL, "pool_call_log: %s is NULL",
            call == NULL ? "call" : "text");
    va_start(args, text);
    int length = vsnprintf(line, sizeof line, text, args);
    va_end(args);
    if (length < 0)
        return pool__fail(
            POOL_EINVAL, "pool_call_log: the text can't be formatted");
    size_t size = pool__min((size_t)length, POOL__LOG_MAX);
    pool__make_printable(line, size);
    if (size != 0 && call->log != NULL)
        call->log(call->log_data, line, size);
    return 0;
}

/* The finalizer of splitmix64: each bit of x decides about half of the bits
 * of the result. */
static uint64_t
mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* The seed is mixed first: else one pool's tasks would have the bits of
 * another's whose seed is a few steps away. */
uint64_t
pool_call_seed(const pool_call_t *call)
{
    const uint64_t step = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / phi, odd */

    if (call == NULL)
        return 0;
    return mix(mix(call->seed + step) + (call->number + 1) * step);
}

bool
pool_call_cancelled(const pool_call_t *call)
{
    if (call == NULL || call->cancel_word == NULL || call->ordinal == 0)
        return false;
    if (call->look != NULL)
        call->look(call->look_data);
    return pool__load(call->cancel_word) == call->ordinal;
}

void **
pool_call_state(pool_call_t *call)
{
    return call != NULL ? call->state : NULL;
}

struct pool__model *
pool__model_find(struct pool__list *models, uint64_t scatter)
{
    pool__list_each(node, models)
    {
        struct pool__model *m =
            pool__list_entry(node, struct pool__model, node);
        if (m->scatter == scatter)
            return m;
    }
    return NULL;
}

/* One block: the model, its columns' names, the bytes of the record. */
int
pool__model_learn(const struct pool_call *call, uint64_t scatter,
    const void *record, size_t size)
{
    struct pool__record head;

    memcpy(&head, record, sizeof head);
    size_t names = (size_t)head.names;
    struct pool__model *m =
        pool__malloc(sizeof *m + names * sizeof(char *) + size);
    if (m == NULL)
        return pool__fail(POOL_ENOMEM, "the record of a scatter");
    const char **name = (const char **)(m + 1);
    uint8_t *bytes = (uint8_t *)(name + names);
    memcpy(bytes, record, size);
    *m = (struct pool__model){.scatter = scatter,
        .build = (pool_build_fn)pool__call_resolve(call, head.build),
        .execute = (pool_execute_fn)pool__call_resolve(call, head.execute),
        .release = (pool_release_fn)pool__call_resolve(call, head.release),
        .columns = (size_t)head.columns,
        .names = names != 0 ? name : NULL,
        .arguments = bytes + sizeof head,
        .arguments_size = (size_t)head.arguments_size,
        .peers = head.peers != 0};
    const char *text =
        (const char *)m->arguments + pool__round8((size_t)head.arguments_size);
    for (size_t i = 0; i < names; i++) {
        name[i] = text;
        text += strlen(text) + 1;
    }
    pool__list_append(call->models, &m->node);
    return 0;
}

void
pool__model_release(struct pool__list *models, uint64_t scatter, bool give_back)
{
    pool__list_each(node, models)
    {
        struct pool__model *m =
            pool__list_entry(node, struct pool__model, node);
        if (scatter != 0 && m->scatter != scatter)
            continue;
        pool__list_remove(&m->node);
        if (give_back && m->built && m->release != NULL)
            m->release(m->model);
        pool__free(m);
    }
}
