/* C twin of the bars on TICK records, for bench_bars.py. Built with -march=native.
 *
 * Same rules as ours, and the same bytes come out: the first day volume of an instrument is a
 * baseline, later messages count where it grows; older than the open second is late; 1 s bars are
 * touched per tick, the longer ones folded from closed shorter ones. The session is the whole time.
 */
#include "khft_layout.h"

#include <string.h>

enum { LONG = 3 };
static const int64_t second = INT64_C(1000000000);
static const int64_t period_s[1 + LONG] = {1, 60, 300, 900};

typedef struct {
    int64_t start_ns, volume;
    int32_t open_px, high_px, low_px, close_px;
    uint32_t ticks, is_open;
} sum_t;

typedef struct {
    int64_t start_ns, volume, day_volume;
    int32_t open_px, high_px, low_px, close_px;
    uint32_t ticks, is_open, has_baseline, unused[3];
} bar_t; /* one cache line */

typedef struct {
    khft_bar_t *bars;
    size_t n;
} out_t;

static void emit(out_t *out, uint32_t slot, int period, const sum_t *bar, int64_t recv_ns, int64_t t)
{
    khft_bar_t *to = &out->bars[out->n++];
    to->seq = 0;
    to->start_ns = bar->start_ns;
    to->volume = bar->volume;
    to->closed_recv_ns = recv_ns;
    to->slot = slot;
    to->period_s = (uint32_t)period_s[period];
    to->open_px = bar->open_px;
    to->high_px = bar->high_px;
    to->low_px = bar->low_px;
    to->close_px = bar->close_px;
    to->ticks = bar->ticks;
    to->flags = t < bar->start_ns + period_s[period] * second ? 2 : 0;
}

static void fold(sum_t *into, int period, const sum_t *bar)
{
    if (!into->is_open) {
        *into = *bar;
        into->start_ns -= bar->start_ns % (period_s[period] * second);
        into->is_open = 1;
        return;
    }
    into->volume += bar->volume;
    if (bar->high_px > into->high_px)
        into->high_px = bar->high_px;
    if (bar->low_px < into->low_px)
        into->low_px = bar->low_px;
    into->close_px = bar->close_px;
    into->ticks += bar->ticks;
}

static void close_until(bar_t *b, sum_t *sums, uint32_t slot, int64_t t, int64_t recv_ns, out_t *out)
{
    if (b->is_open && t >= b->start_ns + second) {
        sum_t closed = {b->start_ns, b->volume, b->open_px, b->high_px, b->low_px, b->close_px, b->ticks, 0};
        emit(out, slot, 0, &closed, recv_ns, t);
        fold(&sums[0], 1, &closed);
        b->is_open = 0;
    }
    for (int i = 0; i < LONG; i++) {
        if (!sums[i].is_open)
            continue;
        if (t < sums[i].start_ns + period_s[i + 1] * second)
            break;
        emit(out, slot, i + 1, &sums[i], recv_ns, t);
        if (i + 1 < LONG)
            fold(&sums[i + 1], i + 2, &sums[i]);
        sums[i].is_open = 0;
    }
}

/* A batch of n ticks; sums: [slots][3]; bars holds 4 n records. Returns how many bars closed. */
size_t bars_run(const khft_tick_t *ticks, size_t n, bar_t *state, sum_t (*sums)[LONG], uint64_t *late,
                khft_bar_t *bars)
{
    out_t out = {bars, 0};
    for (size_t i = 0; i < n; i++) {
        const khft_tick_t *tick = &ticks[i];
        bar_t *b = &state[tick->slot];
        int64_t t = tick->exch_ns, traded;
        if (i + 8 < n)
            __builtin_prefetch(&state[ticks[i + 8].slot], 1);
        if (tick->last_px <= 0)
            continue;
        if (!b->has_baseline) {
            b->has_baseline = 1;
            b->day_volume = tick->volume;
            continue;
        }
        if (t < b->start_ns) {
            *late += 1;
            continue;
        }
        traded = tick->volume - b->day_volume;
        if (traded <= 0)
            continue;
        b->day_volume = tick->volume;
        if (b->is_open && t < b->start_ns + second) {
            if (tick->last_px > b->high_px)
                b->high_px = tick->last_px;
            if (tick->last_px < b->low_px)
                b->low_px = tick->last_px;
            b->close_px = tick->last_px;
            b->volume += traded;
            b->ticks += 1;
            continue;
        }
        close_until(b, sums[tick->slot], tick->slot, t, tick->recv_ns, &out);
        b->start_ns = t - t % second;
        b->open_px = b->high_px = b->low_px = b->close_px = tick->last_px;
        b->volume = traded;
        b->ticks = 1;
        b->is_open = 1;
    }
    return out.n;
}
