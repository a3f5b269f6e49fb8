/* Layer 2, feed process, hot: Upstox's binary frames (one FeedResponse each) to khft_tick_t.
 *
 * Two passes. The first walks the fields of the frame: it finds type and time, which may stand
 * behind the entries they belong to, and notes for each known instrument where its entry lies. Of
 * two entries with the same key the later one stands, as in protobuf's maps. The second pass
 * makes the ticks, in the order of the entries, and may pause between two of them.
 *
 * exch_ns is currentTs, the time at which the server made the frame, as Kite's exchange time is
 * that of the packet; the last trade's own time is last_trade_s.
 *
 * A snapshot (type initial_feed, which is 0 and so absent) first forgets what was known of its
 * instruments, and so does a new connection (upstox_reset).
 *
 * malformed_message: the bytes are no FeedResponse, by the rules of protobuf's own parser. Counted
 * once a frame; entries before the fault stand, those behind it are not looked at. One difference:
 * an entry that holds an unknown field beside key and value is taken, where upb throws it away.
 * received = decoded + unknown_instrument + malformed_price_range + malformed_not_finite, always:
 * an entry that says nothing of a TICK is none of these.
 */
#ifndef KHFT_UPSTOX_FRAME_H
#define KHFT_UPSTOX_FRAME_H

#include "upstox_scan.h"

/* ---- the second pass: one entry ----------------------------------------------------------------- */

/* The message of an entry, with a look for the usual shape, for which the end of a frame is
 * copied; 0: its bytes are none. */
WIRE_INLINE int upstox_read(
    upstox_decoder_t *d, const uint8_t *frame, size_t size, const upstox_entry_t *entry,
    upstox_message_t *m, const int way)
{
    const uint8_t *p = frame + entry->start, *end = frame + entry->end;
    const size_t bytes = entry->end - entry->start;
    if (__builtin_expect(size - entry->end < WIRE_SLACK || entry->whole, 0)) {
        if (entry->whole || bytes > UPSTOX_TAIL_BYTES)
            return upstox_read_plain(frame, entry, m);
        memcpy(d->tail, p, bytes);
        p = d->tail;
        end = p + bytes;
    }
    upstox_clear(m);
    return upstox_feed(m, p, end, WIRE_DEPTH_MAX - 2, way);
}

WIRE_INLINE void upstox_copy(khft_tick_t *to, const khft_tick_t *from)
{
    for (size_t at = 0; at < sizeof *to; at += sizeof(upstox_pair_t)) {
        upstox_pair_t part;
        memcpy(&part, (const char *)from + at, sizeof part);
        memcpy((char *)to + at, &part, sizeof part);
    }
}

/* One entry into its row. What becomes of it: a tick stands in the row, there is none, or the
 * frame ends here. */
enum { UPSTOX_NO_TICK = 0, UPSTOX_TICK = 1, UPSTOX_FAULT = -1 };

WIRE_INLINE int upstox_entry(
    upstox_decoder_t *d, const uint8_t *frame, size_t size, const upstox_entry_t *entry, int64_t recv_ns,
    const int way)
{
    upstox_message_t message;
    upstox_row_t *const row = &d->rows[entry->row];
    if (!upstox_read(d, frame, size, entry, &message, way))
        return UPSTOX_FAULT;
    if (d->type == UPSTOX_TYPE_SNAPSHOT)
        upstox_forget(row);
    const uint32_t said = upstox_said(&message);
    if (said) {
        const int found = upstox_merge(&message, row, said, &d->saturated);
        d->counts[FEED_RECEIVED]++;
        if (__builtin_expect(found > UPSTOX_OFF_GRID, 0)) {
            d->counts[found == UPSTOX_NOT_FINITE ? FEED_MALFORMED_NOT_FINITE
                                                 : FEED_MALFORMED_PRICE_RANGE]++;
            return UPSTOX_NO_TICK;
        }
        khft_tick_t *const t = &row->tick;
        t->recv_ns = recv_ns;
        t->exch_ns = d->exch_ns;
        t->connection = d->connection;
        t->flags |= d->exch_ns ? TICK_FLAG_EXCHANGE_TIME : 0;
        d->counts[FEED_DECODED]++;
        d->counts[FEED_OFF_GRID] += found == UPSTOX_OFF_GRID;
        d->counts[FEED_CARRIED] += !!(t->flags & TICK_FLAG_CARRIED);
        d->counts[FEED_CHECKSUM_DECODED] += khft_tick_checksum(row->token, t->last_px, t->volume);
    }
    d->counts[FEED_AUX_DROPPED] += upstox_put_aux(&d->aux, &message, row->slot, recv_ns);
    return said ? UPSTOX_TICK : UPSTOX_NO_TICK;
}

