/* Layer 2, feed process, hot where asked for: what a Feed message says beside the TICK, and the
 * state of the markets, as AUX records (layout.AuxKind tells their values).
 *
 * GREEKS   when optionGreeks holds something or iv is not 0; Greeks that are absent or empty: NaN
 * DEPTH    levels 6 to 30, three a record; a level that the message lacks: NaN
 * AUCTION  when any of its numbers is not 0, the indicative price of LTPC is present, or the share
 *          is eligible; indicative and reference prices that are absent or 0: NaN, but for the
 *          indicative price of LTPC, which can say 0. It goes before that of MarketFullFeed
 * BAR      each of the bars 1d and I1 that is there
 * MARKET   each entry of marketInfo whose segment is in UPSTOX_SEGMENTS; values: status, phase
 *          (1 of the day, 2 closing auction, 3 pre-open), updated at (epoch ms, NaN for phase 1)
 * Prices are rupees as on the wire, not judged; what is not finite is told as NaN.
 */
#ifndef KHFT_UPSTOX_AUX_H
#define KHFT_UPSTOX_AUX_H

#include <math.h>

#include "aux_out.h"
#include "upstox_feed.h"

enum {
    UPSTOX_AUX_LEVELS = 3, /* in one DEPTH record */
    /* Most that one message makes: GREEKS, AUCTION, two BARs, and DEPTH for 25 levels. */
    UPSTOX_AUX_MAX = 4 + (UPSTOX_LEVELS_MAX - UPSTOX_LEVELS + UPSTOX_AUX_LEVELS - 1) / UPSTOX_AUX_LEVELS,
};

/* `part` of a MARKET record: the place of its segment here. */
enum { UPSTOX_SEGMENTS_N = 11, UPSTOX_PHASES = 3 };
static const char *const UPSTOX_SEGMENTS[UPSTOX_SEGMENTS_N] = {
    "NSE_EQ", "NSE_FO", "NSE_INDEX", "NSE_COM", "NCD_FO", "BSE_EQ",
    "BSE_FO", "BSE_INDEX", "BCD_FO", "MCX_FO", "MCX_INDEX",
};

/* Statuses that come as words: `status` of their MARKET records; -1: another word. */
enum { UPSTOX_WORDS_N = 7 };
static const char *const UPSTOX_WORDS[UPSTOX_WORDS_N] = {
    "CTS_CLOSE", "CAS_LM_START", "CAS_M_STOP", "CAS_STOP",
    "PRE_OPEN_START", "PRE_OPEN_M_END", "PRE_OPEN_END",
};

WIRE_INLINE double upstox_finite(double value)
{
    return value * 0.0 == 0.0 ? value : NAN;
}

/* A new record with all values absent, or NULL: the kind is not wanted. */
WIRE_INLINE khft_aux_t *upstox_record(
    aux_out_t *out, uint32_t slot, uint16_t kind, uint16_t part, int64_t recv_ns)
{
    if (!(out->kinds >> kind & 1))
        return NULL;
    khft_aux_t *const record = &out->records[out->n++];
    record->seq = 0;
    record->recv_ns = recv_ns;
    record->slot = slot;
    record->kind = kind;
    record->part = part;
    for (size_t i = 0; i < sizeof record->values / sizeof *record->values; i++)
        record->values[i] = NAN;
    return record;
}

/* Whether any of the five is not 0: their bits without the sign, for speed. */
WIRE_INLINE int upstox_has_greeks(const upstox_message_t *m)
{
    uint64_t bits[5];
    memcpy(bits, &m->greeks, sizeof bits);
    return m->said & UPSTOX_SAID_GREEKS && (bits[0] | bits[1] | bits[2] | bits[3] | bits[4]) << 1;
}

WIRE_INLINE int upstox_has_auction(const upstox_message_t *m)
{
    const upstox_auction_t *a = &m->auction;
    return m->said & UPSTOX_SAID_AUCTION
           && (m->said & UPSTOX_SAID_IEP || a->iep != 0 || a->reference != 0 || a->quantity || a->imbalance
               || a->imbalance_market || a->eligible);
}

WIRE_INLINE uint32_t upstox_deep_parts(const upstox_message_t *m)
{
    const uint32_t deep = m->levels > UPSTOX_LEVELS ? m->levels - UPSTOX_LEVELS : 0;
    return (deep + UPSTOX_AUX_LEVELS - 1) / UPSTOX_AUX_LEVELS;
}

