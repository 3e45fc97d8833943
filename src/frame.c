/* Frames that are none: see frame.h. */
#include "frame.h"

#include "error.h"

int
pool__frame_refuse(const struct pool__frame *frame, uint32_t limit)
{
    if (frame->type == 0 || frame->type >= POOL__FRAME_TYPES)
        return pool__fail(
            POOL_EPROTO, "frame: type %u does not exist", frame->type);
    if (frame->size > limit || frame->size > POOL__FRAME_MAX_PAYLOAD)
        return pool__fail(POOL_EPROTO,
            "frame: a payload of %u bytes, the limit is %u", frame->size,
            limit);
    return pool__fail(POOL_EPROTO, "frame: padding that is not zero");
}
