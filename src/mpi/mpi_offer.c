/* Whether ranks run the same build.
 *
 * A module is known by a digest of its notes, which hold the build id, and of
 * its code, for programs that were linked without one. Invariant: after an
 * offer, place i of the lists of rank 0 and of every rank is the same module,
 * or holds no address. */
#define _GNU_SOURCE
#include "mpi/mpi_offer.h"

#include <string.h>
#include <unistd.h>

#include "error.h"
#include "forkpool_mpi.h"
#include "mem.h"
#include "mpi/mpi_words.h"

#define MAGIC UINT64_C(0x31306c6f6f706b66) /* raised with the messages */

/* What ranks must have alike; the place in `needed`. */
enum need { PROGRAM, LIBRARY, MPI_LIBRARY, NEEDS };

struct offer {
    uint64_t magic;
    uint64_t count;
    uint32_t needed[NEEDS]; /* places in the list */
    uint32_t config_size;   /* bytes of a session's beginning */
    uint64_t digests[];
};

struct answer {
    struct pool__peer peer;
    uint64_t count;
    uint8_t has[];
};

static uint64_t
digest(const struct pool__module *m)
{
    uint64_t sum = m->identity, word;

    for (uintptr_t at = m->text; m->text_end - at >= sizeof word;
         at += sizeof word) {
        memcpy(&word, (const void *)at, sizeof word);
        sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        sum ^= sum >> 29;
    }
    return sum;
}

static void
introduce_self(struct pool__peer *peer)
{
    memset(peer, 0, sizeof *peer);
    peer->pid = getpid();
    (void)gethostname(peer->host, sizeof peer->host - 1);
    if (readlink("/proc/self/exe", peer->program, sizeof peer->program - 1) < 0)
        strcpy(peer->program, "?");
}

/* ---- on a rank ---------------------------------------------------------- */

/* Put this process's modules in the order of the offer. */
static void
match(const struct offer *o, struct pool__modules *modules, uint8_t *has)
{
    struct pool__modules mine = {NULL, 0, 0};

    if (pool__modules_note(&mine) < 0)
        return;
    for (size_t j = 0; j < mine.count; j++) {
        uint64_t sum = digest(&mine.list[j]);
        for (uint64_t i = 0; i < o->count; i++)
            if (o->digests[i] == sum && !has[i]) {
                modules->list[i] = mine.list[j];
                has[i] = 1;
                break;
            }
    }
    pool__modules_fini(&mine);
}

static bool
is_offer(const struct offer *o, size_t size)
{
    return size >= sizeof *o && o->magic == MAGIC &&
           o->config_size == sizeof(struct pool__begin) &&
           o->count <= (size - sizeof *o) / sizeof o->digests[0];
}

void
pool__offer_answer(
    struct pool__arrival *a, MPI_Comm comm, struct pool__modules *modules)
{
    struct offer *o = pool__zalloc(a->size);

    if (o == NULL)
        pool__words_abort("no memory for an offer");
    (void)pool__arrival_take(a, o, a->size);
    size_t count = is_offer(o, a->size) ? (size_t)o->count : 0;
    struct answer *answer = pool__zalloc(sizeof *answer + count);
    pool__modules_fini(modules);
    modules->list = pool__zalloc((count + 1) * sizeof *modules->list);
    if (answer == NULL || modules->list == NULL)
        pool__words_abort("no memory for an answer");
    modules->count = modules->capacity = count;
    introduce_self(&answer->peer);
    answer->count = count;
    if (count != 0)
        match(o, modules, answer->has);
    MPI_Send(answer, (int)(sizeof *answer + count), MPI_BYTE, 0,
        POOL__TAG_ANSWER, comm);
    pool__free(answer);
    pool__free(o);
}

/* ---- on rank 0 ---------------------------------------------------------- */

static uint32_t
place_of(const struct pool__modules *modules, uintptr_t address)
{
    return (uint32_t)((pool__modules_refer(modules, address) >> 40) - 1);
}

static struct offer *
make_offer(const struct pool__modules *modules, size_t *size)
{
    *size = sizeof(struct offer) + modules->count * sizeof(uint64_t);
    struct offer *o = pool__zalloc(*size);

    if (o == NULL)
        return NULL;
    o->magic = MAGIC;
    o->count = modules->count;
    o->config_size = sizeof(struct pool__begin);
    o->needed[PROGRAM] = 0; /* the program comes first */
    o->needed[LIBRARY] = place_of(modules, (uintptr_t)pool_create);
    o->needed[MPI_LIBRARY] = place_of(modules, (uintptr_t)pool__offer_make);
    for (size_t i = 0; i < modules->count; i++)
        o->digests[i] = digest(&modules->list[i]);
    return o;
}

static const char *
missing(const struct offer *o, const struct answer *answer)
{
    static const char *const names[NEEDS] = {
        "the program", "libforkpool", "libforkpool-mpi"};

    if (answer->count != o->count)
        return "the libraries";
    for (int i = 0; i < NEEDS; i++)
        if (!answer->has[o->needed[i]])
            return names[i];
    return NULL;
}

/* One rank's answer. What it has not is crossed out. */
static int
judge(const struct offer *o, const struct answer *answer, int rank,
    struct pool__modules *modules, const char *who)
{
    const char *what = missing(o, answer);

    if (what != NULL)
        return pool__fail(POOL_EINVAL,
            "%s: rank %d on %s runs another build of %s: %s", who, rank,
            answer->peer.host, what, answer->peer.program);
    for (size_t i = 0; i < modules->count; i++)
        if (!answer->has[i])
            modules->list[i].text = modules->list[i].text_end = 0;
    return 0;
}

static int
hear(MPI_Comm comm, const struct offer *o, int rank,
    struct pool__modules *modules, struct pool__peer *peer, const char *who)
{
    struct pool__arrival a;

    pool__arrival_wait(&a, comm, rank, POOL__TAG_ANSWER);
    struct answer *answer = pool__zalloc(pool__max(a.size, sizeof *answer));
    if (answer == NULL)
        pool__words_abort("no memory for an answer");
    (void)pool__arrival_take(&a, answer, a.size);
    *peer = answer->peer;
    int rc = judge(o, answer, rank, modules, who);
    pool__free(answer);
    return rc;
}

int
pool__offer_make(MPI_Comm comm, struct pool__modules *modules,
    struct pool__peer *peers, const char *who)
{
    int ranks, failed = 0;
    size_t size;
    int rc = pool__modules_note(modules);

    if (rc < 0)
        return rc;
    struct offer *o = make_offer(modules, &size);
    if (o == NULL)
        return pool__fail(POOL_ENOMEM, "%s: an offer", who);
    MPI_Comm_size(comm, &ranks);
    introduce_self(&peers[0]);
    for (int rank = 1; rank < ranks; rank++)
        MPI_Send(o, (int)size, MPI_BYTE, rank, POOL__TAG_OFFER, comm);
    for (int rank = 1; rank < ranks; rank++) { /* all of them, also then */
        rc = hear(comm, o, rank, modules, &peers[rank], who);
        failed = failed != 0 ? failed : rc;
    }
    pool__free(o);
    return failed;
}
