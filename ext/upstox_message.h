/* Layer 2, feed process, hot: one `Feed` message of Upstox's V3 schema into plain numbers.
 *
 * The schema is that of upstox-python-sdk 2.30.0 (protos/khft_upstox_feed.proto says the same).
 * Semantics are protobuf's: fields in any order, of a repeated field the last value stands, a
 * repeated sub-message is merged into the first, another member of a oneof puts the former one
 * out, what is not known or has another wire type is skipped. Zero is how an absent number looks.
 *
 * Each message has a loop that takes any field in any order (`wire_next`), and most have a first
 * look for the shape that the server writes: all fields there, in order. Such a look may read up
 * to WIRE_SLACK bytes from where it starts, so it is taken only where the caller says that as many
 * are readable behind the message (`way`); it changes nothing unless the shape is whole.
 */
#ifndef KHFT_UPSTOX_MESSAGE_H
#define KHFT_UPSTOX_MESSAGE_H

#include "upstox_wire.h"

enum {
    UPSTOX_LEVELS = 5,      /* in TICK */
    UPSTOX_LEVELS_MAX = 30, /* in the broadest mode: what lies deeper is left out */
};

/* Places of the prices: those on the instrument's tick first. In the book: bids, then asks. */
enum {
    UPSTOX_LAST = 0,
    UPSTOX_OPEN = 1,
    UPSTOX_HIGH = 2,
    UPSTOX_LOW = 3,
    UPSTOX_CLOSE = 4,
    UPSTOX_AVERAGE = 5,
    UPSTOX_PRICES = 6,
    UPSTOX_BOOK = 2 * UPSTOX_LEVELS,
};

/* What a message is: the chosen member of both oneofs. */
enum {
    UPSTOX_NONE = 0,
    UPSTOX_LTPC = 1,
    UPSTOX_MARKET = 2,
    UPSTOX_INDEX = 3,
    UPSTOX_FIRST_LEVEL = 4,
    UPSTOX_EMPTY_FULL = 5, /* a FullFeed with neither member */
};

/* Which sub-messages were there. */
enum {
    UPSTOX_SAID_DEPTH = 1,
    UPSTOX_SAID_GREEKS = 2,
    UPSTOX_SAID_OHLC = 4,   /* a MarketOHLC, perhaps without a bar */
    UPSTOX_SAID_IEP = 8,    /* the wrapper of LTPC: present even when it holds 0 */
    UPSTOX_SAID_BAR = 16,   /* a bar in it, of whatever interval */
    UPSTOX_SAID_DAY = 32,   /* a bar of interval 1d */
    UPSTOX_SAID_MINUTE = 64, /* a bar of interval I1 */
    UPSTOX_SAID_AUCTION = 128, /* one of the fields of an auction, or the wrapper */
};

typedef struct {
    double open, high, low, close;
    int64_t volume, start_ms;
} upstox_bar_t;

typedef struct {
    int64_t bid_qty, ask_qty;
    double bid, ask;
} upstox_level_t;

typedef struct {
    double delta, theta, gamma, vega, rho;
} upstox_greeks_t;

typedef struct {
    double iep, reference, wrapped_iep;
    int64_t quantity, imbalance, imbalance_market;
    uint64_t eligible;
} upstox_auction_t;

/* All numbers of one Feed, prices in rupees. Up to `branch` it starts as zeros; each of the
 * structures behind holds something only where `said` says so, and levels 6 to `levels`. The mode that
 * the server adds to an entry (requestMode, 4) is passed over: the branch says what is in it. */
typedef struct {
    double prices[UPSTOX_PRICES];
    int64_t last_trade_ms, last_qty, volume;
    double oi, iv, total_buy_qty, total_sell_qty;
    uint32_t said;
    uint32_t levels; /* seen, at most UPSTOX_LEVELS_MAX */
    uint32_t branch;
    double book[UPSTOX_BOOK];
    int64_t book_qty[UPSTOX_BOOK];
    upstox_greeks_t greeks;
    upstox_auction_t auction;
    upstox_bar_t bars[2]; /* the day, the last whole minute */
    upstox_level_t deep[UPSTOX_LEVELS_MAX - UPSTOX_LEVELS];
} upstox_message_t;

