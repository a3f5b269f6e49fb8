/* Layer 3, feed process, hot: what a feed knows of each instrument (SLOT_STATS): plain words, each
 * whole, together no snapshot. */
#ifndef KHFT_SLOTS_H
#define KHFT_SLOTS_H

#include "khft_layout.h"

/* One tick into the row of its slot. */
static inline void slot_know(khft_slot_stats_t *row, const khft_tick_t *tick)
{
    const int64_t silent_ns = tick->recv_ns - row->last_recv_ns;
    if (tick->flags & TICK_FLAG_FRESH)
        row->fresh = row->mode != 0;
    else if (silent_ns > row->longest_silence_ns)
        row->longest_silence_ns = silent_ns;
    row->ticks += 1;
    row->last_recv_ns = tick->recv_ns;
    if (tick->exch_ns)
        row->last_exch_ns = tick->exch_ns;
}

/* The first tick of a slot after a reconnect. */
static inline void slot_end_gap(khft_slot_stats_t *row, const khft_tick_t *tick)
{
    if (row->last_recv_ns) {
        row->gaps += 1;
        row->gap_ns += tick->recv_ns - row->last_recv_ns;
    }
}

/* A slot is subscribed in `mode` from now on, 0: no longer; whether that began or ended it. */
static inline int slot_set_mode(khft_slot_stats_t *row, uint32_t connection, int mode, int64_t now_ns)
{
    const int turned = (mode == 0) != (row->mode == 0);
    row->connection = (uint16_t)connection;
    if (turned) {
        row->fresh = 0;
        row->subscribed_ns = mode ? now_ns : 0;
    }
    row->mode = (uint8_t)mode;
    return turned;
}

#endif
