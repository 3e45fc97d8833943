/* thumbd: what the first bytes of an image tell, before it is decoded. */
#ifndef THUMBD_IMAGE_H
#define THUMBD_IMAGE_H

#include <stddef.h>
#include <stdint.h>

enum image_type { IMAGE_UNKNOWN, IMAGE_JPEG, IMAGE_PNG };

/* By the magic bytes alone. */
enum image_type image_type(const void *data, size_t size);

/* Pixels as the header promises them. 0, or -1 where no header is found. */
int image_size(
    const void *data, size_t size, uint32_t *width, uint32_t *height);

#endif
