/* Error codes' texts, and the calling thread's last error message.
 *
 * Invariant: the message is a NUL-terminated text of the thread that failed;
 * nothing here allocates or locks, so it serves in a forked child too. */
#define _GNU_SOURCE
#include "error.h"

#include <stdio.h>
#include <string.h>

static _Thread_local char last_message[256];

int
pool__vfail(int code, const char *format, va_list args)
{
    vsnprintf(last_message, sizeof last_message, format, args);
    return code;
}

int
pool__fail(int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    pool__vfail(code, format, args);
    va_end(args);
    return code;
}

const char *
pool_errmsg(void)
{
    return last_message;
}

const char *
pool_err_name(int code)
{
    switch (code) {
    case 0:
        return "POOL_OK";
#define NAME(name, value, text)                                                \
    case value:                                                                \
        return "POOL_" #name;
        POOL_ERRORS(NAME)
#undef NAME
    default:
        break;
    }
    const char *name = code > -4096 && code < 0 ? strerrorname_np(-code) : NULL;
    return name != NULL ? name : "unknown";
}

const char *
pool_strerror(int code)
{
    switch (code) {
    case 0:
        return "success";
#define TEXT(name, value, text)                                                \
    case value:                                                                \
        return text;
        POOL_ERRORS(TEXT)
#undef TEXT
    default:
        break;
    }
    const char *text = code > -4096 && code < 0 ? strerrordesc_np(-code) : NULL;
    return text != NULL ? text : "unknown error";
}
