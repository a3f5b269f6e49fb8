/* Layer 2, feed process, hot: the state of a decoder of Upstox's frames, and its first pass over a
 * frame (upstox_frame.h tells both): type, time, markets, and where the entry of each instrument is.
 */
#ifndef KHFT_UPSTOX_SCAN_H
#define KHFT_UPSTOX_SCAN_H

#include "upstox_aux.h"
#include "upstox_keys.h"
#include "upstox_tick.h"

enum {
    UPSTOX_TYPE_SNAPSHOT = 0,
    UPSTOX_TAIL_BYTES = 4096, /* the last entry of a frame is copied, to have bytes behind it */
    /* Room that AUX records need at least: all markets, then one message. */
    UPSTOX_AUX_ROOM_MIN = UPSTOX_PHASES * UPSTOX_SEGMENTS_N + UPSTOX_AUX_MAX,
};

/* An entry of the map `feeds`: its Feed alone, or (whole) all its fields, key and unknown ones. */
typedef struct {
    uint32_t start, end;
    uint32_t row; /* UPSTOX_NO_ROW: a later entry has its key */
    uint32_t whole;
} upstox_entry_t;

typedef struct {
    upstox_keys_t keys;
    upstox_row_t *rows;
    uint32_t n_rows;
    uint64_t *counts; /* indexed by FEED_*, as in the feed's counter segment */
    aux_out_t aux;
    upstox_markets_t markets;
    uint64_t saturated;
    uint8_t connection;
    uint8_t gather; /* the processor has AVX2 and BMI2, and they are wanted */
    /* Of the frame being decoded: what the cursor alone cannot say. */
    upstox_entry_t *entries; /* 2 * n_rows + 1 of them */
    uint32_t n_entries, next;
    uint32_t frame; /* number of the frame, to tell its marks at keys from older ones */
    int64_t exch_ns;
    int32_t type;
    int fault, has_markets;
    uint8_t tail[UPSTOX_TAIL_BYTES + WIRE_SLACK];
} upstox_decoder_t;

/* A new connection: what was known is old. */
static void upstox_reset(upstox_decoder_t *d)
{
    for (uint32_t i = 0; i < d->n_rows; i++)
        upstox_forget(&d->rows[i]);
}

/* ---- entries whose shape is not the usual one, or that make no tick -------------------------------- */

/* All fields of a map entry; of a Feed that comes in parts, the parts are merged. */
WIRE_RARE int upstox_whole_entry(upstox_message_t *m, const uint8_t *p, const uint8_t *end)
{
    wire_field_t f;
    while (p < end) {
        p = wire_next(p, end, WIRE_DEPTH_MAX - 1, &f);
        if (!p || (f.tag == 0x12
                   && !upstox_feed(m, f.data, f.data + f.size, WIRE_DEPTH_MAX - 2, WIRE_PLAIN)))
            return 0;
    }
    return 1;
}

/* The message of an entry, whatever its shape; 0: its bytes are none. */
WIRE_RARE int upstox_read_plain(const uint8_t *frame, const upstox_entry_t *entry, upstox_message_t *m)
{
    const uint8_t *const p = frame + entry->start, *const end = frame + entry->end;
    upstox_clear(m);
    if (entry->whole)
        return upstox_whole_entry(m, p, end);
    return upstox_feed(m, p, end, WIRE_DEPTH_MAX - 2, WIRE_PLAIN);
}

/* ---- the first pass: the frame -------------------------------------------------------------------- */

/* Entries that later ones replaced leave the list. */
WIRE_RARE void upstox_compact(upstox_decoder_t *d)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < d->n_entries; i++) {
        const upstox_entry_t entry = d->entries[i];
        if (entry.row == UPSTOX_NO_ROW)
            continue;
        d->keys.keys[entry.row].place = kept;
        d->entries[kept++] = entry;
    }
    d->n_entries = kept;
}

/* Whether an entry that makes no tick is a message at all. */
WIRE_RARE int upstox_is_message(const uint8_t *frame, const upstox_entry_t *entry)
{
    upstox_message_t message;
    return upstox_read_plain(frame, entry, &message);
}

/* An entry whose key is not looked up yet. */
typedef struct {
    upstox_entry_t entry;
    const uint8_t *key;
    size_t key_size;
    uint64_t hash;
} upstox_named_t;

/* Entries of the frame that wait for their look-up, so that its memory is asked for early. */
enum { UPSTOX_WAITING_MAX = 16 };
typedef struct {
    upstox_named_t of[UPSTOX_WAITING_MAX];
    int n;
} upstox_waiting_t;

/* An entry of an instrument that nobody asked for; 0: it is malformed. */
WIRE_RARE int upstox_note_unknown(upstox_decoder_t *d, const uint8_t *frame, const upstox_named_t *named)
{
    if (!wire_is_text(named->key, named->key_size) || !upstox_is_message(frame, &named->entry))
        return 0;
    d->counts[FEED_UNKNOWN_INSTRUMENT]++;
    d->counts[FEED_RECEIVED]++;
    return 1;
}

/* The entry that had the key before leaves the list; 0: it is malformed, and the list ends there. */
WIRE_RARE int upstox_replace(upstox_decoder_t *d, const uint8_t *frame, uint32_t place)
{
    if (!upstox_is_message(frame, &d->entries[place])) {
        d->n_entries = place;
        return 0;
    }
    d->entries[place].row = UPSTOX_NO_ROW;
    return 1;
}

