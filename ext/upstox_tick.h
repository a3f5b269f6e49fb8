/* Layer 2, feed process, hot: what one Feed message means as a TICK.
 *
 * Prices come in rupees as doubles and leave as int32 counts of the instrument's unit. One that is
 * off the unit by more than 1e-6 (and what a double of its size cannot tell), negative or above
 * 2^31 - 1 refuses the message (malformed_price_range); NaN or infinity does (malformed_not_finite).
 * The average price is rounded to the unit and not judged by it. An index, which nobody trades, may
 * have more decimals (India VIX has four at its exchange): its prices are rounded, and it is counted as
 * off the grid. Quantities are whole numbers:
 * negative ones refuse the message (malformed_price_range), those above 2^32 - 1 are told as
 * 2^32 - 1 and counted in `saturated`; total quantities and open interest, doubles on the wire,
 * are rounded half up.
 *
 * A message is partial: a group that it leaves out stands as before, and the tick says CARRIED.
 *   price  last_px, close_px, last_qty, last_trade_s: said when any of them is not 0
 *   TRADE  said when there is depth or any of volume, average, totals is not 0; a volume or an
 *          average of 0 does not replace another one: they cannot fall to 0 within a day
 *   OHLC   said by the bar 1d; a marketOHLC without any bar empties it
 *   DEPTH  said by marketLevel or firstDepth; without levels it empties it
 *   OI     said when it is not 0; oi_day_high and oi_day_low are not in this feed: 0
 * A message that says none of these makes no tick: so an empty placeholder in a snapshot is no
 * price of 0. Without volume (mode ltpc, indices) TRADE is not set, and last_qty is told all the
 * same; close_px is told with every price, also without OHLC.
 */
#ifndef KHFT_UPSTOX_TICK_H
#define KHFT_UPSTOX_TICK_H

#include "aux_out.h"
#include "checksum.h"
#include "upstox_feed.h"

/* ---- rows: an instrument and what is known of it ------------------------------------------------ */

/* Beside the TICK flags in `groups`: the price group. */
#define UPSTOX_GROUP_PRICE 0x8000u

typedef struct {
    khft_tick_t tick; /* as told last; holds something when `branch` is not UPSTOX_NONE */
    double scale;     /* units per rupee */
    double step, inverse_step; /* tick size in units, and its inverse */
    uint32_t slot, token;
    uint16_t groups;       /* that `tick` holds */
    uint16_t index_flag;
    uint8_t branch; /* of the message that `tick` came from */
    uint8_t reserved[27];
} upstox_row_t;

_Static_assert(sizeof(upstox_row_t) == 256, "a row is four cache lines");

WIRE_INLINE uint8_t upstox_kind(uint32_t branch)
{
    static const uint8_t KINDS[] = {
        [UPSTOX_LTPC] = TICK_KIND_LTP,
        [UPSTOX_MARKET] = TICK_KIND_FULL,
        [UPSTOX_INDEX] = TICK_KIND_INDEX_FULL,
        [UPSTOX_FIRST_LEVEL] = TICK_KIND_QUOTE,
        [UPSTOX_EMPTY_FULL] = 0,
    };
    return KINDS[branch];
}

/* ---- prices ------------------------------------------------------------------------------------- */

typedef int64_t upstox_bits_t __attribute__((vector_size(16)));

/* x + this - this is x rounded to the nearest whole number, and of 0 <= x < 2^31 the sum's bits
 * are those of this, with the whole number as an integer in the lower half: in the default
 * rounding mode. NaN, infinity, and all other x change the upper half, or bit 31. */
#define UPSTOX_ROUNDER 6755399441055744.0 /* 1.5 * 2^52 */
#define UPSTOX_ROUNDER_BITS INT64_C(0x4338000000000000)
#define UPSTOX_OFF_UNIT_MAX 1e-6
#define UPSTOX_DOUBLE_ERROR 0x1p-51 /* of a product of two doubles, relative, with room */

enum { UPSTOX_GOOD = 0, UPSTOX_OFF_GRID = 1, UPSTOX_OUT_OF_RANGE = 2, UPSTOX_NOT_FINITE = 3 };

