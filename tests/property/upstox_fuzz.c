/* Random bytes and spoiled frames through ext/upstox_frame.h under AddressSanitizer and UBSan: frame
 * and output are allocated to the byte, so that one byte read or written outside ends the run.
 * Arguments: number of frames, seed. Also checks: the cursor moves, accounting holds, and neither
 * pausing (for ticks or for AUX records) nor the code path changes a bit of what comes out. */
#include <stdio.h>
#include <stdlib.h>

#include "upstox_frame.h"

static uint64_t state;

static uint64_t next_random(void) /* splitmix64 */
{
    uint64_t z = (state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

enum { FRAME_MAX = 1 << 16, N_KEYS = 4, BUCKETS = 16, COUNTERS = 64, AUX_ROOM = UPSTOX_AUX_ROOM_MIN };
static const char *const KEYS[N_KEYS] = {"NSE_FO|55775", "NSE_EQ|INE002A01018", "NSE_INDEX|Nifty 50", "X|1"};
static const double PRICES[] = {0.0, 100.05, 219.3, 1e300, -1.0, 100.001, 21474836.47};

/* A message under construction, from its end to its start: lengths are known when they are needed. */
static uint8_t text[FRAME_MAX];
static size_t at;

static void put_varint(uint64_t value)
{
    uint8_t bytes[10];
    int n = 0;
    do {
        bytes[n++] = (uint8_t)(value & 0x7F) | (value > 0x7F ? 0x80 : 0);
    } while (value >>= 7);
    at -= (size_t)n;
    memcpy(text + at, bytes, (size_t)n);
}

static void put_number(uint32_t field)
{
    static const uint64_t NUMBERS[] = {0, 1, 75, 1795416300000, UINT32_MAX, UINT64_MAX, INT64_MAX, 1000000};
    if (next_random() % 16 == 0)
        return;
    put_varint(NUMBERS[next_random() % 8]);
    put_varint(field << 3);
}

static void put_price(uint32_t field)
{
    double price = PRICES[next_random() % 64 < 61 ? 1 + next_random() % 2 : next_random() % 7];
    if (next_random() % 256 == 0)
        price /= 0.0 * price;
    if (next_random() % 16 == 0)
        return;
    at -= 8;
    memcpy(text + at, &price, 8);
    put_varint(field << 3 | 1);
}

static void close_part(uint32_t field, size_t end)
{
    put_varint(end - at);
    put_varint(field << 3 | 2);
}

static void put_ltpc(uint32_t field)
{
    const size_t end = at;
    if (next_random() % 8 == 0) {
        const size_t inner = at;
        put_price(1);
        close_part(5, inner);
    }
    put_price(4), put_number(3), put_number(2), put_price(1);
    close_part(field, end);
}

static void put_quote(uint32_t field)
{
    const size_t end = at;
    put_price(4), put_number(3), put_price(2), put_number(1);
    close_part(field, end);
}

static void put_levels(void)
{
    static const int LEVELS[] = {0, 1, 5, 5, 5, 6, 30, 33};
    const size_t end = at;
    for (int i = LEVELS[next_random() % 8]; i > 0; i--)
        put_quote(1);
    close_part(2, end);
}

static void put_greeks(void)
{
    const size_t end = at;
    for (uint32_t i = next_random() % 4 ? 5 : 0; i > 0; i--)
        put_price(i);
    close_part(3, end);
}

static void put_ohlc(uint32_t field)
{
    static const char *const INTERVALS[] = {"1d", "I1", "I30", "1d"};
    const size_t end = at;
    for (int i = 2; i > 0; i--) {
        const size_t bar = at;
        put_number(7), put_number(6), put_price(5), put_price(4), put_price(3), put_price(2);
        const char *interval = INTERVALS[next_random() % 4];
        const size_t size = strlen(interval), stop = at;
        at -= size;
        memcpy(text + at, interval, size);
        close_part(1, stop);
        close_part(1, bar);
    }
    close_part(field, end);
}

static void put_market(void)
{
    const size_t full = at, end = at;
    if (next_random() % 4 == 0)
        for (uint32_t i = 16; i > 10; i--)
            i > 12 ? put_number(i) : put_price(i);
    put_price(10), put_price(9), put_price(8), put_price(7), put_number(6), put_price(5);
    if (next_random() % 8)
        put_ohlc(4);
    if (next_random() % 4)
        put_greeks();
    if (next_random() % 4)
        put_levels();
    put_ltpc(1);
    close_part(1, end);
    close_part(2, full);
}

static void put_feed(void)
{
    const size_t end = at;
    put_number(4);
    switch (next_random() % 4) {
    case 0: put_ltpc(1); break;
    case 1: put_market(); break;
    case 2: {
        const size_t full = at;
        put_ohlc(2), put_ltpc(1);
        close_part(2, full), close_part(2, full);
        break;
    }
    default: {
        const size_t first = at;
        put_price(6), put_price(5), put_number(4), put_greeks(), put_quote(2), put_ltpc(1);
        close_part(3, first);
    }
    }
    close_part(2, end);
}

static void put_markets(void)
{
    const size_t end = at;
    for (uint32_t map = 3; map > 0; map--) {
        const size_t inner = at;
        if (map == 1) {
            put_number(2);
        } else {
            const size_t info = at;
            put_number(2);
            memcpy(text + (at -= 8), "CAS_STOP", 8), close_part(1, at + 8);
            close_part(2, info);
        }
        memcpy(text + (at -= 6), "NSE_FO", 6), close_part(1, at + 6);
        close_part(map, inner);
    }
    close_part(4, end);
}

/* A frame in text[at, FRAME_MAX); half of them are then spoiled. */
static void random_frame(void)
{
    at = FRAME_MAX;
    put_number(3);
    if (next_random() % 16 == 0)
        put_markets();
    for (unsigned i = next_random() % 6; i > 0; i--) {
        const size_t end = at;
        put_feed();
        const char *key = KEYS[next_random() % N_KEYS];
        const size_t size = strlen(key) - (next_random() % 32 == 0);
        at -= size;
        memcpy(text + at, key, size);
        close_part(1, at + size);
        close_part(2, end);
    }
    put_varint(next_random() % 3), put_varint(8);
    if (next_random() % 2 && at < FRAME_MAX)
        for (unsigned i = next_random() % 4; i > 0; i--)
            text[at + next_random() % (FRAME_MAX - at)] = (uint8_t)(next_random() % 2 ? next_random() : 0x80);
    if (next_random() % 32 == 0)
        for (at = FRAME_MAX - next_random() % 64; next_random() % 64;)
            text[FRAME_MAX - 1 - next_random() % 64] = (uint8_t)next_random();
}

typedef struct {
    upstox_decoder_t d;
    upstox_bucket_t buckets[BUCKETS];
    upstox_key_t keys[N_KEYS];
    upstox_row_t rows[N_KEYS];
    upstox_entry_t entries[2 * N_KEYS + 1];
    uint64_t counts[COUNTERS];
} bench_t;

static void open_bench(bench_t *b, int gather)
{
    memset(b, 0, sizeof *b);
    b->d.keys = (upstox_keys_t){b->buckets, b->keys, BUCKETS - 1};
    b->d.rows = b->rows, b->d.n_rows = N_KEYS, b->d.entries = b->entries, b->d.counts = b->counts;
    b->d.gather = (uint8_t)gather, b->d.aux.kinds = UINT32_MAX, b->d.connection = 1;
    for (int i = 0; i < BUCKETS; i++)
        b->buckets[i].row = UPSTOX_NO_ROW;
    for (uint32_t i = 0; i < N_KEYS; i++) {
        b->rows[i] = (upstox_row_t){.scale = 100, .step = 5, .inverse_step = 0.2, .slot = i, .token = i};
        if (upstox_key_insert(&b->d.keys, (const uint8_t *)KEYS[i], strlen(KEYS[i]), i))
            abort();
    }
}

static uint64_t hash_of(uint64_t hash, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
    return hash;
}

/* Decodes a copy of exactly `size` bytes, `step` ticks at a time, behind `held` AUX records of frames before
 * that nobody has taken yet; hashes of ticks and AUX records. */
static void run(bench_t *b, size_t size, int step, int held, uint64_t hashes[2])
{
    uint8_t *exact = malloc(size ? size : 1);
    khft_tick_t *out = malloc((size_t)step * sizeof *out);
    khft_aux_t *aux = calloc(AUX_ROOM, sizeof *aux);
    size_t cursor = 0;
    memcpy(exact, text + at, size);
    hashes[0] = hashes[1] = 14695981039346656037u;
    b->d.aux.records = aux, b->d.aux.room = AUX_ROOM;
    for (;; held = 0) {
        const size_t before = cursor;
        b->d.aux.n = held;
        const int n = upstox_decode(&b->d, exact, size, 5, out, step, &cursor);
        if (n < 0 || n > step || cursor > size || b->d.aux.n < held || b->d.aux.n > AUX_ROOM)
            abort();
        if (cursor == before && size && !held)
            abort();
        hashes[0] = hash_of(hashes[0], out, (size_t)n * sizeof *out);
        hashes[1] = hash_of(hashes[1], aux + held, (size_t)(b->d.aux.n - held) * sizeof *aux);
        if (cursor == size)
            break;
    }
    free(aux), free(out), free(exact);
}

int main(int argc, char **argv)
{
    static bench_t whole, paused;
    const long frames = argc > 1 ? atol(argv[1]) : 100000;
    state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    open_bench(&whole, 0);
    open_bench(&paused, wire_can_gather());
    uint64_t aux = 0;
    for (long i = 0; i < frames; i++) {
        uint64_t first[2], second[2];
        random_frame();
        run(&whole, FRAME_MAX - at, 2 * N_KEYS, 0, first);
        const int held = (int)(next_random() % (AUX_ROOM + 1));
        run(&paused, FRAME_MAX - at, 1 + (int)(next_random() % 3), held, second);
        aux += first[1] != 14695981039346656037u;
        if (memcmp(first, second, sizeof first) || memcmp(whole.counts, paused.counts, sizeof whole.counts))
            abort();
        if (next_random() % 64 == 0)
            upstox_reset(&whole.d), upstox_reset(&paused.d);
    }
    const uint64_t *c = whole.counts;
    if (c[FEED_RECEIVED] != c[FEED_DECODED] + c[FEED_UNKNOWN_INSTRUMENT] + c[FEED_MALFORMED_PRICE_RANGE]
                                + c[FEED_MALFORMED_NOT_FINITE])
        abort();
    printf("%ld %llu %llu %llu %llu %llu %llu %llu %llu\n", frames, (unsigned long long)c[FEED_DECODED],
           (unsigned long long)c[FEED_MALFORMED_MESSAGE], (unsigned long long)c[FEED_MALFORMED_PRICE_RANGE],
           (unsigned long long)c[FEED_MALFORMED_NOT_FINITE], (unsigned long long)c[FEED_UNKNOWN_INSTRUMENT],
           (unsigned long long)c[FEED_CARRIED], (unsigned long long)c[FEED_MARKET_INFOS],
           (unsigned long long)aux);
    return 0;
}
