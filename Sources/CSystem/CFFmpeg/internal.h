// What the shim's files share, and nobody else sees.
// SPDX-License-Identifier: Apache-2.0
#ifndef MARSAD_CFFMPEG_INTERNAL_H
#define MARSAD_CFFMPEG_INTERNAL_H

#include <libavcodec/avcodec.h>
#include <stdint.h>

/// Keeps FFmpeg from printing; call before every use.
void cffmpeg_quiet(void);

/// A decoder on the calling thread that refuses pictures beyond max_dimension squared.
int32_t cffmpeg_open_decoder(int32_t codec, int32_t max_dimension, AVCodecContext **out);

#endif
