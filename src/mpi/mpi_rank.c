/* A rank that serves rank 0: one worker after the other in one process.
 *
 * A session is one life of the worker of src/worker.c, with messages for pipes
 * and a region of its own. Between sessions, what still comes for the last one
 * is dropped. Invariants: what is received is in the order of sending, but for
 * POOL__TAG_ASK, which is looked for while a task runs; an ask of another
 * session is out of date. A session's end is a jump out of the worker, never
 * out of a function of the program's. */
#define _GNU_SOURCE
#include "mpi/mpi_rank.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fdio.h"
#include "frame.h"
#include "mem.h"
#include "mpi/mpi_offer.h"
#include "mpi/mpi_words.h"
#include "worker.h"

struct rank {
    MPI_Comm comm;
    struct pool__modules modules; /* this process's, in rank 0's order */
    uint64_t session;
    uint64_t calls; /* of the session, that came */
    bool ended;     /* rank 0 has asked for its end */
    int status;     /* of the session's end */
    jmp_buf over;
    uint8_t *bytes; /* received and not read: [at, have) */
    size_t capacity, at, have;
};

static struct rank self;
static struct pool__region *region; /* of the first session, and the others */

_Noreturn static void
out_of_memory(size_t size)
{
    pool__words_abort("no memory for %zu bytes", size);
}

/* ---- what comes --------------------------------------------------------- */

static void
take_ask(struct pool__arrival *a)
{
    struct pool__ask ask;

    if (!pool__arrival_take(a, &ask, sizeof ask) || ask.session != self.session)
        return;
    self.ended = self.ended || ask.call == 0;
    pool__store(&region->cancel, ask.call != 0 ? ask.call : self.calls);
}

static void
take_data(struct pool__arrival *a)
{
    struct pool__frame frame;

    if (a->size > self.capacity) {
        uint8_t *block = pool__malloc(a->size);
        if (block == NULL)
            out_of_memory(a->size);
        pool__free(self.bytes);
        self.bytes = block;
        self.capacity = a->size;
    }
    (void)pool__arrival_take(a, self.bytes, a->size);
    self.at = 0;
    self.have = a->size;
    if (a->tag != POOL__TAG_CALL)
        return;
    self.calls++;
    (void)pool__frame_split(
        self.bytes, POOL__FRAME_HEADER, POOL__FRAME_MAX_PAYLOAD, &frame);
    pool__words_task(frame.id >> POOL__ID_SENDS_BITS);
}

static void
drop(struct pool__arrival *a)
{
    char nothing;

    (void)pool__arrival_take(a, &nothing, 0);
}

/* ---- how the worker reaches its host ------------------------------------ */

static ssize_t
read_messages(void *unused, void *to, size_t n)
{
    struct pool__arrival a;

    (void)unused;
    while (!self.ended && self.at == self.have) {
        pool__arrival_wait(&a, self.comm, 0, MPI_ANY_TAG);
        if (a.tag == POOL__TAG_ASK)
            take_ask(&a);
        else if (a.tag == POOL__TAG_DATA || a.tag == POOL__TAG_CALL)
            take_data(&a);
        else
            pool__words_abort("message %d inside a session", a.tag);
    }
    if (self.ended)
        return -ECANCELED;
    n = pool__min(n, self.have - self.at);
    memcpy(to, self.bytes + self.at, n);
    self.at += n;
    return (ssize_t)n;
}

static void
send_piece(const void *bytes, size_t n)
{
    MPI_Request request;

    MPI_Isend(bytes, (int)n, MPI_BYTE, 0, POOL__TAG_DATA, self.comm, &request);
    pool__request_wait(&request);
}

