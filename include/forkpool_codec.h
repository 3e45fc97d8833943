/* forkpool codec: values to CBOR and back, bytes in and bytes out.
 *
 * This header stands alone: no pool, no I/O, no global state but the thread's
 * last error message, and no allocation but a growable encoder's. A payload is
 * a CBOR sequence (RFC 8949, RFC 8742), so any CBOR tool reads it.
 *
 * There are three ways in:
 *   formats   pool_encode("ids", ...) and pool_decode, one code a value
 *   encoder   pool_enc_*, one call a value, one error asked for at the end
 *   cursor    pool_dec_*, one call a value, or pool_dec_next for any item
 *
 * Formats use D-Bus's type codes:
 *
 *   code  value      arguments in          arguments out    CBOR
 *   b     boolean    int                   bool *           simple 20, 21
 *   i     int32      int32_t               int32_t *        major type 0, 1
 *   u     uint32     uint32_t              uint32_t *       major type 0
 *   x     int64      int64_t               int64_t *        major type 0, 1
 *   t     uint64     uint64_t              uint64_t *       major type 0
 *   d     double     double                double *         float
 *   s     string     const char *          const char **    text, see below
 *   ay    bytes      const void *, size_t  const void **,   byte string
 *                                          size_t *
 *   ai    numbers    const int32_t *,      const int32_t    typed array
 *                    size_t                **, size_t *     (RFC 8746)
 *   au ax at ad      likewise of uint32_t, int64_t, uint64_t, double
 *   v     value      const void *, size_t  const void **,   one encoded
 *                                          size_t *         item, as it is
 *
 * Sizes of ay and v are in bytes, those of arrays in elements. An integer
 * satisfies every integer code whose range holds it; a float of any width
 * satisfies d and nothing else does. A NULL out-pointer skips its value; the
 * value must be of the right type all the same.
 *
 * Strings. What is decoded stays where it lies, so a C string needs its NUL
 * in the payload. The NUL is the text's own last character: "ab" travels as
 * the three-byte text 63 61 62 00. U+0000 is a character like any other to
 * RFC 8949, so this is one plain item that every tool reads (as "ab\0"), and
 * the same payload may be decoded any number of times. A text from elsewhere
 * that does not end in U+0000, that holds another one, that is not valid
 * UTF-8 or comes in chunks does not satisfy s: POOL_EFORMAT. pool_dec_text
 * reads any text, with its length.
 *
 * Arrays. Numbers are read in place, so the elements of a typed array start
 * at a multiple of 8 from the start of the encoder's output. Only for that
 * may the heads of an array be longer than need be, and the tag 55799, "this
 * is CBOR" (RFC 8949 section 3.4.6), stand before it. Keep a payload in
 * memory aligned to 8 bytes, as malloc's is; elements that are not aligned
 * for their type are refused with POOL_EFORMAT. An encoded value (v) that
 * holds typed arrays is placed so that its address modulo 8 is kept.
 *
 * Limits. A decoder takes every well-formed item (RFC 8949 appendix C) up to
 * a depth of nesting, and refuses everything else with the offset of the
 * first byte at fault. It uses a constant amount of stack.
 *
 * Thread: every function may be called by any thread, on different encoders
 * and decoders at once. None blocks. Only a growable encoder owns memory: other
 * buffers stay the caller's, and what a decoder hands out points into the
 * caller's data.
 */
#ifndef FORKPOOL_CODEC_H
#define FORKPOOL_CODEC_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "forkpool_error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An encoder. Its members are the library's; use the functions. */
typedef struct pool_enc {
    unsigned char *base; /* NULL: count only */
    size_t capacity;     /* bytes at base */
    size_t size;         /* bytes needed so far; may exceed capacity */
    int error;           /* the first error, 0 where none */
    bool growable;       /* base is the encoder's own */
} pool_enc_t;

/* A cursor over encoded data. Its members are the library's. */
typedef struct pool_dec {
    const unsigned char *at;      /* the next item */
    const unsigned char *end;     /* one past the data */
    const unsigned char *start;   /* the data */
    const unsigned char *checked; /* up to here known to be well-formed */
    const char *reason;           /* of the first error */
    size_t offset;                /* of the first error, bytes */
    unsigned max_depth;           /* arrays and maps in one another */
    int error;                    /* the first error, 0 where none */
} pool_dec_t;

