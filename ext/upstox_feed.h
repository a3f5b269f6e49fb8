/* Layer 2, feed process, hot: the branches of Upstox's `Feed` message, on the leaves of
 * upstox_message.h. */
#ifndef KHFT_UPSTOX_FEED_H
#define KHFT_UPSTOX_FEED_H

#include "upstox_message.h"

/* A sub-message of MarketFullFeed where it is not expected; 0: its bytes are none. */
WIRE_RARE int upstox_market_part(upstox_message_t *m, const wire_field_t *f, int depth)
{
    const uint8_t *const p = f->data, *const end = p + f->size;
    switch (f->tag) {
    case 0x0A: return upstox_ltpc(m, p, end, depth, WIRE_PLAIN);
    case 0x12: return upstox_market_level(m, p, end, depth, WIRE_PLAIN);
    case 0x1A: return upstox_greeks(m, p, end, depth, WIRE_PLAIN);
    case 0x22: return upstox_ohlc(m, p, end, depth, WIRE_PLAIN);
    default: return 1;
    }
}

/* One number of MarketFullFeed. */
WIRE_INLINE void upstox_market_number(upstox_message_t *m, const wire_field_t *f)
{
    switch (f->tag) {
    case 0x29: m->prices[UPSTOX_AVERAGE] = wire_double(f->number); break;
    case 0x30: m->volume = (int64_t)f->number; break;
    case 0x39: m->oi = wire_double(f->number); break;
    case 0x41: m->iv = wire_double(f->number); break;
    case 0x49: m->total_buy_qty = wire_double(f->number); break;
    case 0x51: m->total_sell_qty = wire_double(f->number); break;
    case 0x59: upstox_say_auction(m)->iep = wire_double(f->number); break;
    case 0x61: upstox_say_auction(m)->reference = wire_double(f->number); break;
    case 0x68: upstox_say_auction(m)->quantity = (int64_t)f->number; break;
    case 0x70: upstox_say_auction(m)->imbalance = (int64_t)f->number; break;
    case 0x78: upstox_say_auction(m)->imbalance_market = (int64_t)f->number; break;
    case 0x80: upstox_say_auction(m)->eligible = f->number != 0; break;
    default: break;
    }
}

/* The numbers behind the sub-messages, as far as they come in order. */
WIRE_INLINE const uint8_t *upstox_quick_totals(
    upstox_message_t *m, const uint8_t *p, const uint8_t *end, const int way)
{
    uint64_t volume;
    unsigned n;
    if (end - p >= 9 && p[0] == 0x29) {
        m->prices[UPSTOX_AVERAGE] = wire_load_double(p + 1);
        p += 9;
    }
    if (p < end && p[0] == 0x30 && (n = wire_short_varint(p + 1, &volume, way)) && n < end - p) {
        m->volume = (int64_t)volume;
        p += 1 + n;
    }
    if (end - p >= 9 && p[0] == 0x39) {
        m->oi = wire_load_double(p + 1);
        p += 9;
    }
    if (end - p >= 9 && p[0] == 0x41) {
        m->iv = wire_load_double(p + 1);
        p += 9;
    }
    if (end - p >= 9 && p[0] == 0x49) {
        m->total_buy_qty = wire_load_double(p + 1);
        p += 9;
    }
    if (end - p >= 9 && p[0] == 0x51) {
        m->total_sell_qty = wire_load_double(p + 1);
        p += 9;
    }
    return p;
}

