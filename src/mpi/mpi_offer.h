/* Whether ranks run the same build: rank 0 offers its modules, each rank
 * answers which of them it has. */
#ifndef POOL_SRC_MPI_OFFER_H
#define POOL_SRC_MPI_OFFER_H

#include "mpi/mpi_link.h"

/* Who a rank is. */
struct pool__peer {
    int32_t pid;
    char host[POOL__HOST_MAX];
    char program[256];
};

/* On rank 0: ask every rank, which all must be serving. modules: out, what is
 * loaded here; those that some rank has not hold no address. peers: out, by
 * rank. 0; POOL_EINVAL where a rank runs another build; POOL_ENOMEM. */
int pool__offer_make(MPI_Comm comm, struct pool__modules *modules,
    struct pool__peer *peers, const char *who);

/* On a rank: the answer. modules: out, this process's in rank 0's order. */
void pool__offer_answer(
    struct pool__arrival *offer, MPI_Comm comm, struct pool__modules *modules);

#endif
