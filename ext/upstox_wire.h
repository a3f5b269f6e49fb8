/* Layer 2, feed process, hot: the protobuf wire format, read in place. Plain C, so that the same
 * text is compiled into kite_hft._upstox_decode and into the sanitizer run of the tests.
 *
 * What is refused here is what protobuf's own parser (upb) refuses: a varint of more than ten
 * bytes, a tag of more than five or with field number 0, a length above 2^31 - 1 or beyond its
 * message, wire types 6 and 7, a group without its end or nested too deep, text that is no UTF-8.
 * Source: protobuf.dev, "Encoding"; the corners were tried on upb of protobuf 7.36.
 */
#ifndef KHFT_UPSTOX_WIRE_H
#define KHFT_UPSTOX_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "doubles and varints are read as little-endian words"
#endif

#define WIRE_INLINE static inline __attribute__((always_inline))
/* What the usual message does not need: kept out of the code around it. None of these is hot on
 * doubles: called from code that uses AVX, each such instruction would cost dozens of cycles. */
#define WIRE_RARE static __attribute__((noinline, cold, unused))

enum {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_GROUP = 3,
    WIRE_GROUP_END = 4,
    WIRE_FIXED32 = 5,
    WIRE_DEPTH_MAX = 100, /* of messages and groups in one another */
    WIRE_SLACK = 96,      /* most that a first look reads beyond the end of a message */
};

/* One field of any message: `number` of a varint or a fixed field, `data` and `size` of bytes. */
typedef struct {
    uint32_t tag; /* field number * 8 + wire type */
    uint64_t number;
    const uint8_t *data;
    size_t size;
} wire_field_t;

WIRE_INLINE uint64_t wire_load(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

WIRE_INLINE double wire_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

WIRE_INLINE double wire_load_double(const uint8_t *p)
{
    return wire_double(wire_load(p));
}

/* How a message may be read: field by field, or with a first look for its usual shape, which reads
 * beyond its end; and whether the processor can gather bits (BMI2). Always a constant. */
enum { WIRE_PLAIN = 0, WIRE_QUICK = 1, WIRE_QUICK_GATHER = 2 };

#if defined(__x86_64__) && defined(__GNUC__)
#define WIRE_TARGET __attribute__((target("avx2,bmi,bmi2")))

static int wire_can_gather(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}

/* pext: the bits of `word` under the mask, moved together. In assembly, because the text around it
 * is compiled for other processors, too. */
WIRE_INLINE uint64_t wire_gather(uint64_t word, uint64_t mask)
{
    uint64_t bits;
    __asm__("pextq %2, %1, %0" : "=r"(bits) : "r"(word), "r"(mask));
    return bits;
}
#else /* another architecture: never called */
#define WIRE_TARGET
static int wire_can_gather(void) { return 0; }
static inline uint64_t wire_gather(uint64_t word, uint64_t mask) { return word & mask; }
#endif

/* A varint of at most eight bytes, all of which must be readable; its length, or 0: longer.
 * Without a branch on the length, which is not to be foreseen: the seven-bit groups are moved
 * together at once, or in pairs, then fours, then eights. */
WIRE_INLINE unsigned wire_short_varint(const uint8_t *p, uint64_t *value, const int way)
{
    const uint64_t word = wire_load(p);
    const uint64_t ends = ~word & UINT64_C(0x8080808080808080);
    const uint64_t mine = ends ^ (ends - 1); /* up to the first end */
    if (way == WIRE_QUICK_GATHER) {
        *value = wire_gather(word, mine & UINT64_C(0x7F7F7F7F7F7F7F7F));
    } else {
        uint64_t x = word & mine & UINT64_C(0x7F7F7F7F7F7F7F7F);
        x = (x & UINT64_C(0x007F007F007F007F)) | (x & UINT64_C(0x7F007F007F007F00)) >> 1;
        x = (x & UINT64_C(0x00003FFF00003FFF)) | (x & UINT64_C(0x3FFF00003FFF0000)) >> 2;
        *value = (x & UINT64_C(0x000000000FFFFFFF)) | (x & UINT64_C(0x0FFFFFFF00000000)) >> 4;
    }
    return ends ? ((unsigned)__builtin_ctzll(ends) >> 3) + 1 : 0;
}

/* A varint of one to ten bytes; where it ends, or NULL. Bits beyond the 64th fall away. */
static inline const uint8_t *wire_varint(const uint8_t *p, const uint8_t *end, uint64_t *value)
{
    uint64_t sum = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (p == end)
            return NULL;
        const uint8_t byte = *p++;
        sum |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) {
            *value = sum;
            return p;
        }
    }
    return NULL;
}

