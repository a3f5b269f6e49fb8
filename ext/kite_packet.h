/* Layer 2, feed process, hot: Kite's binary market-data frames to khft_tick_t. Plain C, so that
 * the same text is compiled into kite_hft._kite_decode and into the sanitizer run of the tests.
 *
 * A frame is  u16 N, then N times (u16 L, L bytes), everything big-endian and unsigned. There is
 * no type byte: the length L is the type, as in the official clients; the segment (token & 0xFF)
 * only says whether the instrument is tradable (segment 9 is not). So a quote of an index token
 * or an index packet of a tradable token is decoded by its length, exactly as pykiteconnect does.
 *
 * Malformed input is counted and skipped, never guessed at:
 *   short_frame     0, 2 or 3 bytes: no room for a packet (1 byte is a heartbeat, not counted)
 *   wrong_count     the frame ends at a packet boundary before N packets were seen
 *   cut_packet      the frame ends inside a packet or inside its length
 *   trailing_bytes  bytes remain after N packets
 *   unknown_length  a whole packet of another length: skipped
 *   price_range     a price above 2^31 - 1: that packet is dropped
 * The first four end the frame and count once a frame, the others once a packet. What was decoded
 * before stands. received = decoded + unknown_instrument + unknown_length + price_range, always.
 */
#ifndef KHFT_KITE_PACKET_H
#define KHFT_KITE_PACKET_H

#include <stdint.h>
#include <string.h>

#include "checksum.h"
#include "khft_layout.h"
#include "kite_packet_avx512.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "khft records are little-endian"
#endif

enum {
    KITE_LTP_BYTES = 8,
    KITE_INDEX_QUOTE_BYTES = 28,
    KITE_INDEX_FULL_BYTES = 32,
    KITE_QUOTE_BYTES = 44,
    KITE_FULL_BYTES = 184,
    KITE_DEPTH_LEVELS = 5,
    KITE_LEVEL_BYTES = 12,
    KITE_SEGMENT_INDICES = 9,
    KITE_FRAME_BYTES_MIN = 4
};

/* ---- token -> slot: open addressing, linear probing, at most half full ------------------ */

typedef struct {
    uint32_t token;
    uint32_t slot; /* KHFT_NO_SLOT: free */
} kite_entry_t;

typedef struct {
    kite_entry_t *entries; /* 2^(32 - shift) of them */
    uint64_t *counts;      /* indexed by FEED_*, as in the feed's counter segment */
    const kite_shuffle_t *shuffle; /* NULL: the portable path */
    uint32_t shift;
    uint32_t packets_left; /* of the frame being decoded: what the cursor alone cannot say */
    uint8_t connection;
} kite_decoder_t;

/* Fibonacci hashing: the low byte of a token is its segment and says little. */
static inline uint32_t kite_bucket(const kite_decoder_t *d, uint32_t token)
{
    return (token * UINT32_C(2654435769)) >> d->shift;
}

static inline uint32_t kite_find(const kite_decoder_t *d, uint32_t token)
{
    const uint32_t mask = UINT32_MAX >> d->shift;
    uint32_t i = kite_bucket(d, token);
    while (d->entries[i].slot != KHFT_NO_SLOT && d->entries[i].token != token)
        i = (i + 1) & mask;
    return d->entries[i].slot;
}

/* 0, or -1 when the token is there already. The caller leaves room. */
static inline int kite_insert(kite_decoder_t *d, uint32_t token, uint32_t slot)
{
    const uint32_t mask = UINT32_MAX >> d->shift;
    uint32_t i = kite_bucket(d, token);
    while (d->entries[i].slot != KHFT_NO_SLOT) {
        if (d->entries[i].token == token)
            return -1;
        i = (i + 1) & mask;
    }
    d->entries[i].token = token;
    d->entries[i].slot = slot;
    return 0;
}

/* ---- packets --------------------------------------------------------------------------------- */

static inline uint16_t kite_u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap16(v);
}

static inline uint32_t kite_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap32(v);
}

/* Each returns the bitwise or of its prices as read: bit 31 set = one is out of range. */
typedef uint32_t kite_prices_t;

static inline uint16_t kite_index_flag(uint32_t token)
{
    return (token & 0xFF) == KITE_SEGMENT_INDICES ? TICK_FLAG_INDEX : 0;
}

static inline void kite_time(khft_tick_t *t, uint32_t exchange_s)
{
    /* 0 is how an instrument without a time looks on the wire: the group is absent. */
    t->exch_ns = (int64_t)exchange_s * 1000000000;
    t->flags |= exchange_s ? TICK_FLAG_EXCHANGE_TIME : 0;
}

