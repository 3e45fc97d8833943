/* What is said before a job ends.
 *
 * A rank that exits, or is killed by a signal of its own making, takes the job
 * along. The handlers here only say which rank and task it was; then they are
 * out of the way, and what would have happened happens. Invariant: they speak
 * only in the very process that serves, not in a child of a task's. */
#define _GNU_SOURCE
#include "mpi/mpi_words.h"

#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mpi/mpi_link.h"

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
#define SIGNALS (sizeof signals / sizeof signals[0])

static struct {
    MPI_Comm comm;
    pid_t pid;      /* of the process that serves; 0: none does */
    bool inside;    /* functions of the program may run */
    uint64_t task;  /* the one that runs, or ran last; 0: none yet */
    char where[96]; /* "forkpool: rank 2 on host" */
    struct sigaction before[SIGNALS];
} words;

_Noreturn void
pool__words_abort(const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "%s: %s; the job ends\n",
        words.where[0] != '\0' ? words.where : "forkpool", text);
    words.inside = false;
    MPI_Abort(words.pid != 0 ? words.comm : MPI_COMM_WORLD, 1);
    _exit(EXIT_FAILURE);
}

static bool
concerns_us(void)
{
    return words.inside && words.pid == getpid();
}

static void
on_exit_called(int status, void *unused)
{
    (void)unused;
    if (!concerns_us())
        return;
    if (words.task != 0)
        pool__words_abort("task %llu called exit(%d)",
            (unsigned long long)words.task, status);
    pool__words_abort("the initializer called exit(%d)", status);
}

/* Only what may be called in a handler, and one write: mpirun mixes what the
 * ranks print, a write at a time. */
static void
say_signal(int signal)
{
    const char *name = sigabbrev_np(signal);
    char number[21], *at = number + sizeof number - 1;
    uint64_t n = words.task;
    char line[sizeof words.where + 96];
    size_t length = 0;

    *at = '\0';
    do
        *--at = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    const char *parts[] = {words.where, ": killed by SIG",
        name != NULL ? name : "?", " in task ", at, "; the job ends\n"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        size_t more = strlen(parts[i]);
        memcpy(line + length, parts[i], more);
        length += more;
    }
    if (write(STDERR_FILENO, line, length) < 0)
        return; /* nobody hears it */
}

/* What was there before gets it: the instruction is tried again, or abort(3)
 * raises it again. */
static void
on_signal(int signal)
{
    if (concerns_us())
        say_signal(signal);
    for (size_t i = 0; i < SIGNALS; i++)
        if (signals[i] == signal)
            (void)sigaction(signal, &words.before[i], NULL);
}

void
pool__words_install(MPI_Comm comm)
{
    static bool registered;
    struct sigaction action = {.sa_handler = on_signal};
    char host[POOL__HOST_MAX] = "?";
    int rank;

    MPI_Comm_rank(comm, &rank);
    (void)gethostname(host, sizeof host - 1);
    snprintf(
        words.where, sizeof words.where, "forkpool: rank %d on %s", rank, host);
    words.comm = comm;
    words.pid = getpid();
    words.task = 0;
    if (!registered)
        on_exit(on_exit_called, NULL);
    registered = true;
    if (rank == 0)
        return; /* its signals are the program's alone */
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < SIGNALS; i++)
        (void)sigaction(signals[i], &action, &words.before[i]);
}

void
pool__words_remove(void)
{
    int rank;

    MPI_Comm_rank(words.comm, &rank);
    words.pid = 0;
    for (size_t i = 0; i < SIGNALS && rank != 0; i++)
        (void)sigaction(signals[i], &words.before[i], NULL);
}

void
pool__words_begin(void)
{
    words.task = 0;
    words.inside = true;
}

void
pool__words_end(void)
{
    words.inside = false;
}

void
pool__words_task(uint64_t number)
{
    words.task = number;
}
