/* Layer 2, compute, hot: Kalman filters (kalman.h) and OHLC bars, one tick at a time, as plain C.
 *
 * Slow twins, bit for bit: tests/reference/kalman.py and bars.py.
 * A tick touches the two cache lines of its slot's state; the sums behind the longer bars are
 * touched only when a one-second bar closes. No allocation, no clock, no failure path.
 */
#ifndef KHFT_KERNELS_H
#define KHFT_KERNELS_H

#include "checksum.h"
#include "kalman.h"
#include "khft_layout.h"

#include <math.h>
#include <string.h>

#define KERNEL_LONG_PERIODS 3
#define KERNEL_PERIODS (1 + KERNEL_LONG_PERIODS)
#define KERNEL_SECOND_NS INT64_C(1000000000)

/* One list gives both the C struct and the numpy dtype: X(C type, numpy code, name). */
#define KERNEL_STATE_FIELDS(X)                                                                  \
    X(double, "<f8", estimate)      /* 1-state filter */                                        \
    X(double, "<f8", variance)                                                                  \
    X(double, "<f8", price2)        /* 2-state filter: state, then the upper triangle of P */   \
    X(double, "<f8", velocity2)                                                                 \
    X(double, "<f8", p00)                                                                       \
    X(double, "<f8", p01)                                                                       \
    X(double, "<f8", p11)                                                                       \
    X(int64_t, "<i8", recv_ns)      /* of the last tick, for dt in seconds */                   \
    X(int64_t, "<i8", floor_ns)     /* start of the open second; older ticks are late */        \
    X(int64_t, "<i8", bar_volume)   /* of the open second */                                    \
    X(int64_t, "<i8", day_volume)   /* highest so far; until one has counted: the baseline */   \
    X(int32_t, "<i4", open_px)                                                                  \
    X(int32_t, "<i4", high_px)                                                                  \
    X(int32_t, "<i4", low_px)                                                                   \
    X(int32_t, "<i4", close_px)                                                                 \
    X(uint32_t, "<u4", bar_ticks)                                                               \
    X(uint32_t, "<u4", tick_no)     /* filtered since the last reset */                         \
    X(uint32_t, "<u4", flags)       /* KERNEL_* below */                                        \
    X(uint32_t, "<u4", token)       /* for the checksum */                                      \
    X(double, "<f8", scale)         /* price units per currency unit */

#define KERNEL_PARAMS_FIELDS(X)                                                                 \
    X(double, "<f8", q)             /* process noise, per tick or per second */                 \
    X(double, "<f8", r)             /* measurement noise */                                     \
    X(double, "<f8", p0)            /* initial variance */                                      \
    X(double, "<f8", x0)            /* initial estimate; NaN: the first tick's price */         \
    X(double, "<f8", q2)            /* 2-state: both diagonal elements of Q */                  \
    X(double, "<f8", r2)                                                                        \
    X(double, "<f8", p02)           /* both diagonal elements of P */                           \
    X(double, "<f8", x02)

/* A long bar being added up from the closed bars of the next shorter period. */
#define KERNEL_SUM_FIELDS(X)                                                                    \
    X(int64_t, "<i8", start_ns)                                                                 \
    X(int64_t, "<i8", volume)                                                                   \
    X(int32_t, "<i4", open_px)                                                                  \
    X(int32_t, "<i4", high_px)                                                                  \
    X(int32_t, "<i4", low_px)                                                                   \
    X(int32_t, "<i4", close_px)                                                                 \
    X(uint32_t, "<u4", ticks)                                                                   \
    X(uint32_t, "<u4", is_open)

#define KERNEL_WINDOW_FIELDS(X)                                                                 \
    X(int64_t, "<i8", open_ns)      /* session: open_ns <= t < close_ns, since the epoch */     \
    X(int64_t, "<i8", close_ns)

#define KERNEL_MEMBER(ctype, code, name) ctype name;
#define KERNEL_DESCRIBE(ctype, code, name) #name ":" code ","

