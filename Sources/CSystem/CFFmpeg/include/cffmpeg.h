// One decoded picture out of one access unit, by libavcodec: the only door to FFmpeg.
// SPDX-License-Identifier: Apache-2.0
#ifndef MARSAD_CFFMPEG_H
#define MARSAD_CFFMPEG_H

#include <stddef.h>
#include <stdint.h>

/// What went wrong; 0 is success.
enum {
    CFFMPEG_OK = 0,
    CFFMPEG_NO_MEMORY = 1,
    CFFMPEG_NO_CODEC = 2,
    CFFMPEG_INVALID_DATA = 3,
    CFFMPEG_NO_PICTURE = 4,
    CFFMPEG_TOO_LARGE = 5,
    CFFMPEG_UNSUPPORTED_FORMAT = 6,
    CFFMPEG_SCALING = 7,
    CFFMPEG_ENCODING = 8,
};

/// Bytes owned by the caller, released with cffmpeg_free.
struct cffmpeg_image {
    uint8_t *bytes;
    size_t size;
    int32_t width;
    int32_t height;
};

/// Decodes one H.264 access unit (Annex B, parameter sets in front) and encodes it as JPEG.
/// width <= 0 keeps the picture's own; quality is 1...100. A picture is never enlarged.
int32_t cffmpeg_h264_to_jpeg(const uint8_t *annexb, size_t size, int32_t max_dimension,
                             int32_t width, int32_t quality, struct cffmpeg_image *out);

/// Decodes one H.264 access unit and returns its luma plane, one byte a pixel, without padding.
int32_t cffmpeg_h264_to_luma(const uint8_t *annexb, size_t size, int32_t max_dimension,
                             struct cffmpeg_image *out);

/// Releases the bytes of an image.
void cffmpeg_free(struct cffmpeg_image *image);

#endif