/* How many records of the kinds that are wanted the message is worth. */
WIRE_INLINE uint32_t upstox_aux_count(uint32_t kinds, const upstox_message_t *m)
{
    uint32_t n = 0;
    if (kinds >> AUX_KIND_GREEKS & 1)
        n += upstox_has_greeks(m) || m->iv != 0;
    if (kinds >> AUX_KIND_AUCTION & 1)
        n += !!upstox_has_auction(m);
    if (kinds >> AUX_KIND_BAR & 1)
        n += !!(m->said & UPSTOX_SAID_DAY) + !!(m->said & UPSTOX_SAID_MINUTE);
    if (kinds >> AUX_KIND_DEPTH & 1)
        n += upstox_deep_parts(m);
    return n;
}

WIRE_INLINE void upstox_put_greeks(aux_out_t *out, const upstox_message_t *m, uint32_t slot, int64_t recv_ns)
{
    const int has = upstox_has_greeks(m);
    if (!has && m->iv == 0)
        return;
    khft_aux_t *const record = upstox_record(out, slot, AUX_KIND_GREEKS, 0, recv_ns);
    if (!record)
        return;
    if (has) {
        record->values[0] = upstox_finite(m->greeks.delta);
        record->values[1] = upstox_finite(m->greeks.theta);
        record->values[2] = upstox_finite(m->greeks.gamma);
        record->values[3] = upstox_finite(m->greeks.vega);
        record->values[4] = upstox_finite(m->greeks.rho);
    }
    if (m->iv != 0)
        record->values[5] = upstox_finite(m->iv);
    if (m->oi != 0)
        record->values[6] = upstox_finite(m->oi);
}

WIRE_INLINE void upstox_put_deep(aux_out_t *out, const upstox_message_t *m, uint32_t slot, int64_t recv_ns)
{
    const uint32_t parts = upstox_deep_parts(m);
    for (uint32_t part = 0; part < parts; part++) {
        khft_aux_t *const record = upstox_record(out, slot, AUX_KIND_DEPTH, (uint16_t)part, recv_ns);
        for (uint32_t i = 0; record && i < UPSTOX_AUX_LEVELS; i++) {
            const uint32_t at = part * UPSTOX_AUX_LEVELS + i;
            if (at + UPSTOX_LEVELS >= m->levels)
                break;
            record->values[4 * i] = (double)m->deep[at].bid_qty;
            record->values[4 * i + 1] = upstox_finite(m->deep[at].bid);
            record->values[4 * i + 2] = (double)m->deep[at].ask_qty;
            record->values[4 * i + 3] = upstox_finite(m->deep[at].ask);
        }
    }
}

WIRE_INLINE void upstox_put_auction(aux_out_t *out, const upstox_message_t *m, uint32_t slot, int64_t recv_ns)
{
    const upstox_auction_t *a = &m->auction;
    if (!upstox_has_auction(m))
        return;
    khft_aux_t *const record = upstox_record(out, slot, AUX_KIND_AUCTION, 0, recv_ns);
    if (!record)
        return;
    if (m->said & UPSTOX_SAID_IEP)
        record->values[0] = upstox_finite(a->wrapped_iep);
    else if (a->iep != 0)
        record->values[0] = upstox_finite(a->iep);
    if (a->reference != 0)
        record->values[1] = upstox_finite(a->reference);
    record->values[2] = (double)a->quantity;
    record->values[3] = (double)a->imbalance;
    record->values[4] = (double)a->imbalance_market;
    record->values[5] = a->eligible ? 1.0 : 0.0;
}

WIRE_INLINE void upstox_put_bars(aux_out_t *out, const upstox_message_t *m, uint32_t slot, int64_t recv_ns)
{
    for (uint16_t part = 0; part < 2; part++) {
        const upstox_bar_t *bar = &m->bars[part];
        if (!(m->said & (part ? UPSTOX_SAID_MINUTE : UPSTOX_SAID_DAY)))
            continue;
        khft_aux_t *const record = upstox_record(out, slot, AUX_KIND_BAR, part, recv_ns);
        if (!record)
            return;
        record->values[0] = upstox_finite(bar->open);
        record->values[1] = upstox_finite(bar->high);
        record->values[2] = upstox_finite(bar->low);
        record->values[3] = upstox_finite(bar->close);
        record->values[4] = (double)bar->volume;
        record->values[5] = (double)bar->start_ms;
    }
}

/* All records of one message; the caller keeps room for UPSTOX_AUX_MAX. Returns how many are wanted
 * and dropped, because there is nowhere to put them. */
