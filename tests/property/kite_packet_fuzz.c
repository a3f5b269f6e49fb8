/* Random frames through ext/kite_packet.h under AddressSanitizer and UBSan: frame and output are
 * allocated to the byte, so that one byte read or written outside ends the run. Arguments: number
 * of frames, seed. Also checks: the cursor moves, accounting holds, pausing changes nothing, and
 * the wide path (where the processor has it) gives the same bytes as the portable one. */
#include <stdio.h>
#include <stdlib.h>

#include "kite_packet.h"

static uint64_t state;

static uint64_t next_random(void) /* splitmix64 */
{
    uint64_t z = (state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static const uint16_t LENGTHS[] = {8, 28, 32, 44, 184, 184, 44, 0, 1, 7, 9, 183, 185};
static const uint32_t TOKENS[] = {0, 0x109, 0x63A01, 0xFA003, UINT32_MAX};
enum { N_TOKENS = 5, COUNTERS = 64, FRAME_MAX = 4096 };

static size_t random_frame(uint8_t *frame)
{
    size_t size = 2;
    const unsigned packets = (unsigned)(next_random() % 14);
    for (unsigned i = 0; i < packets; i++) {
        const uint16_t length = LENGTHS[next_random() % (sizeof LENGTHS / sizeof *LENGTHS)];
        frame[size] = (uint8_t)(length >> 8);
        frame[size + 1] = (uint8_t)length;
        for (size_t j = 0; j < length; j++)
            frame[size + 2 + j] = (uint8_t)(next_random() & (next_random() % 4 ? 0x7F : 0xFF));
        const uint32_t token = __builtin_bswap32(TOKENS[next_random() % N_TOKENS]);
        if (length >= 4 && next_random() % 8)
            memcpy(frame + size + 2, &token, 4);
        size += 2 + length;
    }
    frame[0] = (uint8_t)(next_random() % 16 ? 0 : next_random());
    frame[1] = (uint8_t)(next_random() % 4 ? packets : next_random());
    if (next_random() % 3 == 0)
        size -= next_random() % (size + 1);
    else if (next_random() % 4 == 0)
        frame[size++] = 1;
    for (unsigned i = next_random() % 4; i && size && next_random() % 4 == 0; i--)
        frame[next_random() % size] = (uint8_t)next_random();
    return size;
}

/* Decodes a copy of exactly `size` bytes, `step` ticks at a time; hash of all that came out. */
static uint64_t run(kite_decoder_t *d, const uint8_t *frame, size_t size, int step)
{
    uint8_t *exact = malloc(size ? size : 1);
    khft_tick_t *out = malloc((size_t)step * sizeof *out);
    uint64_t hash = 14695981039346656037u;
    size_t cursor = 0;
    memcpy(exact, frame, size);
    for (;;) {
        const size_t before = cursor;
        const int n = kite_decode(d, exact, size, 5, out, step, &cursor);
        if (n < 0 || n > step || cursor > size || (cursor == before && size))
            abort();
        for (size_t i = 0; i < (size_t)n * sizeof *out; i++)
            hash = (hash ^ ((uint8_t *)out)[i]) * 1099511628211u;
        if (cursor == size)
            break;
    }
    free(out);
    free(exact);
    return hash;
}

int main(int argc, char **argv)
{
    static uint8_t frame[FRAME_MAX];
    kite_entry_t entries[16];
    uint64_t counts[2][COUNTERS] = {{0}};
    kite_shuffle_t shuffle;
    kite_decoder_t d = {.entries = entries, .shift = 28, .connection = 1};
    const long frames = argc > 1 ? atol(argv[1]) : 100000;
    state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    kite_shuffle_build(&shuffle);
    for (int i = 0; i < 16; i++)
        entries[i] = (kite_entry_t){0, KHFT_NO_SLOT};
    for (uint32_t i = 0; i < N_TOKENS; i++)
        if (kite_insert(&d, TOKENS[i], i))
            abort();
    for (long i = 0; i < frames; i++) {
        const size_t size = random_frame(frame);
        d.counts = counts[0];
        d.shuffle = NULL;
        const uint64_t whole = run(&d, frame, size, 20);
        d.counts = counts[1];
        d.shuffle = kite_wide_supported() && next_random() % 4 ? &shuffle : NULL;
        if (run(&d, frame, size, 1 + (int)(next_random() % 4)) != whole)
            abort();
        if (memcmp(counts[0], counts[1], sizeof counts[0]))
            abort();
    }
    const uint64_t *c = counts[0];
    if (c[FEED_RECEIVED] != c[FEED_DECODED] + c[FEED_UNKNOWN_INSTRUMENT] + c[FEED_MALFORMED_UNKNOWN_LENGTH]
                                + c[FEED_MALFORMED_PRICE_RANGE])
        abort();
    printf("%ld %llu %llu %llu %llu %llu %llu %llu\n", frames, (unsigned long long)c[FEED_DECODED],
           (unsigned long long)c[FEED_MALFORMED_SHORT_FRAME], (unsigned long long)c[FEED_MALFORMED_WRONG_COUNT],
           (unsigned long long)c[FEED_MALFORMED_UNKNOWN_LENGTH], (unsigned long long)c[FEED_MALFORMED_CUT_PACKET],
           (unsigned long long)c[FEED_MALFORMED_TRAILING_BYTES], (unsigned long long)c[FEED_MALFORMED_PRICE_RANGE]);
    return 0;
}