/* Whether prices that are in range are on the unit: for those so large that a double is not. */
WIRE_RARE int upstox_on_unit(const double *prices, int n, double scale)
{
    for (int i = 0; i < n; i++) {
        const double units = prices[i] * scale;
        const double off = units - (units + UPSTOX_ROUNDER - UPSTOX_ROUNDER);
        const double most = UPSTOX_OFF_UNIT_MAX + units * UPSTOX_DOUBLE_ERROR;
        if (!(off <= most && -off <= most))
            return 0;
    }
    return 1;
}

/* The two that need not be on the tick: close and average. They are rounded: an adjusted close may be off
 * the unit, which is told (`on_unit`), and is no reason to lose the price that came with it. */
WIRE_INLINE int upstox_loose_units(const double *prices, double scale, int32_t *out, int *on_unit)
{
    const double close = prices[UPSTOX_CLOSE] * scale, average = prices[UPSTOX_AVERAGE] * scale;
    const double whole = close + UPSTOX_ROUNDER - UPSTOX_ROUNDER;
    const double rounded = average + UPSTOX_ROUNDER - UPSTOX_ROUNDER;
    const double most = UPSTOX_OFF_UNIT_MAX + close * UPSTOX_DOUBLE_ERROR;
    if (!(whole >= 0.0 && whole <= 2147483647.0 && rounded >= 0.0 && rounded <= 2147483647.0))
        return 0;
    *on_unit = close - whole <= most && whole - close <= most;
    out[UPSTOX_CLOSE] = (int32_t)whole;
    out[UPSTOX_AVERAGE] = (int32_t)rounded;
    return 1;
}

WIRE_RARE int upstox_why_refused(const upstox_message_t *m)
{
    double sum = m->oi * 0.0 + m->total_buy_qty * 0.0 + m->total_sell_qty * 0.0;
    for (int i = 0; i < UPSTOX_PRICES; i++)
        sum += m->prices[i] * 0.0; /* NaN of whatever is not finite */
    for (int i = 0; m->said & UPSTOX_SAID_DEPTH && i < UPSTOX_BOOK; i++)
        sum += m->book[i] * 0.0;
    return sum == 0.0 ? UPSTOX_OUT_OF_RANGE : UPSTOX_NOT_FINITE;
}

/* What the prices so far were. */
typedef struct {
    upstox_bits_t wrong;   /* bits that no price in range sets */
    upstox_bits_t on_unit; /* all ones: yes */
    upstox_bits_t on_grid;
} upstox_judged_t;

/* `n` prices (an even number) to units. */
WIRE_INLINE void upstox_convert(
    const double *prices, int n, const upstox_row_t *row, int32_t *out, upstox_judged_t *judged)
{
    for (int i = 0; i < n; i += 2) {
        upstox_pair_t price;
        memcpy(&price, prices + i, sizeof price);
        const upstox_pair_t units = price * row->scale;
        const upstox_pair_t sum = units + UPSTOX_ROUNDER;
        const upstox_pair_t whole = sum - UPSTOX_ROUNDER;
        const upstox_pair_t off = (upstox_pair_t)((upstox_bits_t)(units - whole) & INT64_MAX);
        const upstox_pair_t steps = whole * row->inverse_step + UPSTOX_ROUNDER - UPSTOX_ROUNDER;
        const upstox_bits_t bits = (upstox_bits_t)sum ^ UPSTOX_ROUNDER_BITS;
        judged->wrong |= bits;
        judged->on_unit &= off <= UPSTOX_OFF_UNIT_MAX;
        judged->on_grid &= steps * row->step == whole;
        for (int lane = 0; lane < 2; lane++)
            out[i + lane] = (int32_t)bits[lane];
    }
}

typedef struct {
    int32_t prices[UPSTOX_PRICES], book[UPSTOX_BOOK];
} upstox_units_t;

