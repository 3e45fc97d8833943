/* An assertion for loops of many rounds: Check notes each of its own with a
 * system call, which costs more than what is tested. */
#ifndef FORKPOOL_TESTS_REQUIRE_H
#define FORKPOOL_TESTS_REQUIRE_H

#include <check.h>

#define require(condition)                                                     \
    do {                                                                       \
        if (!(condition))                                                      \
            ck_abort_msg("%s", #condition);                                    \
    } while (0)

#endif
