/* Layer 2, feed process, hot: instrument keys ("NSE_FO|55775") to row numbers, by their bytes.
 *
 * Open addressing, linear probing, at most a quarter full. The table holds 32 bits of the hash beside
 * the row, so that the key itself is compared about once for each look-up.
 */
#ifndef KHFT_UPSTOX_KEYS_H
#define KHFT_UPSTOX_KEYS_H

#include "upstox_wire.h"

enum { UPSTOX_KEY_BYTES_MAX = 55 };
#define UPSTOX_NO_ROW UINT32_MAX

/* One cache line: the key, and where the frame being read has it. */
typedef struct {
    uint32_t frame, place; /* the frame that named it last, and where in that frame's list */
    uint8_t size;
    uint8_t bytes[UPSTOX_KEY_BYTES_MAX];
} upstox_key_t;

_Static_assert(sizeof(upstox_key_t) == 64, "a key is a cache line");

typedef struct {
    uint32_t mark; /* upper half of the hash */
    uint32_t row;  /* UPSTOX_NO_ROW: free */
} upstox_bucket_t;

typedef struct {
    upstox_bucket_t *buckets; /* mask + 1 of them, a power of two */
    upstox_key_t *keys;       /* by row */
    uint32_t mask;
} upstox_keys_t;

/* Both halves of the product folded: each bit of both factors tells in each bit of the result. */
WIRE_INLINE uint64_t upstox_fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide_t;
    const wide_t product = (wide_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Keys differ at their ends (the exchange's number) or in the middle (ISIN): the first 16 and the
 * last 8 bytes go in. After wyhash (Wang Yi); the constants are those of splitmix64. */
WIRE_INLINE uint64_t upstox_key_hash(const uint8_t *key, size_t size)
{
    const uint64_t one = UINT64_C(0xBF58476D1CE4E5B9), two = UINT64_C(0x94D049BB133111EB);
    uint64_t first = 0, last = 0;
    if (size < 8) {
        for (size_t i = 0; i < size; i++)
            first |= (uint64_t)key[i] << 8 * i;
        return upstox_fold(first ^ one, size ^ two);
    }
    first = wire_load(key);
    last = wire_load(key + size - 8);
    if (size >= 16)
        first ^= upstox_fold(wire_load(key + 8) ^ two, one);
    return upstox_fold(first ^ one, last ^ two);
}

WIRE_INLINE int upstox_key_equal(const upstox_key_t *known, const uint8_t *key, size_t size)
{
    if (known->size != size)
        return 0;
    if (size < 8)
        return memcmp(known->bytes, key, size) == 0;
    for (size_t at = 0; at + 8 < size; at += 8)
        if (wire_load(known->bytes + at) != wire_load(key + at))
            return 0;
    return wire_load(known->bytes + size - 8) == wire_load(key + size - 8);
}

/* Asks early for the bucket of a hash, and then, when that has come, for the key it leads to. */
WIRE_INLINE void upstox_bucket_fetch(const upstox_keys_t *t, uint64_t hash)
{
    __builtin_prefetch(&t->buckets[(uint32_t)hash & t->mask]);
}

WIRE_INLINE void upstox_key_fetch(const upstox_keys_t *t, uint64_t hash)
{
    const uint32_t row = t->buckets[(uint32_t)hash & t->mask].row;
    if (row != UPSTOX_NO_ROW)
        __builtin_prefetch(&t->keys[row], 1);
}

/* The row of a key, or UPSTOX_NO_ROW. Reads key[0, size) only. */
WIRE_INLINE uint32_t upstox_key_find(
    const upstox_keys_t *t, const uint8_t *key, size_t size, uint64_t hash)
{
    for (uint32_t i = (uint32_t)hash & t->mask;; i = (i + 1) & t->mask) {
        const upstox_bucket_t bucket = t->buckets[i];
        if (bucket.row == UPSTOX_NO_ROW)
            return UPSTOX_NO_ROW;
        if (bucket.mark == hash >> 32 && upstox_key_equal(&t->keys[bucket.row], key, size))
            return bucket.row;
    }
}

/* Gives a key the row `row`; 0, or -1 when it is there already. The caller leaves room. */
static inline int upstox_key_insert(upstox_keys_t *t, const uint8_t *key, size_t size, uint32_t row)
{
    const uint64_t hash = upstox_key_hash(key, size);
    if (upstox_key_find(t, key, size, hash) != UPSTOX_NO_ROW)
        return -1;
    uint32_t i = (uint32_t)hash & t->mask;
    while (t->buckets[i].row != UPSTOX_NO_ROW)
        i = (i + 1) & t->mask;
    t->buckets[i].mark = (uint32_t)(hash >> 32);
    t->buckets[i].row = row;
    t->keys[row].size = (uint8_t)size;
    memcpy(t->keys[row].bytes, key, size);
    return 0;
}

#endif