/* All prices to units; those that the message leaves out are 0 and pass. */
WIRE_INLINE int upstox_units(const upstox_message_t *m, const upstox_row_t *row, upstox_units_t *out)
{
    upstox_judged_t judged = {{0, 0}, {-1, -1}, {-1, -1}};
    int on_unit = 1;
    upstox_convert(m->prices, UPSTOX_CLOSE, row, out->prices, &judged);
    if (m->said & UPSTOX_SAID_DEPTH)
        upstox_convert(m->book, UPSTOX_BOOK, row, out->book, &judged);
    const upstox_bits_t w = judged.wrong, u = judged.on_unit, g = judged.on_grid;
    if ((w[0] | w[1]) >> 31 || !upstox_loose_units(m->prices, row->scale, out->prices, &on_unit))
        return UPSTOX_OUT_OF_RANGE;
    if (__builtin_expect(!(u[0] & u[1]), 0)
        && !(upstox_on_unit(m->prices, UPSTOX_CLOSE, row->scale)
             && (!(m->said & UPSTOX_SAID_DEPTH) || upstox_on_unit(m->book, UPSTOX_BOOK, row->scale)))) {
        if (!row->index_flag)
            return UPSTOX_OUT_OF_RANGE;
        on_unit = 0;
    }
    return g[0] & g[1] && on_unit ? UPSTOX_GOOD : UPSTOX_OFF_GRID;
}

/* ---- quantities --------------------------------------------------------------------------------- */

WIRE_INLINE uint32_t upstox_saturated(int64_t qty, uint64_t *saturated)
{
    if (__builtin_expect(qty <= (int64_t)UINT32_MAX, 1))
        return (uint32_t)qty;
    (*saturated)++;
    return UINT32_MAX;
}

WIRE_INLINE uint32_t upstox_rounded(double qty, uint64_t *saturated)
{
    if (__builtin_expect(qty < 4294967295.5, 1))
        return (uint32_t)(int64_t)(qty + 0.5);
    (*saturated)++;
    return UINT32_MAX;
}

WIRE_INLINE int upstox_quantities_good(const upstox_message_t *m)
{
    int64_t all = m->last_qty | m->volume;
    for (int i = 0; m->said & UPSTOX_SAID_DEPTH && i < UPSTOX_BOOK; i++)
        all |= m->book_qty[i];
    const double least = 0.0, most = 1.7976931348623157e308;
    return all >= 0 && m->oi >= least && m->oi <= most && m->total_buy_qty >= least
           && m->total_buy_qty <= most && m->total_sell_qty >= least && m->total_sell_qty <= most;
}

/* ---- groups ------------------------------------------------------------------------------------- */

/* What the message says of the groups; OHLC also where it empties it. */
WIRE_INLINE uint32_t upstox_said(const upstox_message_t *m)
{
    const double *p = m->prices;
    uint32_t said = 0;
    if (p[UPSTOX_LAST] != 0 || p[UPSTOX_CLOSE] != 0 || m->last_trade_ms || m->last_qty)
        said |= UPSTOX_GROUP_PRICE;
    if (m->said & UPSTOX_SAID_DEPTH)
        said |= TICK_FLAG_DEPTH | TICK_FLAG_TRADE;
    else if (m->volume || p[UPSTOX_AVERAGE] != 0 || m->total_buy_qty != 0 || m->total_sell_qty != 0)
        said |= TICK_FLAG_TRADE;
    if (m->said & UPSTOX_SAID_DAY || (m->said & (UPSTOX_SAID_OHLC | UPSTOX_SAID_BAR)) == UPSTOX_SAID_OHLC)
        said |= TICK_FLAG_OHLC;
    if (m->oi != 0)
        said |= TICK_FLAG_OI;
    return said;
}

WIRE_INLINE void upstox_put_depth(
    khft_tick_t *t, const upstox_message_t *m, const int32_t *units, uint64_t *saturated)
{
    const int32_t *const asks = units + UPSTOX_LEVELS;
    const int64_t *const ask_qty = m->book_qty + UPSTOX_LEVELS;
    int64_t all = 0;
    t->bid_px = units[0];
    t->ask_px = asks[0];
    memcpy(t->bid_px_deep, units + 1, sizeof t->bid_px_deep);
    memcpy(t->ask_px_deep, asks + 1, sizeof t->ask_px_deep);
    for (int i = 0; i < UPSTOX_LEVELS; i++) {
        all |= m->book_qty[i] | ask_qty[i];
        t->bid_qty[i] = (uint32_t)m->book_qty[i];
        t->ask_qty[i] = (uint32_t)ask_qty[i];
    }
    for (int i = 0; all > (int64_t)UINT32_MAX && i < UPSTOX_LEVELS; i++) {
        t->bid_qty[i] = upstox_saturated(m->book_qty[i], saturated);
        t->ask_qty[i] = upstox_saturated(ask_qty[i], saturated);
    }
}

