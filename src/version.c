/* The version of the library that runs. */
#include "forkpool.h"

#define TEXT(x) #x
#define DOTTED(a, b, c) TEXT(a) "." TEXT(b) "." TEXT(c)

const char *
pool_version(void)
{
    return DOTTED(POOL_VERSION_MAJOR, POOL_VERSION_MINOR, POOL_VERSION_PATCH);
}
