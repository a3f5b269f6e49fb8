/* Layer 2, feed process, hot: where a decoder leaves AUX records; the sink publishes and empties it. */
#ifndef KHFT_AUX_OUT_H
#define KHFT_AUX_OUT_H

#include "khft_layout.h"

typedef struct {
    khft_aux_t *records; /* NULL: nobody asked, what there would be is counted as dropped */
    int room, n;
    uint32_t kinds; /* bit k: records of AuxKind k are wanted */
} aux_out_t;

#endif