WIRE_INLINE uint32_t upstox_put_aux(
    aux_out_t *out, const upstox_message_t *m, uint32_t slot, int64_t recv_ns)
{
    if (!out->records)
        return upstox_aux_count(out->kinds, m);
    upstox_put_greeks(out, m, slot, recv_ns);
    upstox_put_deep(out, m, slot, recv_ns);
    upstox_put_auction(out, m, slot, recv_ns);
    upstox_put_bars(out, m, slot, recv_ns);
    return 0;
}

/* ---- the state of the markets ------------------------------------------------------------------- */

typedef struct {
    int64_t status, updated_ms;
    uint8_t here; /* said by the frame being read */
    uint8_t known;
} upstox_market_t;

typedef struct {
    upstox_market_t of[UPSTOX_PHASES][UPSTOX_SEGMENTS_N];
} upstox_markets_t;

WIRE_RARE int upstox_word(const char *const *words, int n, const uint8_t *text, size_t size)
{
    for (int i = 0; i < n; i++)
        if (strlen(words[i]) == size && memcmp(words[i], text, size) == 0)
            return i;
    return -1;
}

/* StatusInfo, merged into `market`; 0: the bytes are none. */
WIRE_RARE int upstox_status_info(upstox_market_t *market, const uint8_t *p, const uint8_t *end, int depth)
{
    wire_field_t f;
    while (p < end) {
        p = wire_next(p, end, depth, &f);
        if (!p || (f.tag == 0x0A && !wire_is_text(f.data, f.size)))
            return 0;
        if (f.tag == 0x0A)
            market->status = upstox_word(UPSTOX_WORDS, UPSTOX_WORDS_N, f.data, f.size);
        else if (f.tag == 0x10)
            market->updated_ms = (int64_t)f.number;
    }
    return 1;
}

/* One entry of one of the three maps: key 1; value 2, an enum for the day and a StatusInfo else. */
WIRE_RARE int upstox_market_entry(
    upstox_markets_t *markets, int phase, const uint8_t *p, const uint8_t *end, int depth)
{
    upstox_market_t market = {phase ? -1 : 0, 0, 1, 1}; /* no word is no known word; the enum starts at 0 */
    const uint8_t *key = p;
    size_t key_size = 0;
    wire_field_t f;
    while (p < end) {
        p = wire_next(p, end, depth, &f);
        if (!p || (f.tag == 0x0A && !wire_is_text(f.data, f.size)))
            return 0;
        if (f.tag == 0x0A) {
            key = f.data;
            key_size = f.size;
        } else if (phase == 0 && f.tag == 0x10) {
            market.status = (int32_t)f.number;
        } else if (phase && f.tag == 0x12
                   && !upstox_status_info(&market, f.data, f.data + f.size, depth - 1)) {
            return 0;
        }
    }
    const int segment = upstox_word(UPSTOX_SEGMENTS, UPSTOX_SEGMENTS_N, key, key_size);
    if (segment >= 0)
        markets->of[phase][segment] = market;
    return 1;
}

/* MarketInfo; 0: the bytes are none (what came before the fault stands). */
WIRE_RARE int upstox_market_info(upstox_markets_t *markets, const uint8_t *p, const uint8_t *end, int depth)
{
    wire_field_t f;
    while (p < end) {
        p = wire_next(p, end, depth, &f);
        if (!p)
            return 0;
        const int phase = f.tag == 0x0A ? 0 : f.tag == 0x12 ? 1 : f.tag == 0x1A ? 2 : -1;
        if (phase >= 0 && !upstox_market_entry(markets, phase, f.data, f.data + f.size, depth - 1))
            return 0;
    }
    return 1;
}

/* Records of what the frame said of the markets; the caller keeps room for all of them. Returns
 * how many are wanted and dropped, because there is nowhere to put them. */
WIRE_RARE uint32_t upstox_put_markets(aux_out_t *out, upstox_markets_t *markets, int64_t recv_ns)
{
    uint32_t dropped = 0;
    for (int phase = 0; phase < UPSTOX_PHASES; phase++)
        for (int segment = 0; segment < UPSTOX_SEGMENTS_N; segment++) {
            upstox_market_t *const market = &markets->of[phase][segment];
            if (!market->here)
                continue;
            market->here = 0;
            if (!out->records) {
                dropped += out->kinds >> AUX_KIND_MARKET & 1;
                continue;
            }
            khft_aux_t *const record =
                upstox_record(out, KHFT_NO_SLOT, AUX_KIND_MARKET, (uint16_t)segment, recv_ns);
            if (!record)
                continue;
            record->values[0] = (double)market->status;
            record->values[1] = phase + 1;
            if (phase)
                record->values[2] = (double)market->updated_ms;
        }
    return dropped;
}

#endif
