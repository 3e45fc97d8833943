/* thumbd: decodes and scales one image with libgd, in a worker. Whatever the
 * image does to libgd, it costs this task alone: a crash, a hang and a lack
 * of memory end the worker, and the pool makes another. */
#include "thumb.h"

#include "image.h"

#include <gd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FAIL_ARGUMENTS = 1, FAIL_TYPE, FAIL_SIZE, FAIL_DECODE, FAIL_ENCODE };

bool thumb_test_faults;

/* What libgd complained of last, for the reason in the reply. */
static char complaint[200];

static void
on_gd_error(int level, const char *format, va_list arguments)
{
    (void)level;
    vsnprintf(complaint, sizeof complaint, format, arguments);
    complaint[strcspn(complaint, "\r\n")] = '\0';
}

int
thumb_initialize(pool_call_t *call)
{
    /* A core for every hostile image would fill the disk. */
    struct rlimit none = {0, 0};

    (void)call;
    setrlimit(RLIMIT_CORE, &none);
    gdSetErrorMethod(on_gd_error);
    return 0;
}

/* ---- the faults of tests ----------------------------------------------- */

static void
take_all_memory(void)
{
    void *volatile block;

    do
        block = malloc(1 << 20);
    while (block != NULL);
    fprintf(stderr, "out of memory\n");
    abort();
}

static void
misbehave(const char *data, size_t size)
{
    if (size >= 5 && memcmp(data, "CRASH", 5) == 0)
        raise(SIGSEGV);
    if (size >= 4 && memcmp(data, "HANG", 4) == 0)
        for (;;)
            pause();
    if (size >= 3 && memcmp(data, "OOM", 3) == 0)
        take_all_memory();
}

/* ---- the work ---------------------------------------------------------- */

static gdImagePtr
decode(enum image_type type, int size, void *data)
{
    /* 0: tell of warnings */
    return type == IMAGE_JPEG ? gdImageCreateFromJpegPtrEx(size, data, 0)
                              : gdImageCreateFromPngPtr(size, data);
}

/* libjpeg warns of damage and goes on, with grey where the picture ends. Stray
 * bytes between its parts are common and do no harm. */
static bool
is_damage(const char *warning)
{
    return strstr(warning, "Premature end") != NULL ||
           (strstr(warning, "Corrupt JPEG data") != NULL &&
               strstr(warning, "extraneous") == NULL);
}

/* Scaled down to fit into a square of WIDTH; never up. */
static gdImagePtr
scale(gdImagePtr image, int width)
{
    int w = gdImageSX(image), h = gdImageSY(image), larger = w > h ? w : h;
    gdImagePtr small;

    if (larger > width) {
        w = (int)((int64_t)w * width / larger);
        h = (int)((int64_t)h * width / larger);
    }
    w = w > 0 ? w : 1;
    h = h > 0 ? h : 1;
    small = gdImageCreateTrueColor(w, h);
    if (small == NULL)
        return NULL;
    gdImageAlphaBlending(small, 0); /* copy transparency, do not mix it */
    gdImageSaveAlpha(small, 1);
    gdImageCopyResampled(
        small, image, 0, 0, 0, 0, w, h, gdImageSX(image), gdImageSY(image));
    return small;
}

static int
encode(pool_call_t *call, enum image_type type, gdImagePtr small)
{
    int size = 0, rc;
    void *data = type == IMAGE_JPEG ? gdImageJpegPtr(small, &size, 85)
                                    : gdImagePngPtr(small, &size);

    if (data == NULL)
        return pool_call_fail(
            call, FAIL_ENCODE, "thumbnail not encoded: %s", complaint);
    rc = pool_call_return_bytes(call, data, (size_t)size);
    gdFree(data);
    return rc;
}

static int
make_thumbnail(pool_call_t *call, int width, void *data, size_t size)
{
    enum image_type type = image_type(data, size);
    uint32_t w, h;
    int rc;

    if (type == IMAGE_UNKNOWN)
        return pool_call_fail(call, FAIL_TYPE, "neither a JPEG nor a PNG");
    if (image_size(data, size, &w, &h) < 0)
        return pool_call_fail(call, FAIL_SIZE, "image without a size");
    if ((uint64_t)w * h > THUMB_MAX_PIXELS)
        return pool_call_fail(call, FAIL_SIZE,
            "%u x %u pixels are more than %d", w, h, THUMB_MAX_PIXELS);
    complaint[0] = '\0';
    gdImagePtr image = decode(type, (int)size, data);
    if (image != NULL && type == IMAGE_JPEG && is_damage(complaint)) {
        gdImageDestroy(image);
        image = NULL;
    }
    if (image == NULL)
        return pool_call_fail(call, FAIL_DECODE, "corrupt image%s%s",
            complaint[0] != '\0' ? ": " : "", complaint);
    gdImagePtr small = scale(image, width);
    gdImageDestroy(image);
    if (small == NULL)
        return pool_call_fail(call, FAIL_ENCODE, "no memory for the thumbnail");
    rc = encode(call, type, small);
    gdImageDestroy(small);
    return rc;
}

int
thumb_task(pool_call_t *call)
{
    struct thumb_order order;
    const void *arguments;
    size_t size;
    int rc = pool_call_bytes(call, &arguments, &size);

    if (rc < 0)
        return rc;
    if (size < sizeof order || size > INT32_MAX)
        return pool_call_fail(call, FAIL_ARGUMENTS, "arguments cut short");
    memcpy(&order, arguments, sizeof order);
    const char *image = (const char *)arguments + sizeof order;
    size -= sizeof order;
    if (thumb_test_faults)
        misbehave(image, size);
    /* libgd reads it only, though it asks for a pointer to change. */
    return make_thumbnail(
        call, (int)order.width, (void *)(uintptr_t)image, size);
}