/* The depth of nesting a decoder takes unless told otherwise, and the most
 * that it can be told. Arrays and maps count, tags and chunks do not. */
#define POOL_DEPTH_DEFAULT 64u
#define POOL_DEPTH_MAX 256u

/* ---- Formats ---- */

/* Encode values into a buffer.
 * buffer:   where the payload goes, aligned to 8 bytes if it is to be read
 *           there; NULL to count only.
 * capacity: bytes at buffer; 0 where buffer is NULL. Bytes past the payload
 *           may be overwritten up to capacity, never beyond it.
 * size:     receives the payload's size in bytes, also with POOL_ENOSPC;
 *           untouched on other errors. May be NULL.
 * format:   the codes of the values; "" for none.
 * Errors:   POOL_ENOSPC the buffer is too small; POOL_EFORMAT a string is not
 *           valid UTF-8, or a value (v) is not exactly one well-formed item;
 *           POOL_ETOOBIG the payload would exceed PTRDIFF_MAX; POOL_EINVAL
 *           format is NULL or holds an unknown code, buffer is NULL with a
 *           capacity, or an argument is NULL with a size (or a NULL string).
 * Ownership: arguments are copied. Thread: any. Blocks: no.
 * Semantics: RFC 8949 section 4.1 (preferred serialization), RFC 8746. */
POOL_API int pool_encode(
    void *buffer, size_t capacity, size_t *size, const char *format, ...);

/* Append values to an encoder, as pool_encode; see there for the errors,
 * which also stay in the encoder. A full buffer is no error here:
 * pool_enc_finish tells. Thread: any. Blocks: no. */
POOL_API int pool_vencode(pool_enc_t *enc, const char *format, va_list args);

/* Decode a payload that holds exactly the values of a format.
 * data:   the payload; may be NULL where size is 0.
 * size:   its size in bytes.
 * format: the codes of the values, followed by the out-pointers.
 * Errors: POOL_EFORMAT the data is malformed, a value is not what the format
 *         says (pool_errmsg names the argument counted from 1, the byte
 *         offset, what was expected and what came), values are missing or
 *         left over; POOL_ETOOBIG nesting beyond POOL_DEPTH_DEFAULT;
 *         POOL_EINVAL format is NULL or holds an unknown code, or data is
 *         NULL with a size. On an error the values before the one at fault
 *         have been stored.
 * Ownership: pointers handed out point into data and live as long as it.
 * Thread: any. Blocks: no. Semantics: RFC 8949, RFC 8742, RFC 8746. The tag
 * 55799 is skipped before any value. */
POOL_API int pool_decode(
    const void *data, size_t size, const char *format, ...);

/* Decode the next values of a cursor, as pool_decode; see there for the
 * errors, which also stay in the cursor. What follows the values is left for
 * later; pool_dec_finish asks for the end. Thread: any. Blocks: no. */
POOL_API int pool_vdecode(pool_dec_t *dec, const char *format, va_list args);

/* Ask whether data is a well-formed CBOR sequence within a depth.
 * data, size: the bytes; NULL only where size is 0.
 * max_depth:  1 to POOL_DEPTH_MAX; 0 means POOL_DEPTH_DEFAULT.
 * offset:     receives the offset of the first byte at fault: the head that
 *             is wrong, cut off or promises more than follows, or the break
 *             that is out of place; size where all is well. May be NULL.
 * Errors:     POOL_EFORMAT not well-formed; POOL_ETOOBIG nested deeper;
 *             POOL_EINVAL a wrong argument.
 * Thread: any. Blocks: no. Semantics: RFC 8949 appendix C, RFC 8742. Whether
 * texts are valid UTF-8 is not looked at (section 5.3.1). */
POOL_API int pool_check(
    const void *data, size_t size, unsigned max_depth, size_t *offset);

/* Ask whether bytes are valid UTF-8: no overlong forms, no surrogates,
 * nothing above U+10FFFF. size is in bytes. Returns POOL_EFORMAT where not.
 * Thread: any. Blocks: no. Semantics: RFC 3629. */
POOL_API int pool_check_utf8(const void *data, size_t size);

