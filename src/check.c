/* The checker: whether an item is well-formed, contents included, and whether
 * a text is UTF-8.
 *
 * Invariants: no byte at or past the end is read; the loop takes at least a
 * byte a turn; nothing recurses: what is open is a count each on one stack of
 * POOL_DEPTH_MAX entries. */
#include "dec.h"
#include "error.h"

const char pool__truncated[] = "the data ends within an item";
const char pool__too_many[] = "more is promised than bytes follow";

const unsigned char pool__item_size[256] = {
#define SHORT 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
#define NUMBERS SHORT, SHORT, 2, 3, 5, 9
#define FLOATS SHORT, SHORT, 0, 3, 5, 9
#define STRINGS                                                                \
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, \
        22, 23, 24
    [0x00] = NUMBERS,
    [0x20] = NUMBERS,
    [0x40] = STRINGS,
    [0x60] = STRINGS,
    [0xe0] = FLOATS
#undef STRINGS
#undef FLOATS
#undef NUMBERS
#undef SHORT
};

/* What is left of an open container: the number of items, or for indefinite
 * ones these flags; ODD toggles with each key and value. */
#define INDEFINITE (UINT64_C(1) << 63)
#define PAIRS (UINT64_C(1) << 62)
#define ODD UINT64_C(1)

struct walk {
    const unsigned char *p, *end;
    const char *why; /* of the error at `at` */
    const unsigned char *at;
    int code;
    bool numbers;       /* met a typed array */
    bool tagged;        /* a tag waits for its content */
    unsigned depth;     /* entries of left */
    unsigned max_depth; /* <= POOL_DEPTH_MAX */
    uint64_t left[POOL_DEPTH_MAX];
};

static bool
refuse(struct walk *walk, int code, const unsigned char *at, const char *why)
{
    walk->code = code;
    walk->at = at;
    walk->why = why;
    return false;
}

/* The chunks of an indefinite string and its break. */
static bool
walk_chunks(struct walk *walk, unsigned major)
{
    for (;;) {
        const unsigned char *at = walk->p;
        struct pool__head head;
        const char *why;

        if (at == walk->end)
            return refuse(walk, POOL_EFORMAT, at, pool__truncated);
        if (*at == POOL__BREAK) {
            walk->p++;
            return true;
        }
        walk->p = pool__read_head(at, walk->end, &head, &why);
        if (walk->p == NULL)
            return refuse(walk, POOL_EFORMAT, at, why);
        if (head.major != major || head.info == POOL__INFO_INDEFINITE)
            return refuse(walk, POOL_EFORMAT, at,
                "a chunk that is not a definite string of the same type");
        if (head.value > (size_t)(walk->end - walk->p))
            return refuse(walk, POOL_EFORMAT, at, pool__too_many);
        walk->p += head.value;
    }
}

static bool
walk_string(
    struct walk *walk, const unsigned char *at, const struct pool__head *head)
{
    if (head->info == POOL__INFO_INDEFINITE)
        return walk_chunks(walk, head->major);
    if (head->value > (size_t)(walk->end - walk->p))
        return refuse(walk, POOL_EFORMAT, at, pool__too_many);
    walk->p += head->value;
    return true;
}

/* Open a container; *open is false where nothing belongs to it. */
static bool
walk_open(struct walk *walk, const unsigned char *at,
    const struct pool__head *head, bool *open)
{
    bool map = head->major == POOL__MAP;
    uint64_t room = (uint64_t)(walk->end - walk->p) >> map;
    uint64_t left = head->value << map;

    if (head->info == POOL__INFO_INDEFINITE)
        left = map ? INDEFINITE | PAIRS : INDEFINITE;
    else if (head->value > room) /* an item takes a byte at least */
        return refuse(walk, POOL_EFORMAT, at, pool__too_many);
    if (walk->depth == walk->max_depth)
        return refuse(walk, POOL_ETOOBIG, at, "nested too deep");
    if (head->info != POOL__INFO_INDEFINITE)
        left = pool__walk_plain(&walk->p, walk->end, left);
    *open = left != 0;
    if (*open)
        walk->left[walk->depth++] = left;
    return true;
}

static bool
walk_break(struct walk *walk, const unsigned char *at)
{
    if (walk->tagged || walk->depth == 0 ||
        !(walk->left[walk->depth - 1] & INDEFINITE))
        return refuse(walk, POOL_EFORMAT, at, "a break out of place");
    if (walk->left[walk->depth - 1] & ODD)
        return refuse(walk, POOL_EFORMAT, at, "a key without its value");
    walk->depth--;
    return true;
}

/* An item is complete: count it in its container, and whatever containers
 * that completes in theirs. */
static inline void
close_full(struct walk *walk)
{
    while (walk->depth > 0) {
        uint64_t *left = &walk->left[walk->depth - 1];
        if (*left & INDEFINITE) {
            *left ^= *left & PAIRS ? ODD : 0;
            return;
        }
        *left = pool__walk_plain(&walk->p, walk->end, *left - 1);
        if (*left > 0)
            return;
        walk->depth--;
    }
}