WIRE_INLINE int upstox_market(
    upstox_message_t *m, const uint8_t *p, const uint8_t *end, int depth, const int way)
{
    wire_field_t f;
    if (way != WIRE_PLAIN) {
        if (p < end && p[0] == 0x0A) {
            p = wire_next_part(p, end, depth, &f, way);
            if (!p || !upstox_ltpc(m, f.data, f.data + f.size, depth - 1, way))
                return 0;
        }
        if (p < end && p[0] == 0x12) {
            p = wire_next_part(p, end, depth, &f, way);
            if (!p || !upstox_market_level(m, f.data, f.data + f.size, depth - 1, way))
                return 0;
        }
        if (p < end && p[0] == 0x1A) {
            p = wire_next_part(p, end, depth, &f, way);
            if (!p || !upstox_greeks(m, f.data, f.data + f.size, depth - 1, way))
                return 0;
        }
        if (p < end && p[0] == 0x22) {
            p = wire_next_part(p, end, depth, &f, way);
            if (!p || !upstox_ohlc(m, f.data, f.data + f.size, depth - 1, way))
                return 0;
        }
        p = upstox_quick_totals(m, p, end, way);
    }
    while (p < end) {
        p = wire_next(p, end, depth, &f);
        if (!p || ((f.tag & 7) == WIRE_BYTES && !upstox_market_part(m, &f, depth - 1)))
            return 0;
        upstox_market_number(m, &f);
    }
    return 1;
}

WIRE_INLINE int upstox_index(
    upstox_message_t *m, const uint8_t *p, const uint8_t *end, int depth, const int way)
{
    wire_field_t f;
    while (p < end) {
        p = wire_next_part(p, end, depth, &f, way);
        if (!p || (f.tag == 0x0A && !upstox_ltpc(m, f.data, f.data + f.size, depth - 1, way))
            || (f.tag == 0x12 && !upstox_ohlc(m, f.data, f.data + f.size, depth - 1, way)))
            return 0;
    }
    return 1;
}

WIRE_INLINE int upstox_first_level(
    upstox_message_t *m, const uint8_t *p, const uint8_t *end, int depth, const int way)
{
    wire_field_t f;
    while (p < end) {
        int good = 1;
        p = wire_next_part(p, end, depth, &f, way);
        if (!p)
            return 0;
        switch (f.tag) {
        case 0x0A: good = upstox_ltpc(m, f.data, f.data + f.size, depth - 1, way); break;
        case 0x12: good = upstox_first_depth(m, f.data, f.data + f.size, depth - 1); break;
        case 0x1A: good = upstox_greeks(m, f.data, f.data + f.size, depth - 1, way); break;
        case 0x20: m->volume = (int64_t)f.number; break;
        case 0x29: m->oi = wire_double(f.number); break;
        case 0x31: m->iv = wire_double(f.number); break;
        default: break;
        }
        if (!good)
            return 0;
    }
    return 1;
}

/* FullFeed: a oneof inside the oneof. What it says first keeps standing when it comes again. */
WIRE_INLINE int upstox_full(
    upstox_message_t *m, const uint8_t *p, const uint8_t *end, int depth, const int way)
{
    wire_field_t f;
    if (m->branch != UPSTOX_MARKET && m->branch != UPSTOX_INDEX)
        upstox_choose(m, UPSTOX_EMPTY_FULL);
    while (p < end) {
        p = wire_next_part(p, end, depth, &f, way);
        if (!p)
            return 0;
        if (f.tag == 0x0A) {
            upstox_choose(m, UPSTOX_MARKET);
            if (!upstox_market(m, f.data, f.data + f.size, depth - 1, way))
                return 0;
        } else if (f.tag == 0x12) {
            upstox_choose(m, UPSTOX_INDEX);
            if (!upstox_index(m, f.data, f.data + f.size, depth - 1, way))
                return 0;
        }
    }
    return 1;
}

/* Feed, merged into what `m` holds; 0: the bytes are none. */
WIRE_INLINE int upstox_feed(
    upstox_message_t *m, const uint8_t *p, const uint8_t *end, int depth, const int way)
{
    wire_field_t f;
    while (p < end) {
        int good = 1;
        p = wire_next_part(p, end, depth, &f, way);
        if (!p)
            return 0;
        switch (f.tag) {
        case 0x0A:
            upstox_choose(m, UPSTOX_LTPC);
            good = upstox_ltpc(m, f.data, f.data + f.size, depth - 1, way);
            break;
        case 0x12: good = upstox_full(m, f.data, f.data + f.size, depth - 1, way); break;
        case 0x1A:
            upstox_choose(m, UPSTOX_FIRST_LEVEL);
            good = upstox_first_level(m, f.data, f.data + f.size, depth - 1, way);
            break;
        default: break;
        }
        if (!good)
            return 0;
    }
    return 1;
}

#endif
