/* Error codes' texts, and the calling thread's last error message. */
#ifndef POOL_SRC_ERROR_H
#define POOL_SRC_ERROR_H

#include <stdarg.h>

#include "forkpool_error.h"
#include "util.h"

/* Keep a message for pool_errmsg and return CODE, so that a failing path is
 * `return pool__fail(POOL_EINVAL, "pool_x: ...")`. Messages longer than 255
 * bytes are cut. */
POOL__SHARED int pool__fail(int code, const char *format, ...) POOL_PRINTF(2, 3)
    __attribute__((cold));
int pool__vfail(int code, const char *format, va_list args) POOL_PRINTF(2, 0)
    __attribute__((cold));

#endif
