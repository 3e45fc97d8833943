/* Whose a pool is. The stamp lies in a page with MADV_WIPEONFORK, so telling
 * a foreign child costs a load, not a system call. */
#define _GNU_SOURCE
#include "owner.h"

#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "error.h"
#include "util.h"

uint64_t *pool__owner_word;
_Thread_local char pool__thread_mark;

static uint64_t *
new_word(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(
        NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return NULL;
    if (madvise(page, size, MADV_WIPEONFORK) == 0)
        return page;
    munmap(page, size);
    return NULL;
}

int
pool__owner_claim(void)
{
    uint64_t *expected = NULL, zero = 0;

    if (pool__load(&pool__owner_word) == NULL) {
        uint64_t *word = new_word();
        if (word == NULL)
            return pool__fail(POOL_ENOMEM, "the owner's page");
        if (!__atomic_compare_exchange_n(&pool__owner_word, &expected, word,
                false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            munmap(word, (size_t)sysconf(_SC_PAGESIZE));
    }
    uint64_t stamp = (uint64_t)getpid() << 32 | (pool__now_ns() & 0xffffffff);
    __atomic_compare_exchange_n(pool__owner_word, &zero, stamp, false,
        __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    return 0;
}
