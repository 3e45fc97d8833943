/* Which modules (the program and its shared objects) are loaded, and whether
 * a function lies in one that was loaded before. */
#ifndef POOL_SRC_MODULES_H
#define POOL_SRC_MODULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

struct pool__module {
    uintptr_t base, text, text_end; /* load address; executable segment */
    uint64_t identity;              /* digest of name and build id */
};

struct pool__modules {
    struct pool__module *list;
    size_t count, capacity;
};

/* Note what is loaded now. 0 or POOL_ENOMEM. */
POOL__SHARED int pool__modules_note(struct pool__modules *modules);
POOL__SHARED void pool__modules_fini(struct pool__modules *modules);

/* Whether the function at ADDRESS is the same in a process that was forked
 * when MODULES were noted: its module is loaded now and was loaded then, at
 * the same place. */
bool pool__modules_know(const struct pool__modules *modules, uintptr_t address);

/* A number that says the same in a process where the modules have other
 * addresses: place in the list and offset. 0 for what is in none of them. */
POOL__SHARED uint64_t pool__modules_refer(
    const struct pool__modules *modules, uintptr_t address);
/* And back, with the list of that process; 0: no such module. */
POOL__SHARED uintptr_t pool__modules_resolve(
    const struct pool__modules *modules, uint64_t reference);

#endif