typedef struct { KERNEL_STATE_FIELDS(KERNEL_MEMBER) } kernel_state_t;
typedef struct { KERNEL_PARAMS_FIELDS(KERNEL_MEMBER) } kernel_params_t;
typedef struct { KERNEL_SUM_FIELDS(KERNEL_MEMBER) } kernel_sum_t;
typedef struct { KERNEL_WINDOW_FIELDS(KERNEL_MEMBER) } kernel_window_t;

_Static_assert(sizeof(kernel_state_t) == 128, "state: two cache lines");
_Static_assert(sizeof(kernel_params_t) == 64, "parameters: one cache line");
_Static_assert(offsetof(khft_tick_t, open_px) == 64, "tick: the kernels read its first line only");
_Static_assert(sizeof(kernel_sum_t) == 40, "sum of a long bar");

static const char KERNEL_STATE_DESCR[] = KERNEL_STATE_FIELDS(KERNEL_DESCRIBE);
static const char KERNEL_PARAMS_DESCR[] = KERNEL_PARAMS_FIELDS(KERNEL_DESCRIBE);
static const char KERNEL_SUM_DESCR[] = KERNEL_SUM_FIELDS(KERNEL_DESCRIBE);
static const char KERNEL_WINDOW_DESCR[] = KERNEL_WINDOW_FIELDS(KERNEL_DESCRIBE);

enum {
    KERNEL_BAR_OPEN = 1,
    KERNEL_BASELINE = 2,  /* a day volume has been seen */
    KERNEL_NO_VOLUME = 4, /* this instrument's messages carry no day volume: all of them count */
    KERNEL_FLOOR = 8,     /* floor_ns is meant */
    KERNEL_COUNTED = 16,  /* a message has counted by its day volume: the baseline is of this day */
};

/* BAR.flags */
enum {
    KERNEL_BAR_BY_TIME = 1, /* closed by close_through() or flush(), not by a tick */
    KERNEL_BAR_CUT = 2,     /* closed before its end */
};

typedef struct {
    kernel_state_t *state;         /* [n_slots] */
    kernel_sum_t *sums;            /* [KERNEL_LONG_PERIODS][n_slots] */
    const kernel_params_t *params; /* stride 0: one for all slots; 1: one each */
    const kernel_window_t *windows;
    size_t params_stride;
    size_t windows_stride;
    size_t n_slots;
    int64_t period_ns[KERNEL_PERIODS];
    int64_t epoch_offset_ns; /* added to recv_ns where a message carries no exchange time */
    uint32_t dt_seconds;
    uint32_t emit_mask; /* bit i: bars of period i are written out */
    /* Outcome, running totals. */
    uint64_t checksum;
    uint64_t late;
    uint64_t unknown_slot;
    uint64_t no_price;
} kernels_t;

/* Where closed bars go during one call. */
typedef struct {
    khft_bar_t *bars;
    size_t n;
    int64_t recv_ns;
    uint32_t mask;
    uint32_t flags;
} kernel_out_t;

static inline const kernel_params_t *kernel_params(const kernels_t *k, size_t slot)
{
    return k->params + slot * k->params_stride;
}

static inline const kernel_window_t *kernel_window(const kernels_t *k, size_t slot)
{
    return k->windows + slot * k->windows_stride;
}

/* ---- Kalman filters ---------------------------------------------------------------------- */

static inline void kernel_filters_start(kernel_state_t *s, const kernel_params_t *p, double z)
{
    s->estimate = isnan(p->x0) ? z : p->x0;
    s->variance = p->p0;
    s->price2 = isnan(p->x02) ? z : p->x02;
    s->velocity2 = 0.0;
    s->p00 = p->p02;
    s->p01 = 0.0;
    s->p11 = p->p02;
}

