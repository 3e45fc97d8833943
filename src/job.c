/* Jobs: the part of a scatter that does not travel with each chunk.
 *
 * Invariant: proc->sched.jobs holds the numbers of the scatters that this
 * worker knows and that are not over, so a record goes to a worker once. */
#include "job.h"

#include "error.h"
#include "mem.h"

/* Where it is in the list, or the length of that. The last one that was
 * introduced is the most likely. */
static size_t
find(const struct pool__proc *proc, uint64_t number)
{
    size_t n = proc->sched.job_count;

    for (size_t i = n; i-- != 0;)
        if (proc->sched.jobs[i] == number)
            return i;
    return n;
}

static int
note(struct pool__proc *proc, uint64_t number)
{
    size_t n = proc->sched.job_count;

    if (n == proc->sched.job_room) {
        size_t room = 2 * n + 4;
        uint64_t *list = pool__realloc(proc->sched.jobs, room * sizeof list[0]);
        if (list == NULL)
            return POOL_ENOMEM;
        proc->sched.jobs = list;
        proc->sched.job_room = room;
    }
    proc->sched.jobs[n] = number;
    proc->sched.job_count = n + 1;
    return 0;
}

int
pool__job_introduce(struct pool__proc *proc, const struct pool__job *job)
{
    struct pool__frame hello = {.type = POOL__FRAME_HELLO,
        .flags = POOL__HELLO_JOB,
        .id = job->number,
        .size = (uint32_t)job->record_size};

    if (find(proc, job->number) != proc->sched.job_count)
        return 0;
    int rc = note(proc, job->number);
    if (rc == 0 &&
        (rc = pool__channel_control(&proc->channel, &hello, job->record)) < 0)
        proc->sched.job_count--;
    return rc;
}

bool
pool__job_forget(struct pool__proc *proc, uint64_t number)
{
    size_t i = find(proc, number);

    if (i == proc->sched.job_count)
        return false;
    proc->sched.jobs[i] = proc->sched.jobs[--proc->sched.job_count];
    return true;
}
