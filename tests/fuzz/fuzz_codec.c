/* The codec under arbitrary bytes: checker, cursor, formats and splitter.
 *
 * Built with -fsanitize=fuzzer this is a libFuzzer target; with -DFUZZ_REPLAY
 * it is a program that replays the files named on its command line. Any
 * broken promise between two ways of reading the same bytes aborts. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forkpool_codec.h"
#include "frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PROMISE(condition)                                                     \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "broken: %s (%s)\n", #condition, pool_errmsg());   \
            abort();                                                           \
        }                                                                      \
    } while (0)

static volatile unsigned char sink;

static void
touch(const void *data, size_t size)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++)
        sink = bytes[i];
}

/* The cursor and the checker agree on every byte. */
static void
cursor(const uint8_t *data, size_t size)
{
    size_t offset;
    int rc = pool_check(data, size, 0, &offset), stepped;
    pool_item_t item;
    pool_dec_t dec;

    pool_dec_init(&dec, data, size);
    while ((stepped = pool_dec_next(&dec, &item)) == 0 &&
           item.type != POOL_ITEM_END)
        if (item.data != NULL)
            touch(item.data, item.value);
    PROMISE(stepped == rc && pool_dec_offset(&dec) == offset);
    PROMISE(rc != 0 || offset == size);
}

/* An item that is accepted can be encoded as a value and comes back. */
static void
value(const uint8_t *data, size_t size)
{
    const void *item, *again;
    size_t n, m, packed;
    pool_dec_t dec;

    pool_dec_init(&dec, data, size);
    if (pool_dec_value(&dec, &item, &n) < 0)
        return;
    PROMISE(pool_encode(NULL, 0, &packed, "sv", "", item, n) == 0);
    unsigned char *copy = malloc(packed);
    PROMISE(copy != NULL);
    PROMISE(pool_encode(copy, packed, NULL, "sv", "", item, n) == 0);
    PROMISE(pool_decode(copy, packed, "sv", NULL, &again, &m) == 0);
    PROMISE(m == n && memcmp(item, again, n) == 0);
    free(copy);
}

static void
format(const char *codes, const uint8_t *data, size_t size)
{
    const void *pointers[4] = {NULL, NULL, NULL, NULL};
    size_t sizes[4] = {0, 0, 0, 0};

    if (pool_decode(data, size, codes, &pointers[0], &sizes[0], &pointers[1],
            &sizes[1], &pointers[2], &sizes[2], &pointers[3], &sizes[3]) < 0)
        return;
    size_t width = codes[1] == 'i' ? 4 : codes[1] == 'd' ? 8 : 1;
    for (int i = 0; i < 4; i++)
        touch(pointers[i], sizes[i] * width);
}

static void
formats(const uint8_t *data, size_t size)
{
    static const char *const sized[] = {"ay", "ai", "ad", "v", "ayay", "vv"};
    union {
        bool b;
        int64_t x;
        double d;
        const char *s;
    } out[3];

    for (size_t i = 0; i < sizeof sized / sizeof *sized; i++)
        format(sized[i], data, size);
    pool_decode(data, size, "dxt", &out[0], &out[1], &out[2]);
    pool_decode(data, size, "biu", &out[0], &out[1], &out[2]);
    if (pool_decode(data, size, "s", &out[0].s) == 0)
        touch(out[0].s, strlen(out[0].s) + 1);
}

static void
splitter(const uint8_t *data, size_t size)
{
    struct pool__frame frame;
    int64_t n;

    for (size_t at = 0; at <= size; at += (size_t)n) {
        n = pool__frame_split(data + at, size - at, 1u << 20, &frame);
        if (n <= 0)
            break;
        PROMISE((size_t)n <= size - at && n % 8 == 0);
        touch(data + at + POOL__FRAME_HEADER, frame.size);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cursor(data, size);
    value(data, size);
    formats(data, size);
    splitter(data, size);
    return 0;
}

#ifdef FUZZ_REPLAY
/* A copy in a block of exactly the file's size, so that sanitizers see an
 * overread. */
static int
replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    static uint8_t bytes[1 << 20];

    if (file == NULL) {
        perror(path);
        return EXIT_FAILURE;
    }
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    uint8_t *copy = malloc(size > 0 ? size : 1);
    PROMISE(copy != NULL);
    memcpy(copy, bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
    int rc = EXIT_SUCCESS;

    for (int i = 1; i < argc; i++)
        rc |= replay(argv[i]);
    printf("%d files replayed\n", argc - 1);
    return rc;
}
#endif
