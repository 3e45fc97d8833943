/* Loaded modules by address. A module is told from another at the same place
 * by its name and build id, digested together (FNV-1a). */
#define _GNU_SOURCE
#include "modules.h"

#include <elf.h>
#include <link.h>
#include <string.h>

#include "error.h"
#include "mem.h"
#include "util.h"

#define OFFSET_BITS 40 /* of a reference; above them the place + 1 */

static uint64_t
digest(uint64_t sum, const void *data, size_t n)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < n; i++)
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    return sum;
}

/* The notes of a module hold its build id; they are digested whole. */
static uint64_t
identity(const struct dl_phdr_info *info)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325);

    sum = digest(sum, info->dlpi_name, strlen(info->dlpi_name));
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_NOTE)
            sum = digest(
                sum, (const void *)(info->dlpi_addr + p->p_vaddr), p->p_memsz);
    }
    return sum;
}

static int
add(struct pool__modules *modules, struct pool__module module)
{
    if (modules->count == modules->capacity) {
        size_t capacity = 2 * modules->capacity + 16;
        struct pool__module *list =
            pool__realloc(modules->list, capacity * sizeof *list);
        if (list == NULL)
            return pool__fail(POOL_ENOMEM, "list of loaded modules");
        modules->list = list;
        modules->capacity = capacity;
    }
    modules->list[modules->count++] = module;
    return 0;
}

static int
note(struct dl_phdr_info *info, size_t size, void *data)
{
    uint64_t sum = identity(info);
    int rc = 0;

    (void)size;
    for (int i = 0; i < info->dlpi_phnum && rc == 0; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t text = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X) != 0)
            rc = add(data, (struct pool__module){
                               info->dlpi_addr, text, text + p->p_memsz, sum});
    }
    return rc;
}

int
pool__modules_note(struct pool__modules *modules)
{
    modules->count = 0;
    return dl_iterate_phdr(note, modules);
}

void
pool__modules_fini(struct pool__modules *modules)
{
    pool__free(modules->list);
    memset(modules, 0, sizeof *modules);
}

struct search {
    uintptr_t address;
    struct pool__module found;
};

static int
look(struct dl_phdr_info *info, size_t size, void *data)
{
    struct search *search = data;

    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t text = info->dlpi_addr + p->p_vaddr;
        if (p->p_type != PT_LOAD || (p->p_flags & PF_X) == 0 ||
            search->address < text || search->address >= text + p->p_memsz)
            continue;
        search->found = (struct pool__module){
            info->dlpi_addr, text, text + p->p_memsz, identity(info)};
        return 1;
    }
    return 0;
}

bool
pool__modules_know(const struct pool__modules *modules, uintptr_t address)
{
    struct search search = {.address = address};

    if (dl_iterate_phdr(look, &search) == 0)
        return false;
    for (size_t i = 0; i < modules->count; i++)
        if (modules->list[i].text == search.found.text &&
            modules->list[i].base == search.found.base &&
            modules->list[i].identity == search.found.identity)
            return true;
    return false;
}

uint64_t
pool__modules_refer(const struct pool__modules *modules, uintptr_t address)
{
    for (size_t i = 0; i < modules->count; i++) {
        const struct pool__module *m = &modules->list[i];
        if (address >= m->text && address < m->text_end)
            return (uint64_t)(i + 1) << OFFSET_BITS | (address - m->base);
    }
    return 0;
}

uintptr_t
pool__modules_resolve(const struct pool__modules *modules, uint64_t reference)
{
    uint64_t place = reference >> OFFSET_BITS;

    if (place == 0 || place > modules->count)
        return 0;
    const struct pool__module *m = &modules->list[place - 1];
    uintptr_t at =
        m->base + (uintptr_t)(reference & ((UINT64_C(1) << OFFSET_BITS) - 1));
    return at >= m->text && at < m->text_end ? at : 0;
}
