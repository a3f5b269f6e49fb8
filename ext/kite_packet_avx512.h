/* Layer 2, feed process, hot: tradable packets to khft_tick_t by byte shuffles (AVX-512 VBMI).
 *
 * ltp, quote and full are prefixes of one layout, so one routine serves all three: three loads of
 * 64 bytes (what a packet lacks is masked to zero) and, for each of the record's three cache
 * lines, a gather of bytes from each load. The shuffles are computed at start from one table of
 * (record field, wire offset): bits are equal to the portable path's, which the tests check.
 * Included by kite_packet.h only.
 */
#ifndef KHFT_KITE_PACKET_AVX512_H
#define KHFT_KITE_PACKET_AVX512_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "khft_layout.h"

enum { KITE_LINES = sizeof(khft_tick_t) / 64, KITE_LOADS = 3 };

typedef struct {
    uint8_t index[KITE_LINES][KITE_LOADS][64]; /* byte of the load that goes to this byte of the line */
    uint64_t mask[KITE_LINES][KITE_LOADS];     /* which bytes of the line come from this load */
    uint8_t price_sign[KITE_LOADS][64];        /* 0x80 where a price has its highest byte */
} kite_shuffle_t;

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

/* The loads: bytes 0-63, 64-127 (bids to 123), 120-183 (asks from 124). */
enum { KITE_LOAD_BIDS = 64, KITE_LOAD_ASKS = 120, KITE_ASKS = 124 };

static void kite_shuffle_field(kite_shuffle_t *s, size_t to, unsigned from, unsigned bytes, int price)
{
    const unsigned load = from < KITE_LOAD_BIDS ? 0 : from < KITE_ASKS ? 1 : 2;
    const unsigned start = load == 0 ? 0 : load == 1 ? KITE_LOAD_BIDS : KITE_LOAD_ASKS;
    for (unsigned i = 0; i < bytes; i++) { /* big-endian to little-endian */
        const size_t line = (to + i) / 64, lane = (to + i) % 64;
        s->index[line][load][lane] = (uint8_t)(from - start + bytes - 1 - i);
        s->mask[line][load] |= UINT64_C(1) << lane;
    }
    if (price)
        s->price_sign[load][from - start] = 0x80;
}

static void kite_shuffle_side(
    kite_shuffle_t *s, unsigned from, size_t best, size_t deep, size_t qty, size_t orders)
{
    for (unsigned i = 0; i < 5; i++, from += 12) {
        kite_shuffle_field(s, qty + 4 * i, from, 4, 0);
        kite_shuffle_field(s, i ? deep + 4 * (i - 1) : best, from + 4, 4, 1);
        kite_shuffle_field(s, orders + 2 * i, from + 8, 2, 0);
    }
}

static void kite_shuffle_build(kite_shuffle_t *s)
{
#define AT(field) offsetof(khft_tick_t, field)
    memset(s, 0, sizeof *s);
    kite_shuffle_field(s, AT(last_px), 4, 4, 1);
    kite_shuffle_field(s, AT(last_qty), 8, 4, 0);
    kite_shuffle_field(s, AT(average_px), 12, 4, 1);
    kite_shuffle_field(s, AT(volume), 16, 4, 0); /* the low half */
    kite_shuffle_field(s, AT(total_buy_qty), 20, 4, 0);
    kite_shuffle_field(s, AT(total_sell_qty), 24, 4, 0);
    kite_shuffle_field(s, AT(open_px), 28, 4, 1);
    kite_shuffle_field(s, AT(high_px), 32, 4, 1);
    kite_shuffle_field(s, AT(low_px), 36, 4, 1);
    kite_shuffle_field(s, AT(close_px), 40, 4, 1);
    kite_shuffle_field(s, AT(last_trade_s), 44, 4, 0);
    kite_shuffle_field(s, AT(oi), 48, 4, 0);
    kite_shuffle_field(s, AT(oi_day_high), 52, 4, 0);
    kite_shuffle_field(s, AT(oi_day_low), 56, 4, 0);
    kite_shuffle_side(s, 64, AT(bid_px), AT(bid_px_deep), AT(bid_qty), AT(bid_orders));
    kite_shuffle_side(s, KITE_ASKS, AT(ask_px), AT(ask_px_deep), AT(ask_qty), AT(ask_orders));
#undef AT
}

static int kite_wide_supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
           && __builtin_cpu_supports("avx512vbmi");
}

#define KITE_WIDE __attribute__((target("avx512f,avx512bw,avx512vbmi")))

/* Fills the record but for times, slot, flags, kind and connection. `length` is 8, 44 or 184.
 * Non-zero: a price is out of range. */
KITE_WIDE static inline int kite_shuffle(
    const kite_shuffle_t *s, const uint8_t *p, size_t length, khft_tick_t *t)
{
    const int full = length > 64;
    const __m512i loads[KITE_LOADS] = {
        full ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8((UINT64_C(1) << length) - 1, p),
        full ? _mm512_loadu_si512(p + KITE_LOAD_BIDS) : _mm512_setzero_si512(),
        full ? _mm512_loadu_si512(p + KITE_LOAD_ASKS) : _mm512_setzero_si512(),
    };
    __m512i signs = _mm512_setzero_si512();
    for (int i = 0; i < KITE_LOADS; i++)
        signs = _mm512_or_si512(signs, _mm512_and_si512(loads[i], _mm512_loadu_si512(s->price_sign[i])));
    for (int line = 0; line < KITE_LINES; line++) {
        __m512i v = _mm512_setzero_si512();
        for (int i = 0; i < KITE_LOADS; i++) {
            const __m512i index = _mm512_loadu_si512(s->index[line][i]);
            v = _mm512_mask_permutexvar_epi8(v, s->mask[line][i], index, loads[i]);
        }
        _mm512_storeu_si512((uint8_t *)t + 64 * line, v);
    }
    return _mm512_test_epi8_mask(signs, signs) != 0;
}

#else /* another architecture: the portable path only */

#define KITE_WIDE

static void kite_shuffle_build(kite_shuffle_t *s) { memset(s, 0, sizeof *s); }
static int kite_wide_supported(void) { return 0; }
static inline int kite_shuffle(const kite_shuffle_t *s, const uint8_t *p, size_t length, khft_tick_t *t)
{
    (void)s, (void)p, (void)length, (void)t;
    return 1;
}

#endif
#endif