static inline void kernel_filters(const kernels_t *k, kernel_state_t *s, const kernel_params_t *p,
                                  const khft_tick_t *tick, khft_kernel_row_t *row)
{
    double z = (double)tick->last_px / s->scale;
    double dt = 1.0;
    double q2 = p->q2;
    if (s->tick_no == 0)
        kernel_filters_start(s, p, z);
    if (k->dt_seconds) {
        /* Two ticks of one socket read carry one recv_ns, and a second ring may be behind:
         * no time has passed then, so only the measurement is taken in. */
        int64_t passed = s->tick_no == 0 ? 0 : tick->recv_ns - s->recv_ns;
        dt = passed > 0 ? (double)passed / 1e9 : 0.0;
        q2 = q2 * dt;
        if (passed > 0 || s->tick_no == 0)
            s->recv_ns = tick->recv_ns;
    }
    kalman1_update(&s->estimate, &s->variance, p->q, p->r, z);
    kalman2_update(&s->price2, &s->velocity2, &s->p00, &s->p01, &s->p11, q2, p->r2, dt, z);
    s->tick_no += 1;
    row->estimate = s->estimate;
    row->estimate2 = s->price2;
    row->velocity2 = s->velocity2;
    row->rel_diff = (s->estimate - z) / z;
    row->tick_no = s->tick_no;
}

/* ---- bars -------------------------------------------------------------------------------- */

static inline void kernel_emit(const kernels_t *k, kernel_out_t *out, uint32_t slot, int period,
                               const kernel_sum_t *bar, int64_t t)
{
    int64_t end = bar->start_ns + k->period_ns[period];
    if (!(k->emit_mask >> period & 1))
        return;
    khft_bar_t *to = &out->bars[out->n++];
    to->seq = 0; /* stamped by the ring it may be published to */
    to->start_ns = bar->start_ns;
    to->volume = bar->volume;
    to->closed_recv_ns = out->recv_ns;
    to->slot = slot;
    to->period_s = (uint32_t)(k->period_ns[period] / KERNEL_SECOND_NS);
    to->open_px = bar->open_px;
    to->high_px = bar->high_px;
    to->low_px = bar->low_px;
    to->close_px = bar->close_px;
    to->ticks = bar->ticks;
    to->flags = out->flags | (t < end ? KERNEL_BAR_CUT : 0);
    out->mask |= 1u << period;
}

/* A closed bar goes into the next longer one. Long bars are counted from the session's open. */
static inline void kernel_fold(const kernels_t *k, uint32_t slot, int period, int64_t open_ns,
                               const kernel_sum_t *bar)
{
    kernel_sum_t *sum = &k->sums[(size_t)(period - 1) * k->n_slots + slot];
    if (!sum->is_open) {
        int64_t since = bar->start_ns - open_ns;
        *sum = *bar;
        sum->start_ns = bar->start_ns - since % k->period_ns[period];
        sum->is_open = 1;
        return;
    }
    sum->volume += bar->volume;
    sum->high_px = bar->high_px > sum->high_px ? bar->high_px : sum->high_px;
    sum->low_px = bar->low_px < sum->low_px ? bar->low_px : sum->low_px;
    sum->close_px = bar->close_px;
    sum->ticks += bar->ticks;
}

/* Close every bar of the slot that ends at or before t, shortest first; `all`: also the others. */
static inline void kernel_advance(const kernels_t *k, uint32_t slot, int64_t t, int all,
                                  kernel_out_t *out)
{
    kernel_state_t *s = &k->state[slot];
    int64_t open_ns = kernel_window(k, slot)->open_ns;
    if (s->flags & KERNEL_BAR_OPEN && (all || t >= s->floor_ns + KERNEL_SECOND_NS)) {
        kernel_sum_t second = {s->floor_ns, s->bar_volume, s->open_px, s->high_px,
                               s->low_px,   s->close_px,   s->bar_ticks, 0};
        kernel_emit(k, out, slot, 0, &second, t);
        kernel_fold(k, slot, 1, open_ns, &second);
        s->flags &= ~(uint32_t)KERNEL_BAR_OPEN;
        s->floor_ns += KERNEL_SECOND_NS;
    }
    for (int period = 1; period < KERNEL_PERIODS; period++) {
        kernel_sum_t *sum = &k->sums[(size_t)(period - 1) * k->n_slots + slot];
        if (!sum->is_open)
            continue;
        if (!all && t < sum->start_ns + k->period_ns[period])
            break; /* longer bars end no earlier */
        kernel_emit(k, out, slot, period, sum, t);
        if (period + 1 < KERNEL_PERIODS)
            kernel_fold(k, slot, period + 1, open_ns, sum);
        sum->is_open = 0;
    }
}

