/* A call: the worker's view of the task that it runs. */
#ifndef POOL_SRC_CALL_H
#define POOL_SRC_CALL_H

#include "comm.h"
#include "forkpool.h"
#include "list.h"
#include "proto.h"

struct pool_call {
    const uint8_t *arguments;
    size_t arguments_size;
    uint8_t *room; /* where a result may be made in place, 8-aligned */
    size_t room_size;
    uint8_t *area;    /* shared with the host, for what is larger */
    size_t area_size; /* 0: it is in use, or there is none */
    bool area_used;   /* something was put there */
    uint8_t *own;     /* a block of the call's, for what is larger still */
    size_t own_size;
    const uint8_t *result; /* in one of these; NULL: none yet */
    size_t result_size;
    uint64_t max_result;
    int rank, size;
    struct pool_comm comm; /* without peers, until the task says so */
    uint64_t seed, number; /* of the pool and of the task: its random bits */
    void **state;          /* what pool_call_state gives; outlives the call */
    /* Asked to stop where this word is ordinal; NULL: nobody can ask. */
    const uint64_t *cancel_word;
    uint64_t ordinal; /* 0: no task that could be asked */
    /* Brings the word up to date; NULL: it always is. */
    void (*look)(void *look_data);
    void *look_data;
    uintptr_t (*resolve)(uint64_t reference); /* see pool__call_resolve */
    /* Takes a line of log, printable, 1 to POOL__LOG_MAX bytes; NULL: lines
     * are dropped. */
    void (*log)(void *log_data, const char *text, size_t size);
    void *log_data;
    int failed_code; /* of a pool_call_args or _return that failed, or 0 */
    struct pool__list *models; /* what build functions made here */
    struct pool__error error;  /* its message is kept while the call runs */
};

/* Ready for the next task: what is not the arguments, the result or the error
 * is kept between calls. */
static inline void
pool__call_begin(struct pool_call *call, const void *arguments, size_t size)
{
    call->arguments = arguments;
    call->arguments_size = size;
    call->result = NULL;
    call->result_size = 0;
    call->failed_code = 0;
    call->error.message[0] = '\0';
    call->comm.peers = false;
}

/* The address of what the host calls REFERENCE (pool__refer); 0 is 0. Where
 * workers are copies of the host it is the address itself. */
static inline uintptr_t
pool__call_resolve(const struct pool_call *call, uint64_t reference)
{
    if (call->resolve == NULL || reference == 0)
        return (uintptr_t)reference;
    return call->resolve(reference);
}

/* The function returned RC, not 0: fill call->error. who: for a function that
 * said nothing, "the task". Returns the code. */
int pool__call_failed(struct pool_call *call, int rc, const char *who);

/* Run fn; 0 if it succeeded, else call->error says how it failed. */
static inline int
pool__call_run(struct pool_call *call, pool_fn fn)
{
    int rc = fn(call);

    pool__comm_clear(&call->comm);
    return pool__likely(rc == 0) ? 0 : pool__call_failed(call, rc, "the task");
}

/* The number of a chunk that begins with this row: no task has it. */
static inline uint64_t
pool__row_number(uint64_t first)
{
    return UINT64_C(1) << 63 | first;
}

/* A library call of this task failed: if the task returns RC, that is its
 * code. Keeps pool_errmsg() as the message and returns RC. */
int pool__call_library_failed(struct pool_call *call, int rc);

void pool__call_fini(struct pool_call *call);

/* A scatter, as a process that runs chunks of it knows it: what is common to
 * them, and the model that build made here. */
struct pool__model {
    struct pool__list node;
    uint64_t scatter;
    pool_build_fn build;
    pool_execute_fn execute;
    pool_release_fn release;
    size_t columns;
    const char *const *names; /* NULL: none */
    const uint8_t *arguments; /* of build, 8-aligned */
    size_t arguments_size;
    bool peers; /* its ranks may talk to one another */
    bool built; /* model holds */
    void *model;
};

/* The record of a scatter, as it travels: this head, the arguments of build
 * up to a multiple of 8, and the columns' names with their NULs. */
struct pool__record {
    uint64_t build, execute, release; /* see pool__call_resolve */
    uint64_t columns, names;          /* names: as many as columns, or 0 */
    uint64_t arguments_size;
    uint64_t peers; /* 1: its ranks may talk to one another */
};

/* Learn a record, as this call's process. 0 or POOL_ENOMEM. */
int pool__model_learn(const struct pool_call *call, uint64_t scatter,
    const void *record, size_t size);
struct pool__model *pool__model_find(
    struct pool__list *models, uint64_t scatter);
/* Forget that scatter, all of them where it is 0; first give its model back,
 * unless this process only has a copy of it. */
void pool__model_release(
    struct pool__list *models, uint64_t scatter, bool give_back);

#endif