/* Lists an entry under its key; 0: it, or the one that it replaces, is malformed. */
WIRE_INLINE int upstox_note(upstox_decoder_t *d, const uint8_t *frame, const upstox_named_t *named)
{
    const uint32_t row = upstox_key_find(&d->keys, named->key, named->key_size, named->hash);
    if (__builtin_expect(row == UPSTOX_NO_ROW, 0))
        return upstox_note_unknown(d, frame, named);
    upstox_key_t *const known = &d->keys.keys[row];
    if (__builtin_expect(known->frame == d->frame, 0) && !upstox_replace(d, frame, known->place))
        return 0;
    if (__builtin_expect(d->n_entries == 2 * d->n_rows + 1, 0)) /* then half of them are replaced ones */
        upstox_compact(d);
    known->frame = d->frame;
    known->place = d->n_entries;
    d->entries[d->n_entries] = named->entry;
    d->entries[d->n_entries++].row = row;
    return 1;
}

/* Lists all that wait, as far as they are good. */
WIRE_INLINE void upstox_note_waiting(upstox_decoder_t *d, const uint8_t *frame, upstox_waiting_t *waiting)
{
    for (int i = 0; i < waiting->n; i++)
        upstox_key_fetch(&d->keys, waiting->of[i].hash);
    for (int i = 0; i < waiting->n && !d->fault; i++)
        d->fault = !upstox_note(d, frame, &waiting->of[i]);
    waiting->n = 0;
}

/* An entry whose fields come in any order and number: of the keys the last one counts. */
WIRE_RARE int upstox_name_any(const uint8_t *frame, const wire_field_t *field, upstox_named_t *named)
{
    const uint8_t *p = field->data, *const end = p + field->size;
    const uint32_t start = (uint32_t)(field->data - frame);
    wire_field_t f;
    named->entry = (upstox_entry_t){start, start + (uint32_t)field->size, UPSTOX_NO_ROW, 1};
    named->key = p;
    named->key_size = 0;
    while (p < end) {
        p = wire_next(p, end, WIRE_DEPTH_MAX - 1, &f);
        if (!p || (f.tag == 0x0A && !wire_is_text(f.data, f.size)))
            return 0;
        if (f.tag == 0x0A) {
            named->key = f.data;
            named->key_size = f.size;
        }
    }
    return 1;
}

/* Finds key and Feed of an entry; 0: it is malformed. As the server writes it: a key of less than
 * 128 bytes, then the Feed. */
WIRE_INLINE int upstox_name(const uint8_t *frame, const wire_field_t *field, upstox_named_t *named)
{
    const uint8_t *p = field->data, *const end = p + field->size;
    if (field->size >= 4 && p[0] == 0x0A && p[1] < 0x80 && (size_t)p[1] + 4 <= field->size) {
        uint32_t bytes;
        named->key = p + 2;
        named->key_size = p[1];
        p = named->key + named->key_size;
        if (p[0] == 0x12 && (p = wire_varint32(p + 1, end, INT32_MAX, &bytes)) && bytes == end - p) {
            named->entry = (upstox_entry_t){(uint32_t)(p - frame), (uint32_t)(end - frame), 0, 0};
            return 1;
        }
    }
    return upstox_name_any(frame, field, named);
}

/* Forgets the marks of the frames before; their number starts anew every 2^32 frames. */
static inline void upstox_new_frame(upstox_decoder_t *d)
{
    if (__builtin_expect(++d->frame == 0, 0)) {
        for (uint32_t i = 0; i < d->n_rows; i++)
            d->keys.keys[i].frame = 0;
        d->frame = 1;
    }
    d->n_entries = d->next = 0;
    d->exch_ns = 0;
    d->type = UPSTOX_TYPE_SNAPSHOT;
    d->fault = d->has_markets = 0;
}

/* Walks the fields of the frame; 0: a fault outside the entries. */
WIRE_INLINE int upstox_scan(
    upstox_decoder_t *d, const uint8_t *frame, size_t size, upstox_waiting_t *waiting)
{
    const uint8_t *p = frame, *const end = frame + size;
    wire_field_t f;
    while (p < end) {
        p = (size_t)(end - p) < WIRE_SLACK ? wire_next(p, end, WIRE_DEPTH_MAX, &f)
                                           : wire_next_part(p, end, WIRE_DEPTH_MAX, &f, WIRE_QUICK);
        if (!p)
            return 0;
        switch (f.tag) {
        case 0x08: d->type = (int32_t)f.number; break;
        case 0x12: {
            upstox_named_t *const named = &waiting->of[waiting->n];
            if (!upstox_name(frame, &f, named))
                return 0;
            named->hash = upstox_key_hash(named->key, named->key_size);
            upstox_bucket_fetch(&d->keys, named->hash);
            if (++waiting->n == UPSTOX_WAITING_MAX)
                upstox_note_waiting(d, frame, waiting);
            break;
        }
        case 0x18: /* one that no int64 of ns can hold is none */
            d->exch_ns = f.number <= INT64_MAX / 1000000 ? (int64_t)f.number * 1000000 : 0;
            break;
        case 0x22:
            d->has_markets = 1;
            if (!upstox_market_info(&d->markets, f.data, f.data + f.size, WIRE_DEPTH_MAX - 1))
                return 0;
            break;
        default: break;
        }
    }
    return 1;
}

WIRE_INLINE void upstox_begin(upstox_decoder_t *d, const uint8_t *frame, size_t size, int64_t recv_ns)
{
    upstox_waiting_t waiting;
    waiting.n = 0;
    upstox_new_frame(d);
    const int whole = size <= INT32_MAX && upstox_scan(d, frame, size, &waiting);
    upstox_note_waiting(d, frame, &waiting);
    d->fault |= !whole;
    if (d->has_markets) {
        d->counts[FEED_MARKET_INFOS]++;
        d->counts[FEED_AUX_DROPPED] += upstox_put_markets(&d->aux, &d->markets, recv_ns);
    }
}

#endif
