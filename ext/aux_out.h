/* Layer 2, feed process, hot: where a decoder leaves AUX records; the sink publishes and empties it. */
#ifndef KHFT_AUX_OUT_H
#define KHFT_AUX_OUT_H

#include "khft_layout.h"

typedef struct {
    khft_aux_t *records; /* NULL: nowhere to put them; those that are wanted are counted as dropped */
    int room, n;
    uint32_t kinds; /* bit k: records of AuxKind k are wanted; 0: nobody asked for any */
} aux_out_t;

#endif
