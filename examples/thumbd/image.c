/* thumbd: reads the headers of JPEG and PNG. The data is a stranger's: every
 * length is checked before it is followed. */
#include "image.h"

#include <string.h>

enum image_type
image_type(const void *data, size_t size)
{
    if (size >= 3 && memcmp(data, "\xff\xd8\xff", 3) == 0)
        return IMAGE_JPEG;
    if (size >= 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0)
        return IMAGE_PNG;
    return IMAGE_UNKNOWN;
}

static uint32_t
big_endian(const unsigned char *p, size_t bytes)
{
    uint32_t n = 0;

    for (size_t i = 0; i < bytes; i++)
        n = n << 8 | p[i];
    return n;
}

static int
png_size(const unsigned char *p, size_t size, uint32_t *width, uint32_t *height)
{
    if (size < 24 || memcmp(p + 12, "IHDR", 4) != 0)
        return -1;
    *width = big_endian(p + 16, 4);
    *height = big_endian(p + 20, 4);
    return 0;
}

/* The markers that begin a frame: C0 to CF without DHT, JPG and DAC. */
static int
begins_frame(unsigned marker)
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 &&
           marker != 0xc8 && marker != 0xcc;
}

static int
jpeg_size(
    const unsigned char *p, size_t size, uint32_t *width, uint32_t *height)
{
    size_t at = 2;

    while (at + 9 <= size && p[at] == 0xff) {
        unsigned marker = p[at + 1];
        if (marker == 0xff) { /* fill */
            at++;
            continue;
        }
        if (begins_frame(marker)) {
            *height = big_endian(p + at + 5, 2);
            *width = big_endian(p + at + 7, 2);
            return 0;
        }
        at += 2 + big_endian(p + at + 2, 2);
    }
    return -1;
}

int
image_size(const void *data, size_t size, uint32_t *width, uint32_t *height)
{
    int rc = -1;

    if (image_type(data, size) == IMAGE_PNG)
        rc = png_size(data, size, width, height);
    else if (image_type(data, size) == IMAGE_JPEG)
        rc = jpeg_size(data, size, width, height);
    return rc == 0 && *width > 0 && *height > 0 ? 0 : -1;
}
