/* A call: the worker's view of the task that it runs. */
#ifndef POOL_SRC_CALL_H
#define POOL_SRC_CALL_H

#include "forkpool.h"
#include "list.h"
#include "proto.h"

struct pool_call {
    const uint8_t *arguments;
    size_t arguments_size;
    uint8_t *room; /* where a result may be made in place, 8-aligned */
    size_t room_size;
    uint8_t *own; /* a block of the call's, for what is larger */
    size_t own_size;
    const uint8_t *result; /* in room or own; NULL: none yet */
    size_t result_size;
    uint64_t max_result;
    int rank, size;
    int failed_code; /* of a pool_call_args or _return that failed, or 0 */
    struct pool__list *models; /* what build functions made here */
    struct pool__error error;  /* its message is kept while the call runs */
};

/* Ready for the next task: the members from room_size on are kept between
 * calls, except the result and the error. */
void pool__call_begin(
    struct pool_call *call, const void *arguments, size_t size);

/* Run fn; 0 if it succeeded, else call->error says how it failed. */
int pool__call_run(struct pool_call *call, pool_fn fn);

/* A library call of this task failed: if the task returns RC, that is its
 * code. Keeps pool_errmsg() as the message and returns RC. */
int pool__call_library_failed(struct pool_call *call, int rc);

void pool__call_fini(struct pool_call *call);

/* The models of one process, by the scatter they belong to. */
struct pool__model {
    struct pool__list node;
    uint64_t scatter;
    void *model;
    pool_release_fn release;
};

struct pool__model *pool__model_find(
    struct pool__list *models, uint64_t scatter);
/* 0 or POOL_ENOMEM (and the model is still the caller's). */
int pool__model_add(struct pool__list *models, uint64_t scatter, void *model,
    pool_release_fn release);
/* Forget that scatter's model, of every scatter where it is 0; first give it
 * back, unless this process only has a copy of it. */
void pool__model_release(
    struct pool__list *models, uint64_t scatter, bool give_back);

#endif