/* What a message outside the session does: before it, its day volume becomes the baseline
 * (the pre-open auction is no bar), unless one of the session has counted; after it, it closes
 * what is open. */
static inline void kernel_out_of_session(const kernels_t *k, const khft_tick_t *tick, int64_t t,
                                         int has_volume, const kernel_window_t *w, kernel_out_t *out)
{
    kernel_state_t *s = &k->state[tick->slot];
    if (t >= w->close_ns) {
        kernel_advance(k, tick->slot, w->close_ns, 1, out);
    } else if (has_volume && !(s->flags & KERNEL_COUNTED)) {
        s->day_volume = tick->volume;
        s->flags |= KERNEL_BASELINE;
    }
}

static inline void kernel_bars(kernels_t *k, kernel_state_t *s, const khft_tick_t *tick, int64_t t,
                               khft_kernel_row_t *row, kernel_out_t *out)
{
    int has_volume = (tick->flags & TICK_FLAG_TRADE) && !(s->flags & KERNEL_NO_VOLUME);
    int64_t delta = 0;
    int same_second = s->flags & KERNEL_BAR_OPEN && t >= s->floor_ns
                      && t < s->floor_ns + KERNEL_SECOND_NS;
    if (!same_second) { /* sessions begin and end on whole seconds */
        const kernel_window_t *w = kernel_window(k, tick->slot);
        if (t < w->open_ns || t >= w->close_ns) {
            kernel_out_of_session(k, tick, t, has_volume, w, out);
            return;
        }
    }
    if (has_volume && !(s->flags & KERNEL_BASELINE)) {
        s->day_volume = tick->volume;
        s->flags |= KERNEL_BASELINE;
        return;
    }
    if (s->flags & KERNEL_FLOOR && t < s->floor_ns) {
        row->late = 1;
        k->late += 1;
        return;
    }
    if (has_volume) {
        if (tick->volume <= s->day_volume) {
            /* Nothing has exceeded the baseline yet: it may be the volume of the day before. */
            if (!(s->flags & KERNEL_COUNTED))
                s->day_volume = tick->volume;
            return;
        }
        delta = tick->volume - s->day_volume;
        s->day_volume = tick->volume;
        s->flags |= KERNEL_COUNTED;
    }
    if (same_second) {
        s->high_px = tick->last_px > s->high_px ? tick->last_px : s->high_px;
        s->low_px = tick->last_px < s->low_px ? tick->last_px : s->low_px;
        s->close_px = tick->last_px;
        s->bar_volume += delta;
        s->bar_ticks += 1;
        return;
    }
    kernel_advance(k, tick->slot, t, 0, out);
    s->floor_ns = t - t % KERNEL_SECOND_NS;
    s->open_px = s->high_px = s->low_px = s->close_px = tick->last_px;
    s->bar_volume = delta;
    s->bar_ticks = 1;
    s->flags |= KERNEL_BAR_OPEN | KERNEL_FLOOR;
}

/* ---- batches ----------------------------------------------------------------------------- */

static inline void kernel_blank_row(khft_kernel_row_t *row)
{
    memset(row, 0, sizeof *row);
    row->estimate = row->estimate2 = row->velocity2 = row->rel_diff = NAN;
}

/* The tick number i; only its first cache line is read, so that compact rows do as well. */
static inline const khft_tick_t *kernel_tick(const void *ticks, size_t stride, size_t i)
{
    return (const khft_tick_t *)((const char *)ticks + i * stride);
}

