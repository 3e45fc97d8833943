/* A rank of a scatter, in the worker: build once, execute the chunk.
 *
 * A chunk is the sequence: scatter, build, execute, release (addresses); rank,
 * ranks, whether they are peers; build arguments; first row, rows, columns,
 * residue; number of names and the names; then the matrix as a typed array, or
 * the list as bytes. */
#include <stdio.h>
#include <string.h>

#include "call.h"
#include "error.h"
#include "mem.h"
#include "scatter.h"

static int
encode_format(pool_enc_t *enc, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int rc = pool_vencode(enc, format, args);
    va_end(args);
    return rc;
}

static int
decode_format(pool_dec_t *dec, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int rc = pool_vdecode(dec, format, args);
    va_end(args);
    return rc;
}

int
pool__chunk_encode(pool_enc_t *enc, const struct pool__chunk *c)
{
    const pool_rows_t *rows = &c->rows;
    size_t names = rows->names != NULL ? rows->columns : 0;

    encode_format(enc, "ttttiib", c->scatter, (uint64_t)(uintptr_t)c->build,
        (uint64_t)(uintptr_t)c->execute, (uint64_t)(uintptr_t)c->release,
        c->rank, c->ranks, c->peers);
    pool_enc_bytes(enc, c->build_arguments, c->build_arguments_size);
    encode_format(enc, "ttttt", (uint64_t)rows->first, (uint64_t)rows->count,
        (uint64_t)rows->columns, c->residue, (uint64_t)names);
    for (size_t i = 0; i < names; i++)
        encode_format(enc, "s", rows->names[i]);
    if (rows->columns != 0)
        pool_enc_numbers(
            enc, POOL_F64, rows->values, rows->count * rows->columns);
    else
        pool_enc_bytes(enc, rows->items, rows->items_size);
    return enc->error;
}

/* What is allocated for a chunk while it runs. */
struct unpacked {
    const char **names;
    uint8_t *items;
};

static int
decode_names(
    pool_dec_t *dec, uint64_t count, pool_rows_t *rows, struct unpacked *u)
{
    if (count == 0)
        return 0;
    u->names = pool__malloc((size_t)count * sizeof *u->names);
    if (u->names == NULL)
        return pool__fail(POOL_ENOMEM, "the columns' names");
    int rc = 0;
    for (uint64_t i = 0; i < count && rc == 0; i++)
        rc = decode_format(dec, "s", &u->names[i]);
    rows->names = u->names;
    return rc;
}

/* A list keeps its residue, so that arrays in it are aligned here too. */
static int
decode_list(
    pool_dec_t *dec, uint64_t residue, pool_rows_t *rows, struct unpacked *u)
{
    const void *items;
    int rc = pool_dec_bytes(dec, &items, &rows->items_size);

    if (rc < 0)
        return rc;
    u->items = pool__malloc(rows->items_size + 8);
    if (u->items == NULL)
        return pool__fail(POOL_ENOMEM, "the rows of a list");
    rows->items = memcpy(u->items + residue % 8, items, rows->items_size);
    return 0;
}

static int
decode_rows(pool_dec_t *dec, pool_rows_t *rows, struct unpacked *u)
{
    uint64_t first, count, columns, residue, names;
    int rc =
        decode_format(dec, "ttttt", &first, &count, &columns, &residue, &names);

    if (rc < 0)
        return rc;
    rows->first = (size_t)first;
    rows->count = (size_t)count;
    rows->columns = (size_t)columns;
    rc = decode_names(dec, names, rows, u);
    if (rc == 0 && columns == 0)
        return decode_list(dec, residue, rows, u);
    const double *values = NULL;
    size_t n = 0;
    if (rc == 0)
        rc = decode_format(dec, "ad", &values, &n);
    rows->values = values;
    return rc;
}

static int
chunk_decode(pool_call_t *call, struct pool__chunk *c, struct unpacked *u)
{
    pool_dec_t dec;
    uint64_t build, execute, release;
    int32_t rank, ranks;

    memset(c, 0, sizeof *c);
    pool_dec_init(&dec, call->arguments, call->arguments_size);
    int rc = decode_format(&dec, "ttttiib", &c->scatter, &build, &execute,
        &release, &rank, &ranks, &c->peers);
    if (rc == 0)
        rc =
            pool_dec_bytes(&dec, &c->build_arguments, &c->build_arguments_size);
    if (rc < 0)
        return rc;
    c->build = (pool_build_fn)(uintptr_t)build;
    c->execute = (pool_execute_fn)(uintptr_t)execute;
    c->release = (pool_release_fn)(uintptr_t)release;
    c->rank = rank;
    c->ranks = ranks;
    return decode_rows(&dec, &c->rows, u);
}

/* A function of the job failed and said nothing: say which it was. */
static int
failed_in(pool_call_t *call, const char *what, int rc)
{
    if (call->error.message[0] == '\0')
        snprintf(call->error.message, sizeof call->error.message,
            "%s returned %d", what, rc);
    return rc;
}

/* Run build on a copy of its arguments: in the chunk they are not aligned. */
static int
build(pool_call_t *call, const struct pool__chunk *c, void **model)
{
    const uint8_t *arguments = call->arguments;
    size_t size = call->arguments_size;
    uint8_t *copy = pool__malloc(c->build_arguments_size);

    if (copy == NULL)
        return pool__call_library_failed(
            call, pool__fail(POOL_ENOMEM, "the arguments of build"));
    if (c->build_arguments_size != 0)
        memcpy(copy, c->build_arguments, c->build_arguments_size);
    call->arguments = copy;
    call->arguments_size = c->build_arguments_size;
    int rc = c->build(call, model);
    call->arguments = arguments;
    call->arguments_size = size;
    call->result = NULL; /* a build returns its model, no value */
    call->result_size = 0;
    pool__free(copy);
    return rc == 0 ? 0 : failed_in(call, "build", rc);
}

/* The model of this scatter in this process. */
static int
get_model(pool_call_t *call, const struct pool__chunk *c, void **model)
{
    struct pool__model *known = pool__model_find(call->models, c->scatter);

    *model = known != NULL ? known->model : NULL;
    if (known != NULL || c->build == NULL)
        return 0;
    int rc = build(call, c, model);
    if (rc != 0)
        return rc;
    rc = pool__model_add(call->models, c->scatter, *model, c->release);
    if (rc == 0)
        return 0;
    if (c->release != NULL)
        c->release(*model);
    return pool__call_library_failed(call, rc);
}

int
pool__scatter_run(pool_call_t *call)
{
    struct pool__chunk chunk;
    struct unpacked unpacked = {NULL, NULL};
    void *model = NULL;

    int rc = chunk_decode(call, &chunk, &unpacked);
    if (rc < 0)
        pool__call_library_failed(call, rc);
    call->rank = chunk.rank;
    call->size = chunk.ranks;
    call->comm.peers = chunk.peers;
    call->number = pool__row_number(chunk.rows.first);
    if (rc == 0)
        rc = get_model(call, &chunk, &model);
    if (rc == 0) {
        rc = chunk.execute(call, model, &chunk.rows);
        if (rc != 0)
            failed_in(call, "execute", rc);
    }
    pool__free(unpacked.names);
    pool__free(unpacked.items);
    return rc;
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