typedef double upstox_pair_t __attribute__((vector_size(16)));

/* Zeros, by stores of 16 bytes: a memset of this size is a slow string instruction. */
WIRE_INLINE void upstox_zero(void *to, size_t bytes)
{
    const upstox_pair_t zero = {0, 0};
    for (size_t at = 0; at < bytes; at += sizeof zero)
        memcpy((char *)to + at, &zero, sizeof zero);
}

WIRE_INLINE void upstox_clear(upstox_message_t *m)
{
    /* Nobody has spoken yet of the book, whose first words may be among them. */
    upstox_zero(m, offsetof(upstox_message_t, book));
}

/* The parts that start as zeros when the message first speaks of them. */
WIRE_INLINE void upstox_say_depth(upstox_message_t *m)
{
    if (!(m->said & UPSTOX_SAID_DEPTH))
        upstox_zero(m->book, sizeof m->book + sizeof m->book_qty);
    m->said |= UPSTOX_SAID_DEPTH;
}

WIRE_INLINE upstox_auction_t *upstox_say_auction(upstox_message_t *m)
{
    if (!(m->said & UPSTOX_SAID_AUCTION))
        memset(&m->auction, 0, sizeof m->auction);
    m->said |= UPSTOX_SAID_AUCTION;
    return &m->auction;
}

/* The oneof turns to `branch`: what another member had said is void. */
WIRE_INLINE void upstox_choose(upstox_message_t *m, uint32_t branch)
{
    if (m->branch == branch)
        return;
    if (m->branch != UPSTOX_NONE && m->branch != UPSTOX_EMPTY_FULL)
        upstox_clear(m);
    m->branch = branch;
}

/* ---- from the leaves up. Each returns 0 when the bytes are no such message. -------------------- */

WIRE_RARE int upstox_wrapper(upstox_message_t *m, const uint8_t *p, const uint8_t *end, int depth)
{
    upstox_auction_t *const auction = upstox_say_auction(m);
    wire_field_t f;
    m->said |= UPSTOX_SAID_IEP;
    while (p < end) {
        p = wire_next(p, end, depth, &f);
        if (!p)
            return 0;
        if (f.tag == 0x09)
            auction->wrapped_iep = wire_double(f.number);
    }
    return 1;
}

WIRE_RARE int upstox_any_ltpc(upstox_message_t *m, const uint8_t *p, const uint8_t *end, int depth)
{
    wire_field_t f;
    while (p < end) {
        p = wire_next(p, end, depth, &f);
        if (!p)
            return 0;
        switch (f.tag) {
        case 0x09: m->prices[UPSTOX_LAST] = wire_double(f.number); break;
        case 0x10: m->last_trade_ms = (int64_t)f.number; break;
        case 0x18: m->last_qty = (int64_t)f.number; break;
        case 0x21: m->prices[UPSTOX_CLOSE] = wire_double(f.number); break;
        case 0x2A:
            if (!upstox_wrapper(m, f.data, f.data + f.size, depth - 1))
                return 0;
            break;
        default: break;
        }
    }
    return 1;
}

WIRE_INLINE int upstox_ltpc(
    upstox_message_t *m, const uint8_t *p, const uint8_t *end, int depth, const int way)
{
    if (way != WIRE_PLAIN && p[0] == 0x09 && p[9] == 0x10) {
        uint64_t time, qty = (uint64_t)m->last_qty;
        const unsigned n = wire_short_varint(p + 10, &time, way);
        const uint8_t *q = p + 10 + n;
        unsigned qty_bytes = 1;
        if (*q == 0x18) { /* an index has none */
            qty_bytes = wire_short_varint(q + 1, &qty, way);
            q += 1 + qty_bytes;
        }
        if (n && qty_bytes && *q == 0x21 && q + 9 == end) {
            m->prices[UPSTOX_LAST] = wire_load_double(p + 1);
            m->last_trade_ms = (int64_t)time;
            m->last_qty = (int64_t)qty;
            m->prices[UPSTOX_CLOSE] = wire_load_double(q + 1);
            return 1;
        }
    }
    return upstox_any_ltpc(m, p, end, depth);
}