static inline kite_prices_t kite_index(const uint8_t *restrict p, khft_tick_t *restrict t)
{
    /* High, low, open, close: not the order of tradable packets. Bytes 24-27 (price change)
     * are documented by no client alike; consumers compute it. */
    const uint32_t high = kite_u32(p + 8), low = kite_u32(p + 12);
    const uint32_t open = kite_u32(p + 16), close = kite_u32(p + 20);
    t->flags |= TICK_FLAG_OHLC;
    t->high_px = (int32_t)high;
    t->low_px = (int32_t)low;
    t->open_px = (int32_t)open;
    t->close_px = (int32_t)close;
    return high | low | open | close;
}

static inline kite_prices_t kite_quote(const uint8_t *restrict p, khft_tick_t *restrict t)
{
    const uint32_t average = kite_u32(p + 12);
    const uint32_t open = kite_u32(p + 28), high = kite_u32(p + 32);
    const uint32_t low = kite_u32(p + 36), close = kite_u32(p + 40);
    t->flags |= TICK_FLAG_TRADE | TICK_FLAG_OHLC;
    t->last_qty = kite_u32(p + 8);
    t->average_px = (int32_t)average;
    t->volume = kite_u32(p + 16);
    t->total_buy_qty = kite_u32(p + 20);
    t->total_sell_qty = kite_u32(p + 24);
    t->open_px = (int32_t)open;
    t->high_px = (int32_t)high;
    t->low_px = (int32_t)low;
    t->close_px = (int32_t)close;
    return average | open | high | low | close;
}

/* Five levels of 12 bytes: u32 quantity, u32 price, u16 orders, 2 bytes padding. */
static inline kite_prices_t kite_side(
    const uint8_t *restrict p, int32_t *restrict best, int32_t *restrict deep,
    uint32_t *restrict qty, uint16_t *restrict orders)
{
    kite_prices_t seen = 0;
    for (int i = 0; i < KITE_DEPTH_LEVELS; i++) {
        const uint8_t *level = p + i * KITE_LEVEL_BYTES;
        const uint32_t price = kite_u32(level + 4);
        seen |= price;
        if (i == 0)
            *best = (int32_t)price;
        else
            deep[i - 1] = (int32_t)price;
        qty[i] = kite_u32(level);
        orders[i] = kite_u16(level + 8);
    }
    return seen;
}

static inline kite_prices_t kite_full(const uint8_t *restrict p, khft_tick_t *restrict t)
{
    const uint32_t last_trade_s = kite_u32(p + 44);
    kite_prices_t seen = kite_quote(p, t);
    t->flags |= TICK_FLAG_DEPTH | TICK_FLAG_OI;
    t->flags |= last_trade_s ? TICK_FLAG_LAST_TRADE_TIME : 0;
    t->last_trade_s = last_trade_s;
    t->oi = kite_u32(p + 48);
    t->oi_day_high = kite_u32(p + 52);
    t->oi_day_low = kite_u32(p + 56);
    kite_time(t, kite_u32(p + 60));
    seen |= kite_side(p + 64, &t->bid_px, t->bid_px_deep, t->bid_qty, t->bid_orders);
    seen |= kite_side(p + 124, &t->ask_px, t->ask_px_deep, t->ask_qty, t->ask_orders);
    return seen;
}

/* The kind of a packet of `length` bytes, or 0. */
static inline uint8_t kite_kind(size_t length)
{
    switch (length) {
    case KITE_LTP_BYTES: return TICK_KIND_LTP;
    case KITE_INDEX_QUOTE_BYTES: return TICK_KIND_INDEX_QUOTE;
    case KITE_INDEX_FULL_BYTES: return TICK_KIND_INDEX_FULL;
    case KITE_QUOTE_BYTES: return TICK_KIND_QUOTE;
    case KITE_FULL_BYTES: return TICK_KIND_FULL;
    default: return 0;
    }
}

/* Writes the whole record; 1 when it holds, 0 when a price is out of range. */
static inline int kite_packet(
    const kite_decoder_t *d, const uint8_t *restrict p, uint8_t kind, uint32_t token, uint32_t slot,
    int64_t recv_ns, khft_tick_t *restrict t)
{
    const uint32_t last = kite_u32(p + 4);
    kite_prices_t seen = last;
    if (kind != TICK_KIND_FULL) /* a full packet fills every field */
        memset(t, 0, sizeof *t);
    t->seq = 0;
    t->recv_ns = recv_ns;
    t->slot = slot;
    t->flags = kite_index_flag(token);
    t->kind = kind;
    t->connection = d->connection;
    t->last_px = (int32_t)last;
    if (kind == TICK_KIND_FULL) {
        seen |= kite_full(p, t);
    } else if (kind == TICK_KIND_QUOTE) {
        seen |= kite_quote(p, t);
    } else if (kind != TICK_KIND_LTP) {
        seen |= kite_index(p, t);
        if (kind == TICK_KIND_INDEX_FULL)
            kite_time(t, kite_u32(p + 28));
    }
    return !(seen >> 31);
}