/* ---- Encoder ----
 * Functions that append return nothing: the first error stays, the size is
 * counted on past a full buffer, and pool_enc_finish tells both. Containers
 * are a head followed by their contents; that the contents are as many as
 * promised is the caller's word (pool_check verifies it). */

/* Begin an encoder. buffer and capacity as in pool_encode; the wrong pair is
 * reported by pool_enc_finish. Thread: any. Blocks: no. */
POOL_API void pool_enc_init(pool_enc_t *enc, void *buffer, size_t capacity);

/* Begin an encoder with a buffer of its own that grows with what comes, where
 * the size of a payload is not known before it is encoded. It takes no memory
 * before the first value, then twice as much each time. Buffers of 2 MiB and
 * more are offered huge pages. What finds no memory is POOL_ENOMEM, told by
 * pool_enc_finish, and is counted all the same.
 * Ownership: pool_enc_free gives the buffer back. Thread: any. Blocks: no. */
POOL_API void pool_enc_init_growable(pool_enc_t *enc);

/* Where an encoder's payload begins; pool_enc_finish says how far it goes. A
 * growable one's is aligned as malloc's memory is, and NULL before its first
 * value. Ownership: that of the buffer; a growable one moves when a value is
 * appended, which must not lie in it. Thread: any. Blocks: no. */
static inline const void *pool_enc_data(const pool_enc_t *enc);

/* Forget an encoder's values and its error: it begins anew in the same buffer.
 * Thread: any. Blocks: no. */
static inline void pool_enc_clear(pool_enc_t *enc);

/* End a growable encoder: its buffer is freed. It is empty then, as after
 * pool_enc_init_growable. Does nothing where the buffer is the caller's.
 * Thread: any. Blocks: no. */
POOL_API void pool_enc_free(pool_enc_t *enc);

/* The encoder's verdict. size receives the bytes that all values need, also
 * with POOL_ENOSPC; it may be NULL.
 * Errors: POOL_ENOSPC; POOL_EINVAL data is NULL with a size, or a wrong
 * buffer, or a simple value that does not exist; POOL_EFORMAT as in
 * pool_encode; POOL_ETOOBIG; POOL_ENOMEM a growable encoder found no memory.
 * The encoder may go on after it.
 * Thread: any. Blocks: no. */
POOL_API int pool_enc_finish(const pool_enc_t *enc, size_t *size);

/* Append a head in its shortest form: a major type (0 to 7) and its argument.
 * The functions below are this with a name; use it for what they do not
 * cover. pool_enc_put_head is the same, never inlined.
 * Thread: any. Blocks: no. Semantics: RFC 8949 section 3. */
static inline void pool_enc_head(pool_enc_t *enc, unsigned major, uint64_t n);
POOL_API void pool_enc_put_head(pool_enc_t *enc, unsigned major, uint64_t n);

/* Append an integer: n; n; -1 - n, which reaches down to -2^64.
 * Thread: any. Blocks: no. Semantics: RFC 8949 section 3.1. */
static inline void pool_enc_uint(pool_enc_t *enc, uint64_t n);
static inline void pool_enc_int(pool_enc_t *enc, int64_t n);
static inline void pool_enc_nint(pool_enc_t *enc, uint64_t n);

/* Append a float in the shortest of the three widths that keeps every bit,
 * those of NaNs included. pool_enc_put_double is the same, never inlined.
 * Thread: any. Blocks: no. Semantics: RFC 8949 section 4.1. */
static inline void pool_enc_double(pool_enc_t *enc, double value);
POOL_API void pool_enc_put_double(pool_enc_t *enc, double value);
POOL_API void pool_enc_float(pool_enc_t *enc, float value);

/* Append false or true, null, undefined, or a simple value by its number (0
 * to 23 or 32 to 255; others are POOL_EINVAL).
 * Thread: any. Blocks: no. Semantics: RFC 8949 section 3.3. */
static inline void pool_enc_bool(pool_enc_t *enc, bool value);
static inline void pool_enc_null(pool_enc_t *enc);
static inline void pool_enc_undefined(pool_enc_t *enc);
POOL_API void pool_enc_simple(pool_enc_t *enc, unsigned number);

/* Append a byte string, or a text as it is. size is in bytes; data may be
 * NULL where it is 0. That a text is UTF-8 is the caller's word. To be read
 * with s it must end in U+0000: give its NUL with it.
 * pool_enc_put_text is the same as pool_enc_text, never inlined.
 * Ownership: data is copied. Thread: any. Blocks: no.
 * Semantics: RFC 8949 section 3.1. */
