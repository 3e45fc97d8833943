/* What a forked child does before it is a worker: nothing of the host's that
 * could be disturbed is left in its hands. */
#ifndef POOL_SRC_SPAWN_H
#define POOL_SRC_SPAWN_H

#include <signal.h>
#include <stdint.h>

/* Block every signal; *old is the mask to give to pool__signals_restore. */
void pool__signals_block(sigset_t *old);
void pool__signals_restore(const sigset_t *old);

/* Dispositions back to the default, but those named are ignored; 0 ends the
 * list. The mask stays as it is. */
void pool__signals_reset(const int *ignored);

/* Forget what the host had in the buffers of stdout and stderr: the host
 * will write it. */
void pool__stdio_forget(void);
/* Write what this process printed. */
void pool__stdio_flush(void);

/* Put a worker's stdout (1) or stderr (2) where enum pool_output says.
 * output: what captures. 0 or -errno. */
int pool__stdio_redirect(int fd, int policy, int output);

/* Let the end of the host kill this process, even a busy one: a private
 * description of the pipe LIFELINE, armed. Returns the descriptor that must
 * stay open, or -errno. */
int pool__lifeline_arm(int lifeline);

/* Let this process have MORE bytes of address space and no more, also where it
 * changes its mind; a limit that is lower already stays. 0 or -errno. */
int pool__memory_limit(uint64_t more);
/* Bytes of this process in memory now; 0: unknown. Leaves nothing open. */
uint64_t pool__memory_resident(void);

/* Leave by _exit(n) when something here calls exit(n) or quick_exit(n), ahead
 * of every handler that the host had registered. */
void pool__exit_hook_install(void);

/* /dev/null for standard input, and for what is closed of the other two. */
int pool__stdin_null(void);

#endif