/* A tag or a length: a varint of one to five bytes and at most `most`. */
static inline const uint8_t *wire_varint32(
    const uint8_t *p, const uint8_t *end, uint32_t most, uint32_t *value)
{
    if (p < end && *p < 0x80) { /* nearly all are */
        *value = *p;
        return p + 1;
    }
    uint64_t sum = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        if (p == end)
            return NULL;
        const uint8_t byte = *p++;
        sum |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) {
            *value = (uint32_t)sum;
            return sum <= most ? p : NULL;
        }
    }
    return NULL;
}

static inline const uint8_t *wire_value(
    const uint8_t *p, const uint8_t *end, int depth, wire_field_t *field);

/* Past the fields of a group and its end tag. As in upb, its fields may have the number 0. */
WIRE_RARE const uint8_t *wire_group(const uint8_t *p, const uint8_t *end, int depth, uint32_t start)
{
    if (depth <= 0)
        return NULL;
    for (;;) {
        wire_field_t inner;
        p = wire_varint32(p, end, UINT32_MAX, &inner.tag);
        if (!p)
            return NULL;
        if ((inner.tag & 7) == WIRE_GROUP_END)
            return inner.tag >> 3 == start >> 3 ? p : NULL;
        p = wire_value(p, end, depth - 1, &inner);
        if (!p)
            return NULL;
    }
}

/* The value behind a tag; where it ends, or NULL. */
static inline const uint8_t *wire_value(
    const uint8_t *p, const uint8_t *end, int depth, wire_field_t *field)
{
    uint32_t size;
    switch (field->tag & 7) {
    case WIRE_VARINT:
        return wire_varint(p, end, &field->number);
    case WIRE_FIXED64:
        if (end - p < 8)
            return NULL;
        field->number = wire_load(p);
        return p + 8;
    case WIRE_BYTES:
        p = wire_varint32(p, end, INT32_MAX, &size);
        if (!p || size > (size_t)(end - p))
            return NULL;
        field->data = p;
        field->size = size;
        return p + size;
    case WIRE_GROUP:
        return wire_group(p, end, depth, field->tag);
    case WIRE_FIXED32:
        return end - p < 4 ? NULL : p + 4;
    default:
        return NULL;
    }
}

/* The next field of a message, whatever it is; where it ends, or NULL. `depth`: how many messages
 * or groups may still be nested in this one. */
static __attribute__((noinline)) const uint8_t *wire_next(
    const uint8_t *p, const uint8_t *end, int depth, wire_field_t *field)
{
    p = wire_varint32(p, end, UINT32_MAX, &field->tag);
    return p && field->tag >> 3 ? wire_value(p, end, depth, field) : NULL;
}

/* The same where WIRE_SLACK bytes are readable behind `end` (unless `way` is plain), with a look for
 * a sub-message of less than 2^14 bytes and a tag of one byte first. */
WIRE_INLINE const uint8_t *wire_next_part(
    const uint8_t *p, const uint8_t *end, int depth, wire_field_t *field, const int way)
{
    if (way != WIRE_PLAIN && (p[0] & 0x87) == WIRE_BYTES && p[0] > 7) {
        const size_t wide = p[1] >> 7, size = (p[1] & 0x7F) | (wide ? (size_t)p[2] << 7 : 0);
        const uint8_t *const data = p + 2 + wide;
        if (data <= end && size <= (size_t)(end - data) && !(wide && p[2] & 0x80)) {
            field->tag = p[0];
            field->data = data;
            field->size = size;
            return data + size;
        }
    }
    return wire_next(p, end, depth, field);
}

/* The same with a look for less than 2^7 bytes of field 1 only: levels and bars. */
WIRE_INLINE const uint8_t *wire_next_small(
    const uint8_t *p, const uint8_t *end, int depth, wire_field_t *field, const int way)
{
    if (way != WIRE_PLAIN && p[0] == 0x0A && p[1] < 0x80 && p[1] <= end - p - 2) {
        field->tag = 0x0A;
        field->data = p + 2;
        field->size = p[1];
        return field->data + field->size;
    }
    return wire_next(p, end, depth, field);
}

/* Whether bytes are UTF-8: no surrogates, no longer form than needed, nothing above U+10FFFF. */
WIRE_RARE int wire_is_text(const uint8_t *p, size_t size)
{
    const uint8_t *const end = p + size;
    while (p < end) {
        const uint8_t lead = *p++;
        if (lead < 0x80)
            continue;
        const unsigned more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
        if (lead < 0xC2 || lead > 0xF4 || (size_t)(end - p) < more)
            return 0;
        const uint8_t least = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
        const uint8_t most = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
        if (*p < least || *p > most)
            return 0;
        for (unsigned i = 1; i < more; i++)
            if ((p[i] & 0xC0) != 0x80)
                return 0;
        p += more;
    }
    return 1;
}

#endif
