/* What travels from a scatter to the rank that runs a chunk of it. */
#ifndef POOL_SRC_SCATTER_H
#define POOL_SRC_SCATTER_H

#include "forkpool.h"

/* One chunk: the arguments of a rank's task. */
struct pool__chunk {
    uint64_t scatter; /* number of the scatter in the host process */
    pool_build_fn build;
    pool_execute_fn execute;
    pool_release_fn release;
    const void *build_arguments;
    size_t build_arguments_size;
    int rank, ranks;
    bool peers; /* the ranks may talk to one another */
    pool_rows_t rows;
    uint64_t residue; /* of rows.items: its address modulo 8 at the host */
};

/* Encode a chunk; its size is enc's. 0 or the encoder's error. */
int pool__chunk_encode(pool_enc_t *enc, const struct pool__chunk *chunk);

/* The task of every rank. */
int pool__scatter_run(pool_call_t *call);

#endif
