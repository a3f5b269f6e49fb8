/* Kite's full packets to TICK records in plain C, for bench_decode: what one writes by hand first.
 *
 * Bytes are put together by shifts, field by field; a token finds its slot by open addressing, as in
 * any such program. Full packets only (184 bytes), whole frames only, prices unchecked beyond bit 31:
 * less than the product's decoder does. Called through ctypes over all frames at once.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "khft_layout.h"

enum { FULL_BYTES = 184, LEVELS = 5, LEVEL_BYTES = 12 };

typedef struct { uint32_t token, slot_and_1; } entry_t;

static entry_t *table;
static uint32_t mask;

static uint32_t u16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }
static uint32_t u32(const uint8_t *p) { return u16(p) << 16 | u16(p + 2); }
static uint32_t bucket(uint32_t token) { return (token * UINT32_C(2654435769) >> 8) & mask; }

/* Slot i for tokens[i]. Returns 0, or -1 without memory. */
int scalar_open(const uint32_t *tokens, uint32_t n)
{
    uint32_t room = 16;
    while (room < 2 * n) room *= 2;
    mask = room - 1;
    free(table);
    table = calloc(room, sizeof *table);
    if (!table) return -1;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = bucket(tokens[i]);
        while (table[at].slot_and_1) at = (at + 1) & mask;
        table[at] = (entry_t){tokens[i], i + 1};
    }
    return 0;
}

static void side(const uint8_t *p, int32_t *best, int32_t *deep, uint32_t *qty, uint16_t *orders)
{
    for (int i = 0; i < LEVELS; i++, p += LEVEL_BYTES) {
        qty[i] = u32(p);
        *(i ? deep + i - 1 : best) = (int32_t)u32(p + 4);
        orders[i] = (uint16_t)u16(p + 8);
    }
}

static void packet(const uint8_t *p, uint32_t slot, int64_t recv_ns, khft_tick_t *t)
{
    const uint32_t exchange_s = u32(p + 60), last_trade_s = u32(p + 44);
    t->seq = 0;
    t->recv_ns = recv_ns;
    t->exch_ns = (int64_t)exchange_s * 1000000000;
    t->slot = slot;
    t->flags = TICK_FLAG_TRADE | TICK_FLAG_OHLC | TICK_FLAG_DEPTH | TICK_FLAG_OI
               | (exchange_s ? TICK_FLAG_EXCHANGE_TIME : 0) | (last_trade_s ? TICK_FLAG_LAST_TRADE_TIME : 0);
    t->kind = TICK_KIND_FULL;
    t->connection = 0;
    t->last_px = (int32_t)u32(p + 4);
    t->last_qty = u32(p + 8);
    t->average_px = (int32_t)u32(p + 12);
    t->volume = u32(p + 16);
    t->total_buy_qty = u32(p + 20);
    t->total_sell_qty = u32(p + 24);
    t->open_px = (int32_t)u32(p + 28);
    t->high_px = (int32_t)u32(p + 32);
    t->low_px = (int32_t)u32(p + 36);
    t->close_px = (int32_t)u32(p + 40);
    t->last_trade_s = last_trade_s;
    t->oi = u32(p + 48);
    t->oi_day_high = u32(p + 52);
    t->oi_day_low = u32(p + 56);
    side(p + 64, &t->bid_px, t->bid_px_deep, t->bid_qty, t->bid_orders);
    side(p + 124, &t->ask_px, t->ask_px_deep, t->ask_qty, t->ask_orders);
}

/* The frames one after another, frame i from offsets[i] to offsets[i + 1]; returns the number of ticks. */
int64_t scalar_decode(const uint8_t *frames, const uint64_t *offsets, int64_t n, int64_t recv_ns, khft_tick_t *out)
{
    khft_tick_t *t = out;
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *p = frames + offsets[i], *end = frames + offsets[i + 1];
        uint32_t packets = u16(p);
        for (p += 2; packets && p + 2 + FULL_BYTES <= end && u16(p) == FULL_BYTES; packets--, p += 2 + FULL_BYTES) {
            const uint32_t token = u32(p + 2);
            uint32_t at = bucket(token);
            while (table[at].slot_and_1 && table[at].token != token) at = (at + 1) & mask;
            if (!table[at].slot_and_1 || u32(p + 6) >> 31) continue;
            packet(p + 2, table[at].slot_and_1 - 1, recv_ns, t++);
        }
    }
    return t - out;
}