/* The said groups into the row's tick; the result tells whether a volume or an average was left
 * out of a TRADE that is said. */
WIRE_INLINE int upstox_put_groups(
    khft_tick_t *t, const upstox_message_t *m, uint32_t said, const upstox_units_t *units, uint64_t *saturated)
{
    int kept = 0;
    if (said & UPSTOX_GROUP_PRICE) {
        const uint64_t seconds = (uint64_t)m->last_trade_ms / 1000;
        t->last_px = units->prices[UPSTOX_LAST];
        t->close_px = units->prices[UPSTOX_CLOSE];
        t->last_qty = upstox_saturated(m->last_qty, saturated);
        t->last_trade_s = m->last_trade_ms > 0 && seconds <= UINT32_MAX ? (uint32_t)seconds : 0;
    }
    if (said & TICK_FLAG_TRADE) {
        const int32_t average_px = units->prices[UPSTOX_AVERAGE];
        kept = (!m->volume && t->volume) || (!average_px && t->average_px);
        t->volume = m->volume ? m->volume : t->volume;
        t->average_px = average_px ? average_px : t->average_px;
        t->total_buy_qty = upstox_rounded(m->total_buy_qty, saturated);
        t->total_sell_qty = upstox_rounded(m->total_sell_qty, saturated);
    }
    if (said & TICK_FLAG_OHLC) {
        t->open_px = units->prices[UPSTOX_OPEN];
        t->high_px = units->prices[UPSTOX_HIGH];
        t->low_px = units->prices[UPSTOX_LOW];
    }
    if (m->said & UPSTOX_SAID_DEPTH)
        upstox_put_depth(t, m, units->book, saturated);
    if (said & TICK_FLAG_OI)
        t->oi = upstox_rounded(m->oi, saturated);
    return kept;
}

/* A row that knows nothing: its next message starts from zeros. */
WIRE_INLINE void upstox_forget(upstox_row_t *row)
{
    row->branch = UPSTOX_NONE;
    row->groups = 0;
}

/* Judges and merges a message into its row; UPSTOX_GOOD or UPSTOX_OFF_GRID: row->tick is the tick,
 * but for times and connection. Otherwise the row is as before. */
WIRE_INLINE int upstox_merge(
    const upstox_message_t *m, upstox_row_t *row, uint32_t said, uint64_t *saturated)
{
    upstox_units_t units = {.book = {0}};
    khft_tick_t *const t = &row->tick;
    const int found = upstox_units(m, row, &units);
    if (__builtin_expect(found > UPSTOX_OFF_GRID || !upstox_quantities_good(m), 0))
        return upstox_why_refused(m);
    if (row->branch != m->branch) { /* another mode: what the former one told gets old unseen */
        upstox_zero(t, sizeof *t);
        t->slot = row->slot;
        t->kind = upstox_kind(m->branch);
        row->branch = (uint8_t)m->branch;
        row->groups = 0;
    }
    uint32_t carried = row->groups & ~said;
    carried |= (uint32_t)upstox_put_groups(t, m, said, &units, saturated);
    row->groups = (uint16_t)(row->groups | said);
    if (said & TICK_FLAG_OHLC && !(m->said & UPSTOX_SAID_DAY))
        row->groups &= (uint16_t)~TICK_FLAG_OHLC;
    t->flags = (uint16_t)((row->groups & ~UPSTOX_GROUP_PRICE) | row->index_flag);
    t->flags |= t->last_trade_s ? TICK_FLAG_LAST_TRADE_TIME : 0;
    t->flags |= carried ? TICK_FLAG_CARRIED : 0;
    return found;
}

#endif