/* Asks early for the row that the entry `ahead` of this one is merged into. */
WIRE_INLINE void upstox_fetch(const upstox_decoder_t *d, uint32_t ahead)
{
    if (d->next + ahead >= d->n_entries || d->entries[d->next + ahead].row == UPSTOX_NO_ROW)
        return;
    const char *const row = (const char *)&d->rows[d->entries[d->next + ahead].row];
    for (size_t line = 0; line < sizeof(upstox_row_t); line += 64)
        __builtin_prefetch(row + line, 1);
}

/* Whether the next entry has to wait until ticks or AUX records were taken away. */
WIRE_INLINE int upstox_is_full(const upstox_decoder_t *d, int n, int capacity)
{
    return n >= capacity || (d->aux.records && d->aux.room - d->aux.n < UPSTOX_AUX_MAX);
}

/* Whether a frame has to wait until AUX records were taken away: what it says of the markets comes at once. */
WIRE_INLINE int upstox_is_short(const upstox_decoder_t *d)
{
    return d->aux.records && d->aux.room - d->aux.n < UPSTOX_AUX_ROOM_MIN;
}

/* A tick is copied to `out` one entry later than it is made: a copy by 16 bytes right behind the
 * narrower stores would wait for them. */
WIRE_INLINE int upstox_decode_as(
    upstox_decoder_t *d, const uint8_t *frame, size_t size, int64_t recv_ns,
    khft_tick_t *out, int capacity, size_t *cursor, const int way)
{
    const khft_tick_t *made = NULL;
    int n = 0;
    if (*cursor == 0) {
        if (upstox_is_short(d))
            return 0;
        upstox_begin(d, frame, size, recv_ns);
    }
    *cursor = size;
    for (; d->next < d->n_entries; d->next++) {
        const upstox_entry_t *const entry = &d->entries[d->next];
        if (entry->row == UPSTOX_NO_ROW)
            continue;
        if (upstox_is_full(d, n, capacity)) {
            *cursor = entry->start; /* never 0: a tag stands before it */
            break;
        }
        upstox_fetch(d, 2);
        const int became = upstox_entry(d, frame, size, entry, recv_ns, way);
        if (made)
            upstox_copy(out + n - 1, made);
        made = became == UPSTOX_TICK ? &d->rows[entry->row].tick : NULL;
        n += became == UPSTOX_TICK;
        if (became == UPSTOX_FAULT) {
            d->fault = 1;
            d->n_entries = d->next;
        }
    }
    if (made)
        upstox_copy(out + n - 1, made);
    if (*cursor == size) {
        d->counts[FEED_MALFORMED_MESSAGE] += (uint64_t)d->fault;
        d->next = d->n_entries = 0;
    }
    return n;
}

WIRE_TARGET static int upstox_decode_gather(
    upstox_decoder_t *d, const uint8_t *frame, size_t size, int64_t recv_ns,
    khft_tick_t *out, int capacity, size_t *cursor)
{
    return upstox_decode_as(d, frame, size, recv_ns, out, capacity, cursor, WIRE_QUICK_GATHER);
}

/* Decodes from *cursor on (0: a new frame), at most `capacity` (>= 1) ticks into `out`; returns
 * how many. The frame is finished when *cursor == size. Pauses also where the AUX records get
 * short of room (of UPSTOX_AUX_ROOM_MIN at least), before the frame too: the caller empties them. Entries of `out` from
 * the returned number on hold nothing of meaning. Reads frame[0, size) only, never raises. */
static int upstox_decode(
    upstox_decoder_t *d, const uint8_t *frame, size_t size, int64_t recv_ns,
    khft_tick_t *out, int capacity, size_t *cursor)
{
    if (d->gather)
        return upstox_decode_gather(d, frame, size, recv_ns, out, capacity, cursor);
    return upstox_decode_as(d, frame, size, recv_ns, out, capacity, cursor, WIRE_QUICK);
}

#endif