/* The same for ltp, quote and full packets by shuffles. */
KITE_WIDE static inline int kite_packet_wide(
    const kite_decoder_t *d, const uint8_t *p, uint8_t kind, size_t length, uint32_t token,
    uint32_t slot, int64_t recv_ns, khft_tick_t *t)
{
    const int bad = kite_shuffle(d->shuffle, p, length, t);
    uint16_t flags = kite_index_flag(token);
    if (kind != TICK_KIND_LTP)
        flags |= TICK_FLAG_TRADE | TICK_FLAG_OHLC;
    if (kind == TICK_KIND_FULL) {
        const uint32_t exchange_s = kite_u32(p + 60);
        flags |= TICK_FLAG_DEPTH | TICK_FLAG_OI;
        flags |= exchange_s ? TICK_FLAG_EXCHANGE_TIME : 0;
        flags |= kite_u32(p + 44) ? TICK_FLAG_LAST_TRADE_TIME : 0;
        t->exch_ns = (int64_t)exchange_s * 1000000000;
    }
    t->recv_ns = recv_ns;
    t->slot = slot;
    t->flags = flags;
    t->kind = kind;
    t->connection = d->connection;
    return !bad;
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* Inlined twice, with `wide` constant: the loop around the packets is the same text. */
static inline __attribute__((always_inline)) int kite_frame(
    kite_decoder_t *d, const uint8_t *frame, size_t size, int64_t recv_ns,
    khft_tick_t *out, int capacity, size_t *cursor, const int wide)
{
    uint64_t *counts = d->counts;
    uint64_t received = 0, unknown = 0, checksum = 0;
    size_t pos = *cursor;
    int n = 0;

    if (pos == 0) {
        if (size < KITE_FRAME_BYTES_MIN) {
            counts[FEED_MALFORMED_SHORT_FRAME] += size != 1;
            *cursor = size;
            return 0;
        }
        d->packets_left = kite_u16(frame);
        pos = 2;
    }
    while (d->packets_left) {
        const size_t left = size - pos;
        if (left == 0) {
            counts[FEED_MALFORMED_WRONG_COUNT]++;
            d->packets_left = 0;
            break;
        }
        if (n >= capacity)
            break;
        const size_t length = left < 2 ? 0 : kite_u16(frame + pos);
        if (2 + length > left) {
            counts[FEED_MALFORMED_CUT_PACKET]++;
            d->packets_left = 0;
            pos = size;
            break;
        }
        const uint8_t *packet = frame + pos + 2;
        const uint8_t kind = kite_kind(length);
        pos += 2 + length;
        d->packets_left--;
        received++;
        if (!kind) {
            counts[FEED_MALFORMED_UNKNOWN_LENGTH]++;
            continue;
        }
        const uint32_t token = kite_u32(packet);
        const uint32_t slot = kite_find(d, token);
        if (slot == KHFT_NO_SLOT) {
            unknown++;
            continue;
        }
        const int good =
            wide && kind != TICK_KIND_INDEX_QUOTE && kind != TICK_KIND_INDEX_FULL
                ? kite_packet_wide(d, packet, kind, length, token, slot, recv_ns, out + n)
                : kite_packet(d, packet, kind, token, slot, recv_ns, out + n);
        if (!good) {
            counts[FEED_MALFORMED_PRICE_RANGE]++;
            continue;
        }
        checksum += khft_tick_checksum(token, out[n].last_px, out[n].volume);
        n++;
    }
    if (!d->packets_left && pos < size) {
        counts[FEED_MALFORMED_TRAILING_BYTES]++;
        pos = size;
    }
    counts[FEED_RECEIVED] += received;
    counts[FEED_DECODED] += (uint64_t)n;
    counts[FEED_UNKNOWN_INSTRUMENT] += unknown;
    counts[FEED_CHECKSUM_DECODED] += checksum;
    *cursor = pos;
    return n;
}

KITE_WIDE static int kite_decode_wide(
    kite_decoder_t *d, const uint8_t *frame, size_t size, int64_t recv_ns,
    khft_tick_t *out, int capacity, size_t *cursor)
{
    return kite_frame(d, frame, size, recv_ns, out, capacity, cursor, 1);
}

/* Decodes from *cursor on (0: a new frame), at most `capacity` (>= 1) ticks into `out`; returns
 * how many. The frame is finished when *cursor == size. Entries of `out` from the returned number
 * on hold nothing of meaning. Reads frame[0, size) only, never raises. */
static int kite_decode(
    kite_decoder_t *d, const uint8_t *frame, size_t size, int64_t recv_ns,
    khft_tick_t *out, int capacity, size_t *cursor)
{
    if (d->shuffle)
        return kite_decode_wide(d, frame, size, recv_ns, out, capacity, cursor);
    return kite_frame(d, frame, size, recv_ns, out, capacity, cursor, 0);
}

#endif