/* Merges a Quote into `level`. */
WIRE_RARE int upstox_any_quote(upstox_level_t *level, const uint8_t *p, const uint8_t *end, int depth)
{
    wire_field_t f;
    while (p < end) {
        p = wire_next(p, end, depth, &f);
        if (!p)
            return 0;
        switch (f.tag) {
        case 0x08: level->bid_qty = (int64_t)f.number; break;
        case 0x11: level->bid = wire_double(f.number); break;
        case 0x18: level->ask_qty = (int64_t)f.number; break;
        case 0x21: level->ask = wire_double(f.number); break;
        default: break;
        }
    }
    return 1;
}

WIRE_INLINE int upstox_quote(
    upstox_level_t *level, const uint8_t *p, const uint8_t *end, int depth, const int way)
{
    if (way != WIRE_PLAIN) {
        uint64_t bid_qty, ask_qty;
        const unsigned n = wire_short_varint(p + 1, &bid_qty, way);
        const uint8_t *const q = p + 1 + n; /* the bid's tag */
        const unsigned more = wire_short_varint(q + 10, &ask_qty, way);
        const uint8_t *const r = q + 10 + more; /* the ask's */
        if (p[0] == 0x08 && n && q[0] == 0x11 && q[9] == 0x18 && more && r[0] == 0x21 && r + 9 == end) {
            level->bid_qty = (int64_t)bid_qty;
            level->bid = wire_load_double(q + 1);
            level->ask_qty = (int64_t)ask_qty;
            level->ask = wire_load_double(r + 1);
            return 1;
        }
    }
    return upstox_any_quote(level, p, end, depth);
}

WIRE_INLINE void upstox_put_level(upstox_message_t *m, uint32_t at, const upstox_level_t *level)
{
    if (at < UPSTOX_LEVELS) {
        m->book[at] = level->bid;
        m->book[UPSTOX_LEVELS + at] = level->ask;
        m->book_qty[at] = level->bid_qty;
        m->book_qty[UPSTOX_LEVELS + at] = level->ask_qty;
    } else if (at < UPSTOX_LEVELS_MAX) {
        m->deep[at - UPSTOX_LEVELS] = *level;
    }
}

WIRE_INLINE int upstox_market_level(
    upstox_message_t *m, const uint8_t *p, const uint8_t *end, int depth, const int way)
{
    upstox_say_depth(m);
    while (p < end) {
        upstox_level_t level = {0, 0, 0, 0};
        wire_field_t f;
        p = wire_next_small(p, end, depth, &f, way);
        if (!p)
            return 0;
        if (f.tag != 0x0A)
            continue;
        if (!upstox_quote(&level, f.data, f.data + f.size, depth - 1, way))
            return 0;
        upstox_put_level(m, m->levels, &level);
        m->levels += m->levels < UPSTOX_LEVELS_MAX;
    }
    return 1;
}

/* The best level of mode option_greeks: one Quote, merged when it comes in parts. */
WIRE_RARE int upstox_first_depth(upstox_message_t *m, const uint8_t *p, const uint8_t *end, int depth)
{
    upstox_say_depth(m);
    upstox_level_t level = {
        m->book_qty[0], m->book_qty[UPSTOX_LEVELS], m->book[0], m->book[UPSTOX_LEVELS],
    };
    if (!upstox_any_quote(&level, p, end, depth))
        return 0;
    m->levels = 1;
    upstox_put_level(m, 0, &level);
    return 1;
}

WIRE_INLINE int upstox_greeks(
    upstox_message_t *m, const uint8_t *p, const uint8_t *end, int depth, const int way)
{
    wire_field_t f;
    if (!(m->said & UPSTOX_SAID_GREEKS))
        memset(&m->greeks, 0, sizeof m->greeks);
    m->said |= UPSTOX_SAID_GREEKS;
    if (way != WIRE_PLAIN && end - p == 45 && p[0] == 0x09 && p[9] == 0x11 && p[18] == 0x19 && p[27] == 0x21
        && p[36] == 0x29) {
        m->greeks.delta = wire_load_double(p + 1);
        m->greeks.theta = wire_load_double(p + 10);
        m->greeks.gamma = wire_load_double(p + 19);
        m->greeks.vega = wire_load_double(p + 28);
        m->greeks.rho = wire_load_double(p + 37);
        return 1;
    }
    while (p < end) {
        p = wire_next(p, end, depth, &f);
        if (!p)
            return 0;
        switch (f.tag) {
        case 0x09: m->greeks.delta = wire_double(f.number); break;
        case 0x11: m->greeks.theta = wire_double(f.number); break;
        case 0x19: m->greeks.gamma = wire_double(f.number); break;
        case 0x21: m->greeks.vega = wire_double(f.number); break;
        case 0x29: m->greeks.rho = wire_double(f.number); break;
        default: break;
        }
    }
    return 1;
}