/* Small parts go together; a large one from where it is. */
static int
write_messages(void *unused, struct iovec *parts, int count)
{
    static uint8_t together[4096];
    size_t n = 0;

    (void)unused;
    for (int i = 0; i < count; i++) {
        const uint8_t *at = parts[i].iov_base;
        size_t left = parts[i].iov_len;
        if (left <= sizeof together - n) {
            if (left != 0)
                memcpy(together + n, at, left);
            n += left;
            continue;
        }
        if (n != 0)
            send_piece(together, n);
        n = 0;
        for (size_t piece; left != 0; at += piece, left -= piece) {
            piece = pool__min(left, POOL__PIECE);
            send_piece(at, piece);
        }
    }
    if (n != 0)
        send_piece(together, n);
    return 0;
}

static void
leave(void *unused, int status)
{
    (void)unused;
    self.status = status;
    longjmp(self.over, 1);
}

static void
look(void *unused)
{
    struct pool__arrival a;

    (void)unused;
    while (pool__arrival_look(&a, self.comm, 0, POOL__TAG_ASK))
        take_ask(&a);
}

static uintptr_t
resolve(uint64_t reference)
{
    uintptr_t address = pool__modules_resolve(&self.modules, reference);

    if (address == 0)
        pool__words_abort("a function that is not here: %#llx",
            (unsigned long long)reference);
    return address;
}

/* ---- standard output and error ------------------------------------------ */

/* To /dev/null where the pool's options say so. What it was before, or -1. */
static int
silence(int fd, int policy)
{
    if (policy != POOL_OUTPUT_NULL)
        return -1;
    int before = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0) {
        (void)dup2(null, fd);
        close(null);
    }
    return before;
}

static void
speak_again(int fd, int before)
{
    if (before < 0)
        return;
    (void)dup2(before, fd);
    close(before);
}

/* ---- sessions ----------------------------------------------------------- */

/* As fresh as a new worker's. */
static void
open_region(void)
{
    int fd = -1;

    if (region == NULL && pool__region_create(&fd, POOL__REGION_SIZE) == 0)
        region = pool__region_map(fd);
    pool__close(&fd);
    if (region == NULL)
        out_of_memory(POOL__REGION_SIZE);
    memset(region, 0, offsetof(struct pool__region, tasks));
}

static void
run_worker(const struct pool__worker_config *config)
{
    static const struct pool__worker_io io = {.read = read_messages,
        .write = write_messages,
        .leave = leave,
        .look = look,
        .resolve = resolve};

    open_region();
    if (setjmp(self.over) == 0)
        pool__worker_serve(config, region, &io);
}

static void
run_session(struct pool__arrival *a)
{
    static struct pool__begin begin; /* outlives the jump */

    if (!pool__arrival_take(a, &begin, sizeof begin))
        pool__words_abort("a session's beginning of %zu bytes", a->size);
    self.session = begin.config.incarnation;
    self.calls = 0;
    self.at = self.have = 0;
    self.ended = false;
    int out = silence(1, begin.config.stdout_to);
    int err = silence(2, begin.config.stderr_to);
    pool__words_begin();
    run_worker(&begin.config);
    pool__words_end();
    fflush(stdout);
    speak_again(1, out);
    speak_again(2, err);
    struct pool__ended ended = {self.session, self.status};
    MPI_Send(&ended, sizeof ended, MPI_BYTE, 0, POOL__TAG_ENDED, self.comm);
}

void
pool__rank_serve(MPI_Comm comm, struct pool__verdict *verdict)
{
    struct pool__arrival a;

    memset(&self, 0, sizeof self);
    self.comm = comm;
    pool__words_install(comm);
    for (;;) {
        pool__arrival_wait(&a, comm, 0, MPI_ANY_TAG);
        if (a.tag == POOL__TAG_CLOSE)
            break;
        if (a.tag == POOL__TAG_BEGIN)
            run_session(&a);
        else if (a.tag == POOL__TAG_OFFER)
            pool__offer_answer(&a, comm, &self.modules);
        else
            drop(&a);
    }
    if (!pool__arrival_take(&a, verdict, sizeof *verdict))
        pool__words_abort("a verdict of %zu bytes", a.size);
    pool__words_remove();
    pool__modules_fini(&self.modules);
    pool__free(self.bytes);
}