/* One head and what belongs to it; *open, false before, is set where items of
 * it follow. */
static inline bool
walk_head(struct walk *walk, bool *open)
{
    const unsigned char *at = walk->p;
    struct pool__head head;
    const char *why;

    if (at == walk->end)
        return refuse(walk, POOL_EFORMAT, at, pool__truncated);
    walk->p = pool__read_head(at, walk->end, &head, &why);
    if (walk->p == NULL)
        return refuse(walk, POOL_EFORMAT, at, why);
    switch (head.major) {
    case POOL__BYTES:
    case POOL__TEXT:
        walk->tagged = false;
        return walk_string(walk, at, &head);
    case POOL__ARRAY:
    case POOL__MAP:
        walk->tagged = false;
        return walk_open(walk, at, &head, open);
    case POOL__TAG:
        walk->tagged = *open = true;
        walk->numbers |= head.value >= POOL__TAG_NUMBERS_FIRST &&
                         head.value <= POOL__TAG_NUMBERS_LAST;
        return true;
    default:
        if (*at == POOL__BREAK)
            return walk_break(walk, at);
        walk->tagged = false;
        return true;
    }
}

/* Walk over the item at walk->p. */
static bool
walk_item(struct walk *walk)
{
    bool open;

    walk->depth = 0;
    walk->tagged = false;
    do {
        open = false;
        if (!walk_head(walk, &open))
            return false;
        if (!open)
            close_full(walk);
    } while (open || walk->depth > 0);
    return true;
}

static void
walk_init(struct walk *walk, const void *from, const void *end, unsigned depth)
{
    walk->p = from;
    walk->end = end;
    walk->numbers = false;
    walk->max_depth = depth;
}

bool
pool__is_value(const void *data, size_t size, bool *numbers)
{
    struct walk walk;

    if (size > PTRDIFF_MAX)
        return false;
    walk_init(&walk, data, (const unsigned char *)data + size, POOL_DEPTH_MAX);
    bool whole = walk_item(&walk) && walk.p == walk.end;
    *numbers = walk.numbers;
    return whole;
}

/* Check the item at dec->at; its end, or NULL. */
const unsigned char *
pool__check_item(pool_dec_t *dec)
{
    struct walk walk;

    walk_init(&walk, dec->at, dec->end, dec->max_depth);
    if (!walk_item(&walk)) {
        pool__dec_fail(dec, walk.code, walk.at, walk.why);
        return NULL;
    }
    if (walk.p > dec->checked)
        dec->checked = walk.p;
    return walk.p;
}

int
pool_check(const void *data, size_t size, unsigned max_depth, size_t *offset)
{
    const unsigned char *start = data;
    struct walk walk;

    if ((data == NULL && size > 0) || size > PTRDIFF_MAX ||
        max_depth > POOL_DEPTH_MAX)
        return pool__fail(POOL_EINVAL,
            "pool_check: data is NULL or too large, or the depth above "
            "POOL_DEPTH_MAX");
    walk_init(&walk, start, size > 0 ? start + size : start,
        max_depth > 0 ? max_depth : POOL_DEPTH_DEFAULT);
    walk.code = 0;
    do
        pool__walk_plain(&walk.p, walk.end, UINT64_MAX);
    while (walk.p != walk.end && walk_item(&walk));
    size_t at = walk.code == 0 ? size : (size_t)(walk.at - start);
    if (offset != NULL)
        *offset = at;
    return walk.code == 0 ? 0
                          : pool__fail(walk.code, "pool_check: byte %zu: %s",
                                at, walk.why);
}

/* The rows of RFC 3629 section 4. */
size_t
pool__utf8_sequence(const unsigned char *p, const unsigned char *end)
{
    size_t left = (size_t)(end - p);
    unsigned char least = 0x80, most = 0xbf;
    size_t n = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;

    if (*p < 0xc2 || *p > 0xf4 || n > left)
        return 0;
    if (*p == 0xe0)
        least = 0xa0; /* below: overlong */
    else if (*p == 0xed)
        most = 0x9f; /* above: surrogates */
    else if (*p == 0xf0)
        least = 0x90; /* below: overlong */
    else if (*p == 0xf4)
        most = 0x8f; /* above: beyond U+10FFFF */
    if (p[1] < least || p[1] > most)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (p[i] >> 6 != 2)
            return 0;
    return n;
}

int
pool_check_utf8(const void *data, size_t size)
{
    const unsigned char *p = data;
    const unsigned char *end = size > 0 ? p + size : p;

    while (p != end) {
        uint64_t word;
        size_t n = 1;
        if (end - p >= 8 && (memcpy(&word, p, 8), 1) &&
            (word & UINT64_C(0x8080808080808080)) == 0)
            n = 8;
        else if (*p >= 0x80)
            n = pool__utf8_sequence(p, end);
        if (n == 0)
            return pool__fail(POOL_EFORMAT,
                "pool_check_utf8: byte %zu is not UTF-8",
                (size_t)(p - (const unsigned char *)data));
        p += n;
    }
    return 0;
}