/* Files a bar by its interval; others than the day and the minute are left out. */
WIRE_INLINE void upstox_put_bar(
    upstox_message_t *m, const uint8_t *interval, size_t size, const upstox_bar_t *bar)
{
    m->said |= UPSTOX_SAID_BAR;
    if (size != 2)
        return;
    if (interval[0] == '1' && interval[1] == 'd') {
        m->bars[0] = *bar;
        m->said |= UPSTOX_SAID_DAY;
        m->prices[UPSTOX_OPEN] = bar->open;
        m->prices[UPSTOX_HIGH] = bar->high;
        m->prices[UPSTOX_LOW] = bar->low;
    } else if (interval[0] == 'I' && interval[1] == '1') {
        m->bars[1] = *bar;
        m->said |= UPSTOX_SAID_MINUTE;
    }
}

WIRE_RARE int upstox_any_bar(upstox_message_t *m, const uint8_t *p, const uint8_t *end, int depth)
{
    upstox_bar_t bar = {0, 0, 0, 0, 0, 0};
    const uint8_t *interval = p;
    size_t size = 0;
    wire_field_t f;
    while (p < end) {
        p = wire_next(p, end, depth, &f);
        if (!p)
            return 0;
        switch (f.tag) {
        case 0x0A:
            if (!wire_is_text(f.data, f.size))
                return 0;
            interval = f.data;
            size = f.size;
            break;
        case 0x11: bar.open = wire_double(f.number); break;
        case 0x19: bar.high = wire_double(f.number); break;
        case 0x21: bar.low = wire_double(f.number); break;
        case 0x29: bar.close = wire_double(f.number); break;
        case 0x30: bar.volume = (int64_t)f.number; break;
        case 0x38: bar.start_ms = (int64_t)f.number; break;
        default: break;
        }
    }
    upstox_put_bar(m, interval, size, &bar);
    return 1;
}

WIRE_INLINE int upstox_bar(
    upstox_message_t *m, const uint8_t *p, const uint8_t *end, int depth, const int way)
{
    if (way != WIRE_PLAIN && p[0] == 0x0A && p[1] == 2 && !((p[2] | p[3]) & 0x80) && p[4] == 0x11 && p[13] == 0x19
        && p[22] == 0x21 && p[31] == 0x29) {
        uint64_t volume = 0, start;
        const uint8_t *q = p + 40;
        unsigned volume_bytes = 1;
        if (*q == 0x30) { /* an index has none */
            volume_bytes = wire_short_varint(q + 1, &volume, way);
            q += 1 + volume_bytes;
        }
        const unsigned n = wire_short_varint(q + 1, &start, way);
        if (volume_bytes && *q == 0x38 && n && q + 1 + n == end) {
            const upstox_bar_t bar = {
                wire_load_double(p + 5), wire_load_double(p + 14), wire_load_double(p + 23),
                wire_load_double(p + 32), (int64_t)volume, (int64_t)start,
            };
            upstox_put_bar(m, p + 2, 2, &bar);
            return 1;
        }
    }
    return upstox_any_bar(m, p, end, depth);
}

WIRE_INLINE int upstox_ohlc(
    upstox_message_t *m, const uint8_t *p, const uint8_t *end, int depth, const int way)
{
    wire_field_t f;
    m->said |= UPSTOX_SAID_OHLC;
    while (p < end) {
        p = wire_next_small(p, end, depth, &f, way);
        if (!p || (f.tag == 0x0A && !upstox_bar(m, f.data, f.data + f.size, depth - 1, way)))
            return 0;
    }
    return 1;
}

#endif
