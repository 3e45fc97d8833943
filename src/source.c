/* The stream of tasks, from the region or the pipe. docs/design.md tells what
 * the two sides promise each other. */
#define _GNU_SOURCE
#include "source.h"

#include <errno.h>
#include <string.h>

#include "cpu.h"

#define STEP (64u << 10) /* bytes taken at once: they stay in near caches */

/* It has N bytes more. */
static ssize_t
note_taken(struct pool__source *s, size_t n)
{
    s->taken += n;
    pool__store(&s->region->task_taken, s->taken);
    pool__store(&s->region->cpu, pool__cpu());
    return (ssize_t)n;
}

/* Take what stands in the region and comes next. The host may be about to write
 * it to the pipe, and then over it: it moves `start` first, and what was copied
 * doesn't count. */
static ssize_t
take(struct pool__source *s, void *to, size_t n)
{
    const struct pool__stream *task = &s->region->task;
    uint64_t start = pool__load(&task->start), end = pool__load(&task->end);

    if (start > s->taken || end <= s->taken)
        return 0;
    n = pool__min(pool__min(n, STEP), (size_t)(end - s->taken));
    memcpy(to, pool__task_at(s->region, s->taken), n);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return pool__load(&task->start) <= s->taken ? note_taken(s, n) : 0;
}

/* Read from the pipe. What was taken from the region before is dropped: where
 * in the stream the pipe's next byte stands is known as in the other direction,
 * see position() in channel_read.c. fresh: out, how many bytes are left. As
 * io->read. */
static ssize_t
read_pipe(struct pool__source *s, uint8_t *to, size_t n, ssize_t *fresh)
{
    ssize_t got = s->io->read(s->io->self, to, n);

    if (got <= 0)
        return got;
    uint64_t at = s->piped + pool__load(&s->region->task.skipped);
    size_t old = pool__min(s->taken - at, (size_t)got);
    s->piped += (size_t)got;
    if (old != 0)
        memmove(to, to + old, (size_t)got - old);
    *fresh = note_taken(s, (size_t)got - old);
    return got;
}

/* The host must not believe that somebody looks who sleeps: see ask_reader() in
 * channel.c, whose other half the fence is. */
static ssize_t
wait_for_some(struct pool__source *s, void *to, size_t n)
{
    pool__store(&s->region->reader, POOL__READER_SLEEPS);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    ssize_t got = take(s, to, n);
    ssize_t rc = got != 0 ? got : read_pipe(s, to, n, &got);
    pool__store(&s->region->reader, POOL__READER_LOOKS);
    return rc > 0 ? got : rc == 0 ? -EPIPE : rc;
}

ssize_t
pool__source_read(struct pool__source *s, void *to, size_t n)
{
    ssize_t got = take(s, to, n);

    while (got == 0)
        got = wait_for_some(s, to, n);
    return got != -ECANCELED ? got : 0;
}

bool
pool__source_look(struct pool__source *s, struct pool__ticks *ticks)
{
    uint64_t ns = pool__load(&s->region->spin_ns);

    if (ns == 0 || !pool__spin_pays(&s->spin))
        return false;
    uint64_t end = pool__ticks_now(ticks) + ns;
    bool found = false;
    do
        for (int i = 0; i < POOL__SPIN_ROUNDS && !found; i++) {
            pool__spin_pause();
            found = pool__source_has_more(s);
        }
    while (!found && pool__ticks_now(ticks) < end);
    pool__spin_note(&s->spin, found);
    return found;
}
