/* A rank that serves rank 0: one worker after the other in one process. */
#ifndef POOL_SRC_MPI_RANK_H
#define POOL_SRC_MPI_RANK_H

#include "mpi/mpi_link.h"

/* Serve until rank 0 closes; *verdict is what pool_mpi_create returns. */
void pool__rank_serve(MPI_Comm comm, struct pool__verdict *verdict);

#endif
