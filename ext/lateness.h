/* Layer 3, feed process, hot: how late one connection brings its ticks, told by their exchange times.
 *
 * Whoever reads a backlog, or has a broker who lags, gets everything late, so the newest exchange time of
 * the last second or two counts. An old stamp alone tells nothing: the first tick of an instrument here says
 * when it last changed, and so may one that is told again. Later than before the connection is only where a
 * tick shows it that the exchange has just made: stamped later than the one before it of its instrument.
 *
 * All in differences of two clocks (time of receipt, CLOCK_MONOTONIC, less exchange time since the epoch):
 * no clock is read here. */
#ifndef KHFT_LATENESS_H
#define KHFT_LATENESS_H

#include "khft_layout.h"

#define LATENESS_WINDOW_NS INT64_C(1000000000)
#define LATENESS_ON_TIME_NS INT64_C(1500000000) /* no more than that beyond its best: needs no closer look */
#define LATENESS_NONE INT64_C(0x4000000000000000)

typedef struct {
    int64_t behind_ns;  /* receipt less newest exchange time; 0: not known */
    int64_t shown_ns;   /* when a tick or the newest exchange time showed that last */
    int64_t least_ns;   /* the least `behind_ns` of this connection */
    int64_t newest_ns;  /* newest exchange time since window_ns */
    int64_t before_ns;  /* and in the window before that one */
    int64_t window_ns;
} lateness_t;

/* A connection of which nothing is known. */
static inline void lateness_begin(lateness_t *late)
{
    *late = (lateness_t){.least_ns = LATENESS_NONE};
}

/* Whether a tick has the stamp of something that has just happened. rows: SLOT_STATS before these ticks. */
static inline int lateness_shown(const khft_tick_t *ticks, int n, const khft_slot_stats_t *rows)
{
    for (int i = 0; i < n; i++) {
        const int64_t known_ns = rows[ticks[i].slot].last_exch_ns;
        if (known_ns && ticks[i].exch_ns > known_ns && !(ticks[i].flags & TICK_FLAG_FRESH)) return 1;
    }
    return 0;
}

/* A batch of at least one tick, with its newest exchange time (0: it has none). */
static inline void lateness_see(lateness_t *late, const khft_tick_t *ticks, int n, int64_t newest_ns,
                                const khft_slot_stats_t *rows)
{
    const int64_t recv_ns = ticks[n - 1].recv_ns;
    if (recv_ns - late->window_ns >= LATENESS_WINDOW_NS) { /* what was stamped with the future is forgotten */
        late->before_ns = late->newest_ns;
        late->newest_ns = 0;
        late->window_ns = recv_ns;
    }
    if (newest_ns > late->newest_ns) late->newest_ns = newest_ns;
    newest_ns = late->newest_ns > late->before_ns ? late->newest_ns : late->before_ns;
    const int64_t behind_ns = recv_ns - newest_ns;
    const int on_time = late->least_ns != LATENESS_NONE && behind_ns - late->least_ns <= LATENESS_ON_TIME_NS;
    if (newest_ns && (on_time || lateness_shown(ticks, n, rows))) {
        late->behind_ns = behind_ns;
        late->shown_ns = recv_ns;
        if (behind_ns < late->least_ns) late->least_ns = behind_ns;
    } else if (recv_ns - late->shown_ns > 2 * LATENESS_WINDOW_NS) {
        late->behind_ns = 0; /* it was so a while ago */
    }
}

#endif