static inline __attribute__((always_inline)) size_t kernel_batch(kernels_t *k, const void *ticks,
                                                                 size_t stride, size_t n, int filters,
                                                                 khft_kernel_row_t *rows, khft_bar_t *bars)
{
    enum { AHEAD = 8 };
    kernel_out_t out = {bars, 0, 0, 0, 0};
    uint64_t sum = 0;
    kernel_state_t *const state = k->state; /* what is stored below may alias *k */
    const size_t n_slots = k->n_slots;
    for (size_t i = 0; i < n; i++) {
        const khft_tick_t *tick = kernel_tick(ticks, stride, i);
        khft_kernel_row_t *row = &rows[i];
        if (i + AHEAD < n && kernel_tick(ticks, stride, i + AHEAD)->slot < n_slots) {
            const char *next = (const char *)&state[kernel_tick(ticks, stride, i + AHEAD)->slot];
            if (filters)
                __builtin_prefetch(next, 1);
            __builtin_prefetch(next + 64, 1);
        }
        if (tick->slot >= n_slots) {
            k->unknown_slot += 1;
            kernel_blank_row(row);
            continue;
        }
        kernel_state_t *s = &state[tick->slot];
        sum += khft_tick_checksum(s->token, tick->last_px, tick->volume);
        if (tick->last_px <= 0) { /* never traded: nothing to filter, no bar */
            k->no_price += 1;
            kernel_blank_row(row);
            continue;
        }
        out.recv_ns = tick->recv_ns;
        out.mask = 0;
        int64_t t = tick->exch_ns ? tick->exch_ns : tick->recv_ns + k->epoch_offset_ns;
        row->bar_index = (uint32_t)out.n;
        row->late = 0;
        row->time_ns = t;
        row->reserved = 0;
        if (filters) {
            kernel_filters(k, s, kernel_params(k, tick->slot), tick, row);
        } else {
            row->estimate = row->estimate2 = row->velocity2 = row->rel_diff = NAN;
            row->tick_no = s->tick_no += 1;
        }
        kernel_bars(k, s, tick, t, row, &out);
        row->closed_mask = out.mask;
    }
    k->checksum += sum;
    return out.n;
}

/* ticks: TICK records, or their first 64 bytes only: `stride` bytes apart. `bars` must hold
 * KERNEL_PERIODS records per tick; returns how many were written. */
KALMAN_WIDE static size_t kernels_run(kernels_t *k, const void *ticks, size_t stride, size_t n,
                                      khft_kernel_row_t *rows, khft_bar_t *bars)
{
    return kernel_batch(k, ticks, stride, n, 1, rows, bars);
}

/* The same without the filters: estimates are NaN, ticks are counted. */
KALMAN_WIDE static size_t kernels_run_bars(kernels_t *k, const void *ticks, size_t stride, size_t n,
                                           khft_kernel_row_t *rows, khft_bar_t *bars)
{
    return kernel_batch(k, ticks, stride, n, 0, rows, bars);
}

/* By time: close what has ended by now_ns and call older ticks late from here on. `bars` must
 * hold KERNEL_PERIODS records per slot. */
static size_t kernels_close_through(kernels_t *k, int64_t now_ns, int all, int64_t recv_ns,
                                    khft_bar_t *bars)
{
    kernel_out_t out = {bars, 0, recv_ns, 0, KERNEL_BAR_BY_TIME};
    int64_t floor_ns = now_ns - now_ns % KERNEL_SECOND_NS;
    for (size_t slot = 0; slot < k->n_slots; slot++) {
        kernel_state_t *s = &k->state[slot];
        kernel_advance(k, (uint32_t)slot, now_ns, all, &out);
        if (!(s->flags & KERNEL_BAR_OPEN) && (!(s->flags & KERNEL_FLOOR) || floor_ns > s->floor_ns)) {
            s->floor_ns = floor_ns;
            s->flags |= KERNEL_FLOOR;
        }
    }
    return out.n;
}

#endif
