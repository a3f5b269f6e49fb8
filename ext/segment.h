/* Layer 1, every process, cold: the checks that every structure makes before it trusts a mapping.
 *
 * kite_hft.memory.segment makes the full checks (CRC, owner, build, control words) and is the only
 * way in for the engine. These few protect the process itself: with them no later access can leave
 * the mapping, whatever the control words say.
 */
#ifndef KHFT_SEGMENT_H
#define KHFT_SEGMENT_H

#include "atomics.h"
#include "crash.h"
#include "khft_layout.h"

#define SEGMENT_PAYLOAD (2 * KHFT_PAGE)

enum segment_fault {
    SEGMENT_OK = 0,
    SEGMENT_TOO_SMALL = -1,
    SEGMENT_BAD_MAGIC = -2,
    SEGMENT_WRONG_VERSION = -3,
    SEGMENT_WRONG_LAYOUT = -4,
    SEGMENT_WRONG_KIND = -5,
    SEGMENT_WRONG_RECORD = -6,
    SEGMENT_BAD_CAPACITY = -7,
    SEGMENT_MISALIGNED = -8,
    SEGMENT_CLOSED = -9,
    SEGMENT_INSIDE_BATCH = -10,
};

KHFT_INLINE uint32_t segment_record_size(uint32_t kind) {
    switch (kind) {
    case SEGMENT_KIND_TICK_RING: return sizeof(khft_tick_t);
    case SEGMENT_KIND_AUX_RING: return sizeof(khft_aux_t);
    case SEGMENT_KIND_BAR_RING: return sizeof(khft_bar_t);
    case SEGMENT_KIND_INTENT_QUEUE: return sizeof(khft_intent_t);
    case SEGMENT_KIND_EVENT_QUEUE: return sizeof(khft_order_event_t);
    case SEGMENT_KIND_TEXT_QUEUE: return sizeof(khft_text_t);
    case SEGMENT_KIND_LATEST_TABLE: return sizeof(khft_tick_t);
    case SEGMENT_KIND_COUNTERS: return sizeof(uint64_t);
    case SEGMENT_KIND_FRAME_RING: return sizeof(khft_frame_t);
    case SEGMENT_KIND_INPUT_RING: return sizeof(khft_input_t);
    case SEGMENT_KIND_SLOT_STATS: return sizeof(khft_slot_stats_t);
    default: return 0;
    }
}

#define SEGMENT_KIND_BIT(kind) (UINT32_C(1) << (kind))
#define SEGMENT_RINGS (SEGMENT_KIND_BIT(SEGMENT_KIND_TICK_RING) | SEGMENT_KIND_BIT(SEGMENT_KIND_AUX_RING) | \
                       SEGMENT_KIND_BIT(SEGMENT_KIND_BAR_RING) | \
                       SEGMENT_KIND_BIT(SEGMENT_KIND_FRAME_RING) | SEGMENT_KIND_BIT(SEGMENT_KIND_INPUT_RING))
#define SEGMENT_QUEUES (SEGMENT_KIND_BIT(SEGMENT_KIND_INTENT_QUEUE) | \
                        SEGMENT_KIND_BIT(SEGMENT_KIND_EVENT_QUEUE) | SEGMENT_KIND_BIT(SEGMENT_KIND_TEXT_QUEUE))
#define SEGMENT_TABLES SEGMENT_KIND_BIT(SEGMENT_KIND_LATEST_TABLE)
#define SEGMENT_ROWS SEGMENT_KIND_BIT(SEGMENT_KIND_SLOT_STATS)
#define SEGMENT_COUNTER_SETS SEGMENT_KIND_BIT(SEGMENT_KIND_COUNTERS)

/* Bytes from one record to the next: a table row has a line of its own for its mark. */
KHFT_INLINE uint64_t segment_stride(uint32_t kind, uint32_t record_size) {
    return kind == SEGMENT_KIND_LATEST_TABLE ? record_size + 64u : record_size;
}

/* `kinds` is a set of SEGMENT_KIND_BITs. */
static inline int segment_check(const void *base, size_t size, uint32_t kinds) {
    const khft_header_t *header = (const khft_header_t *)base;
    if ((uintptr_t)base % 64) return SEGMENT_MISALIGNED;
    if (size < SEGMENT_PAYLOAD) return SEGMENT_TOO_SMALL;
    if (memcmp(header->magic, "KHFTSEG1", 8) != 0) return SEGMENT_BAD_MAGIC;
    if (header->format_version != KHFT_FORMAT_VERSION) return SEGMENT_WRONG_VERSION;
    if (header->layout_fingerprint != KHFT_LAYOUT_FINGERPRINT) return SEGMENT_WRONG_LAYOUT;
    if (header->kind >= 32 || !(kinds & SEGMENT_KIND_BIT(header->kind))) return SEGMENT_WRONG_KIND;
    if (header->record_size != segment_record_size(header->kind)) return SEGMENT_WRONG_RECORD;
    if (header->capacity == 0 || header->capacity > (UINT64_C(1) << 40)) return SEGMENT_BAD_CAPACITY;
    if ((kinds & (SEGMENT_RINGS | SEGMENT_QUEUES)) &&
        (header->capacity < 2 || (header->capacity & (header->capacity - 1))))
        return SEGMENT_BAD_CAPACITY;
    uint64_t bytes = header->capacity * segment_stride(header->kind, header->record_size);
    bytes = (bytes + 63) / 64 * 64;
    if (header->kind == SEGMENT_KIND_COUNTERS)
        bytes += (uint64_t)header->histograms * KHFT_HISTOGRAM_BUCKETS * sizeof(uint64_t);
    return bytes > size - SEGMENT_PAYLOAD ? SEGMENT_TOO_SMALL : SEGMENT_OK;
}

static inline const char *segment_fault_text(int fault) {
    switch (fault) {
    case SEGMENT_TOO_SMALL: return "the buffer is smaller than its header says";
    case SEGMENT_BAD_MAGIC: return "the buffer does not start with a segment header";
    case SEGMENT_WRONG_VERSION: return "the segment has another format version";
    case SEGMENT_WRONG_LAYOUT: return "the segment was laid out by another version of kite_hft";
    case SEGMENT_WRONG_KIND: return "the segment holds something else (its kind does not fit this class)";
    case SEGMENT_WRONG_RECORD: return "the segment's record size does not fit its kind";
    case SEGMENT_BAD_CAPACITY: return "the segment's capacity is not usable (rings and queues: a power of two)";
    case SEGMENT_MISALIGNED: return "the buffer does not start on a cache line";
    case SEGMENT_CLOSED: return "this generation of the ring is closed: create the next one";
    case SEGMENT_INSIDE_BATCH: return "the ring's last writer died inside a batch: create the next generation";
    default: return "the segment is good";
    }
}

#endif
