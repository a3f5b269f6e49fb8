/* Layer 1, every process, hot: the checksum by which stages compare what they handed on.
 *
 * One tick's (token, last price, day volume) goes through the finaliser of splitmix64 (Steele,
 * Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, variant 13); the
 * checksum of a stream is the wrapping sum over its ticks. A sum does not depend on order or
 * batching, and a tick that is lost, doubled or changed moves it (a chance of 2^-64 not to).
 * Slow twin: kite_hft/kernels/checksum.py.
 */
#ifndef KHFT_CHECKSUM_H
#define KHFT_CHECKSUM_H

#include <stdint.h>

static inline uint64_t khft_tick_checksum(uint32_t token, int32_t px, int64_t volume)
{
    const uint64_t gamma = UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = ((uint64_t)token << 32 | (uint32_t)px) + gamma;
    /* Odd multiplier: no two volumes of one (token, px) meet. */
    z ^= (uint64_t)volume * gamma;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

#endif
