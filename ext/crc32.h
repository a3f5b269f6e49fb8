/* Layer 1, orders process, hot: CRC-32 as zlib and the order journal know it (reflected, 0x04C11DB7).
 *
 * Where the CPU multiplies without carries 16 bytes are folded at a time (Gopal et al., "Fast CRC
 * Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009): a record costs less than
 * reading it once, and no table is fetched from memory. Elsewhere, and for what is left over, one table.
 */
#ifndef KHFT_CRC32_H
#define KHFT_CRC32_H

#include <stddef.h>
#include <stdint.h>

static uint32_t crc32_table[256];
static int crc32_folds; /* the CPU has what folding needs */

/* Once, before the first use. */
static void crc32_prepare(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t word = i;
        for (int bit = 0; bit < 8; bit++) word = word >> 1 ^ (word & 1 ? UINT32_C(0xEDB88320) : 0);
        crc32_table[i] = word;
    }
#if defined(__x86_64__)
    __builtin_cpu_init();
    crc32_folds = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
#endif
}

/* `word` is the inverted CRC, before and behind. */
static inline uint32_t crc32_bytes(uint32_t word, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) word = word >> 8 ^ crc32_table[(word ^ data[i]) & 0xFF];
    return word;
}

#if defined(__x86_64__)
#include <immintrin.h>

#define CRC32_FOLD_MIN 32

static inline __attribute__((target("pclmul,sse4.1"))) __m128i crc32_fold(__m128i sum, __m128i by, __m128i next) {
    __m128i low = _mm_clmulepi64_si128(sum, by, 0x00);
    __m128i high = _mm_clmulepi64_si128(sum, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/* size: a multiple of 16, CRC32_FOLD_MIN at least. */
static __attribute__((target("pclmul,sse4.1"))) uint32_t crc32_folded(uint32_t word, const uint8_t *data, size_t size) {
    /* x^n modulo the polynomial, bit-reflected: n = 128 + 32 and 128 - 32; 64; then Barrett's two. */
    const __m128i by16 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    const __m128i by8 = _mm_set_epi64x(0, 0x0163cd6124);
    const __m128i barrett = _mm_set_epi64x(0x01f7011641, 0x01db710641);
    const __m128i low_words = _mm_setr_epi32(~0, 0, ~0, 0);
    __m128i sum = _mm_xor_si128(_mm_loadu_si128((const __m128i *)data), _mm_cvtsi32_si128((int)word));
    for (size_t at = 16; at < size; at += 16) {
        sum = crc32_fold(sum, by16, _mm_loadu_si128((const __m128i *)(data + at)));
    }
    /* 128 bits to 64, to 32. */
    __m128i part = _mm_clmulepi64_si128(sum, by16, 0x10);
    sum = _mm_xor_si128(_mm_srli_si128(sum, 8), part);
    part = _mm_srli_si128(sum, 4);
    sum = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(sum, low_words), by8, 0x00), part);
    part = _mm_clmulepi64_si128(_mm_and_si128(sum, low_words), barrett, 0x10);
    part = _mm_clmulepi64_si128(_mm_and_si128(part, low_words), barrett, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(sum, part), 1);
}
#endif

/* As zlib's crc32: `crc` is that of what stands before `data`, 0 for nothing. */
static inline uint32_t crc32_of(uint32_t crc, const uint8_t *data, size_t size) {
    uint32_t word = ~crc;
#if defined(__x86_64__)
    if (crc32_folds && size >= CRC32_FOLD_MIN) {
        size_t whole = size & ~(size_t)15;
        word = crc32_folded(word, data, whole);
        data += whole;
        size -= whole;
    }
#endif
    return ~crc32_bytes(word, data, size);
}

#endif
