/* A rank of a scatter, in the worker: build once, execute the chunk. */
#include <stdio.h>
#include <string.h>

#include "call.h"
#include "error.h"
#include "scatter.h"

/* A function of the job failed and said nothing: say which it was. */
static int
failed_in(pool_call_t *call, const char *what, int rc)
{
    if (call->error.message[0] == '\0')
        snprintf(call->error.message, sizeof call->error.message,
            "%s returned %d", what, rc);
    return rc;
}

/* Make the model. Where that fails, the next chunk here tries again. */
static int
build(pool_call_t *call, struct pool__model *m)
{
    const uint8_t *arguments = call->arguments;
    size_t size = call->arguments_size;

    call->arguments = m->arguments;
    call->arguments_size = m->arguments_size;
    int rc = m->build(call, &m->model);
    call->arguments = arguments;
    call->arguments_size = size;
    call->result = NULL; /* a build returns its model, no value */
    call->result_size = 0;
    m->built = rc == 0;
    return rc == 0 ? 0 : failed_in(call, "build", rc);
}

/* The rows are read where they came in. */
static pool_rows_t
rows_of(const pool_call_t *call, const struct pool__chunk *c,
    const struct pool__model *m)
{
    const uint8_t *rows = call->arguments + sizeof *c + c->residue;
    pool_rows_t r = {.first = (size_t)c->first,
        .count = (size_t)c->count,
        .columns = m->columns,
        .names = m->names};

    if (m->columns != 0) {
        r.values = (const double *)(const void *)rows;
    } else {
        r.items = rows;
        r.items_size = call->arguments_size - sizeof *c - (size_t)c->residue;
    }
    return r;
}

int
pool__scatter_run(pool_call_t *call)
{
    struct pool__chunk c;
    int rc = 0;

    memcpy(&c, call->arguments, sizeof c);
    struct pool__model *m = pool__model_find(call->models, c.scatter);
    if (m == NULL) /* the host introduces it before */
        return pool__call_library_failed(
            call, pool__fail(POOL_EINVAL, "a chunk of an unknown scatter"));
    call->rank = (int)c.rank;
    call->size = (int)c.ranks;
    call->comm.peers = m->peers;
    call->number = pool__row_number((size_t)c.first);
    if (m->build != NULL && !m->built)
        rc = build(call, m);
    if (rc != 0)
        return rc;
    pool_rows_t rows = rows_of(call, &c, m);
    rc = m->execute(call, m->model, &rows);
    return rc == 0 ? 0 : failed_in(call, "execute", rc);
}

/* ---- rows of a list --------------------------------------------------- */

static int
find_row(const pool_rows_t *rows, size_t row, pool_dec_t *dec)
{
    pool_dec_t all;
    const void *data = NULL;
    size_t size = 0;
    int rc = 0;

    pool_dec_init(&all, rows->items, rows->items_size);
    for (size_t i = 0; i <= row && rc == 0; i++)
        rc = pool_dec_value(&all, &data, &size);
    pool_dec_init(dec, data, size);
    return rc;
}

int
pool_rows_get(const pool_rows_t *rows, size_t row, const char *format, ...)
{
    pool_dec_t dec;
    uint64_t count = 0;
    va_list args;

    if (rows == NULL || format == NULL || rows->items == NULL)
        return pool__fail(POOL_EINVAL, "pool_rows_get: %s",
            rows == NULL     ? "rows is NULL"
            : format == NULL ? "format is NULL"
                             : "the rows are a matrix, read rows->values");
    if (row >= rows->count)
        return pool__fail(
            POOL_EINVAL, "pool_rows_get: row %zu of %zu", row, rows->count);
    int rc = find_row(rows, row, &dec);
    if (rc == 0 && strcmp(format, "v") != 0 &&
        pool_dec_peek(&dec) == POOL_ITEM_ARRAY)
        rc = pool_dec_array(&dec, &count);
    if (rc < 0)
        return rc;
    va_start(args, format);
    rc = pool_vdecode(&dec, format, args);
    va_end(args);
    if (rc == 0 && count == POOL_INDEFINITE)
        (void)pool_dec_break(&dec);
    return rc == 0 ? pool_dec_finish(&dec) : rc;
}
