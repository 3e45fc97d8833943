/* Constants of the wire: CBOR's major types and additional information
 * (RFC 8949 section 3), and the tags of typed arrays (RFC 8746). */
#ifndef POOL_SRC_WIRE_H
#define POOL_SRC_WIRE_H

enum pool__major {
    POOL__UINT,
    POOL__NINT,
    POOL__BYTES,
    POOL__TEXT,
    POOL__ARRAY,
    POOL__MAP,
    POOL__TAG,
    POOL__SIMPLE
};

/* Additional information: the argument itself below 24, then its width. */
enum pool__info {
    POOL__INFO_8 = 24,
    POOL__INFO_16,
    POOL__INFO_32,
    POOL__INFO_64,
    POOL__INFO_INDEFINITE = 31
};

enum pool__simple {
    POOL__FALSE = 20,
    POOL__TRUE,
    POOL__NULL,
    POOL__UNDEFINED,
    POOL__SIMPLE_LONG = 32 /* the least that takes two bytes */
};

/* Whole first bytes. */
#define POOL__HALF 0xf9
#define POOL__BREAK 0xff

#define POOL__TAG_SELF_DESCRIBED 55799
#define POOL__TAG_NUMBERS_FIRST 64
#define POOL__TAG_NUMBERS_LAST 87

/* Typed arrays of more than one byte differ by their byte order; both sides
 * of a pipe are one machine, so its own is the one to write and to read. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define POOL__TAG_ORDER 4
#else
#define POOL__TAG_ORDER 0
#endif

/* One row an element type: X(type, tag, bytes of an element). */
#define POOL__NUMBERS(X)                                                       \
    X(POOL_U8, 64, 1)                                                          \
    X(POOL_U16, 65 + POOL__TAG_ORDER, 2)                                       \
    X(POOL_U32, 66 + POOL__TAG_ORDER, 4)                                       \
    X(POOL_U64, 67 + POOL__TAG_ORDER, 8)                                       \
    X(POOL_I8, 72, 1)                                                          \
    X(POOL_I16, 73 + POOL__TAG_ORDER, 2)                                       \
    X(POOL_I32, 74 + POOL__TAG_ORDER, 4)                                       \
    X(POOL_I64, 75 + POOL__TAG_ORDER, 8)                                       \
    X(POOL_F32, 81 + POOL__TAG_ORDER, 4)                                       \
    X(POOL_F64, 82 + POOL__TAG_ORDER, 8)

#define POOL__NUMBER_TYPES ((unsigned)POOL_F64 + 1)

#endif
