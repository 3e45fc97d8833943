/* Messages between rank 0 and the ranks that serve it. docs/design.md tells
 * what goes when. */
#ifndef POOL_SRC_MPI_LINK_H
#define POOL_SRC_MPI_LINK_H

#include <mpi.h>

#include "forkserver.h"
#include "list.h"

#define POOL__HOST_MAX 64
#define POOL__PIECE ((size_t)1 << 20) /* bytes of one message, at most */

enum pool__tag {
    POOL__TAG_OFFER = 1, /* to a rank: the modules of rank 0 */
    POOL__TAG_ANSWER,    /* from it: which of them it has, and who it is */
    POOL__TAG_BEGIN,     /* to a rank: struct pool__begin; it is a worker now */
    POOL__TAG_DATA,      /* both ways: bytes of the worker's streams */
    POOL__TAG_CALL,      /* to a rank: likewise, and a call frame is first */
    POOL__TAG_ASK,       /* to a rank: struct pool__ask; ahead of all else */
    POOL__TAG_ENDED,     /* from it: struct pool__ended; it is free again */
    POOL__TAG_CLOSE      /* to a rank: struct pool__verdict; the pool is over */
};

/* A session is one life as a worker; its number is the incarnation. */
struct pool__begin {
    struct pool__worker_config config;
};

struct pool__ask {
    uint64_t session;
    uint64_t call; /* the how manieth of the session shall stop; 0: the
                      session, when what runs has returned */
};

struct pool__ended {
    uint64_t session;
    int32_t status; /* as of exit(3) */
};

/* What pool_mpi_create returns on a rank. */
struct pool__verdict {
    int32_t code;
    char message[256];
};

/* A message on its way: MPI may still read its bytes. */
struct pool__message {
    struct pool__list node;
    MPI_Request request;
    size_t size, capacity;
    uint8_t bytes[];
};

struct pool__sending {
    struct pool__list list;
    size_t count;
};

void pool__sending_init(struct pool__sending *outbox);
/* Room for CAPACITY bytes; NULL where there is no memory. */
struct pool__message *pool__message_new(size_t capacity);
/* Send it; the outbox frees it. */
void pool__message_send(struct pool__message *message,
    struct pool__sending *outbox, MPI_Comm comm, int rank, enum pool__tag tag);
/* Free what has gone. Whether something has. */
bool pool__sending_test(struct pool__sending *outbox);
/* Wait until all has gone. */
void pool__sending_wait(struct pool__sending *outbox);

/* Something to receive. */
struct pool__arrival {
    MPI_Message message;
    int source, tag;
    size_t size;
};

/* Is there something from that rank (MPI_ANY_SOURCE), with that tag
 * (MPI_ANY_TAG)? Then it must be taken. */
bool pool__arrival_look(
    struct pool__arrival *arrival, MPI_Comm comm, int source, int tag);
/* The same, and wait for it. */
void pool__arrival_wait(
    struct pool__arrival *arrival, MPI_Comm comm, int source, int tag);
/* Receive it, at most SIZE bytes; the rest is lost. False: it had another
 * size. */
bool pool__arrival_take(struct pool__arrival *arrival, void *to, size_t size);

/* Wait a little: first for others that want the CPU, then asleep, up to 2 ms.
 * TRIES counts from 0. */
void pool__pause(unsigned *tries);

/* Wait for a request without burning the CPU. */
void pool__request_wait(MPI_Request *request);

#endif