POOL_API void pool_enc_bytes(pool_enc_t *enc, const void *data, size_t size);
static inline void pool_enc_text(
    pool_enc_t *enc, const char *data, size_t size);
POOL_API void pool_enc_put_text(pool_enc_t *enc, const char *data, size_t size);

/* Append the head of an array of count items, of a map of count pairs (key,
 * value, key, value, ...), or a tag for the item that follows.
 * Thread: any. Blocks: no. Semantics: RFC 8949 sections 3.1 and 3.4. */
static inline void pool_enc_array(pool_enc_t *enc, uint64_t count);
static inline void pool_enc_map(pool_enc_t *enc, uint64_t count);
static inline void pool_enc_tag(pool_enc_t *enc, uint64_t number);

/* The element types of typed arrays, in the machine's byte order. */
typedef enum pool_number {
    POOL_U8,
    POOL_U16,
    POOL_U32,
    POOL_U64,
    POOL_I8,
    POOL_I16,
    POOL_I32,
    POOL_I64,
    POOL_F32,
    POOL_F64
} pool_number_t;

/* Append a typed array, its elements at a multiple of 8 bytes from the
 * encoder's start. elements: an array of count numbers of this type; NULL
 * only where count is 0.
 * Ownership: elements are copied. Thread: any. Blocks: no.
 * Semantics: RFC 8746 section 2.1. */
POOL_API void pool_enc_numbers(
    pool_enc_t *enc, pool_number_t type, const void *elements, size_t count);

/* Append an encoded value: size bytes that are exactly one well-formed item,
 * else POOL_EFORMAT. Where it holds typed arrays, tags 55799 before it keep
 * its address modulo 8.
 * Ownership: data is copied. Thread: any. Blocks: no.
 * Semantics: RFC 8949 appendix C. */
POOL_API void pool_enc_value(pool_enc_t *enc, const void *data, size_t size);

/* ---- Cursor ----
 * The first error stays: every later call returns it, and pool_dec_offset
 * says where it was. A value of another type than asked for is such an error
 * (POOL_EFORMAT); look with pool_dec_peek where more than one may come.
 * An item is checked as a whole, contents included, before its head is handed
 * out, so a loop over an array never meets malformed data halfway. */

/* Begin a cursor at data, size bytes. NULL with a size is POOL_EINVAL, told
 * by the first call that reads. Ownership: data stays the caller's and must
 * outlive what is handed out. Thread: any. Blocks: no. */
POOL_API void pool_dec_init(pool_dec_t *dec, const void *data, size_t size);

/* Take arrays and maps nested up to max_depth, 0 to POOL_DEPTH_MAX, from now
 * on; 0 takes none. Returns POOL_EINVAL above. Thread: any. Blocks: no. */
POOL_API int pool_dec_set_depth(pool_dec_t *dec, unsigned max_depth);

/* 0 where all has been read without error; else the first error, or
 * POOL_EFORMAT where items are left. Thread: any. Blocks: no. */
POOL_API int pool_dec_finish(const pool_dec_t *dec);

/* Where the first error was, or, without one, where the next item begins:
 * bytes from the start of the data. Thread: any. Blocks: no. */
POOL_API size_t pool_dec_offset(const pool_dec_t *dec);

/* What an item is, and in brackets what pool_item's value tells. */
typedef enum pool_item_type {
    POOL_ITEM_END,       /* no more data, or an error */
    POOL_ITEM_UINT,      /* [the integer] */
    POOL_ITEM_NINT,      /* [n of the integer -1 - n] */
    POOL_ITEM_BYTES,     /* [bytes at data] */
    POOL_ITEM_TEXT,      /* [bytes at data] */
    POOL_ITEM_ARRAY,     /* [items that follow] */
    POOL_ITEM_MAP,       /* [pairs that follow] */
    POOL_ITEM_TAG,       /* [its number], one item follows */
    POOL_ITEM_BOOL,      /* [0, 1] */
    POOL_ITEM_NULL,      /* */
    POOL_ITEM_UNDEFINED, /* */
    POOL_ITEM_SIMPLE,    /* [its number] */
    POOL_ITEM_FLOAT,     /* number */
    POOL_ITEM_BREAK      /* the end of what was indefinite */
} pool_item_type_t;

/* The count of an array, map or string that a break ends. */
#define POOL_INDEFINITE UINT64_MAX

typedef struct pool_item {
    pool_item_type_t type;
    uint64_t value;   /* see the type; POOL_INDEFINITE: chunks or items follow
                       * up to a POOL_ITEM_BREAK */
    const void *data; /* of definite byte strings and texts, else NULL */
    double number;    /* of floats, else 0; single and half widened exactly */
} pool_item_t;

/* Read one head (and a definite string's bytes) and step to the next: into an
 * array, map, tag or chunked string, not over it. At the end of the data the
 * type is POOL_ITEM_END. All tags are shown, 55799 too.
 * Errors: POOL_EFORMAT malformed; POOL_ETOOBIG too deep; POOL_EINVAL.
 * Thread: any. Blocks: no. Semantics: RFC 8949 section 3. */
POOL_API int pool_dec_next(pool_dec_t *dec, pool_item_t *item);

/* The type of the next item by its first byte, nothing read or checked.
 * Thread: any. Blocks: no. */
POOL_API pool_item_type_t pool_dec_peek(const pool_dec_t *dec);

/* Read a value of one type; tags 55799 before it are skipped. Each stores its
 * result only where it returns 0.
 * Errors: POOL_EFORMAT malformed, another type, or an integer that the result
 * does not hold; POOL_ETOOBIG too deep; POOL_EINVAL.
 * The pool_dec_get_ functions are the same, never inlined.
 * Thread: any. Blocks: no. Semantics: RFC 8949 section 3. */
static inline int pool_dec_int(pool_dec_t *dec, int64_t *value);
static inline int pool_dec_uint(pool_dec_t *dec, uint64_t *value);
static inline int pool_dec_double(pool_dec_t *dec, double *value);
static inline int pool_dec_bool(pool_dec_t *dec, bool *value);
POOL_API int pool_dec_get_int(pool_dec_t *dec, int64_t *value);
POOL_API int pool_dec_get_uint(pool_dec_t *dec, uint64_t *value);
POOL_API int pool_dec_get_double(pool_dec_t *dec, double *value);
POOL_API int pool_dec_get_bool(pool_dec_t *dec, bool *value);

/* Read a string of definite length in place; size in bytes. A text is not
 * checked to be UTF-8 and has no NUL of its own. Errors and the rest as
 * above. Ownership: data points into the cursor's data. */
POOL_API int pool_dec_bytes(pool_dec_t *dec, const void **data, size_t *size);
static inline int pool_dec_text(
    pool_dec_t *dec, const char **data, size_t *size);
POOL_API int pool_dec_get_text(
    pool_dec_t *dec, const char **data, size_t *size);

/* Enter an array or a map: read its head, so that its items (a map's keys and
 * values in turn) come next. count is in items or pairs, POOL_INDEFINITE
 * where they go on until pool_dec_break. Errors and the rest as above. */
static inline int pool_dec_array(pool_dec_t *dec, uint64_t *count);
POOL_API int pool_dec_get_array(pool_dec_t *dec, uint64_t *count);
POOL_API int pool_dec_map(pool_dec_t *dec, uint64_t *count);

/* Step over a break and return true, if one ends the indefinite item being
 * read. Thread: any. Blocks: no. */
POOL_API bool pool_dec_break(pool_dec_t *dec);

/* Read a typed array of this very element type, in the machine's byte order,
 * in place; count in elements. Errors as above; POOL_EFORMAT also where the
 * elements are not aligned for their type in memory or their bytes are not a
 * whole number of them. Semantics: RFC 8746 section 2.1. */
POOL_API int pool_dec_numbers(
    pool_dec_t *dec, pool_number_t type, const void **elements, size_t *count);

/* Read one whole item of any type, contents included, as it is encoded. data
 * and size (bytes) may be NULL. Errors and the rest as above.
 * pool_dec_skip steps over it. */
POOL_API int pool_dec_value(pool_dec_t *dec, const void **data, size_t *size);
static inline int pool_dec_skip(pool_dec_t *dec);

#include "forkpool_codec_inline.h"

#ifdef __cplusplus
}
#endif
#endif
