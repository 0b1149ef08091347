// Pictures out of access units, and access units out of others, by libavcodec: the only door to FFmpeg.
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

/// The codecs that are decoded.
enum {
    CFFMPEG_H264 = 0,
    CFFMPEG_H265 = 1,
};

/// Bytes owned by the caller, released with cffmpeg_free.
struct cffmpeg_image {
    uint8_t *bytes;
    size_t size;
    int32_t width;
    int32_t height;
};

/// Decodes one access unit (Annex B, parameter sets in front) and encodes it as JPEG.
/// width <= 0 keeps the picture's own; quality is 1...100. A picture is never enlarged.
int32_t cffmpeg_to_jpeg(int32_t codec, const uint8_t *annexb, size_t size, int32_t max_dimension,
                        int32_t width, int32_t quality, struct cffmpeg_image *out);

/// Decodes one access unit and returns its luma plane, one byte a pixel, without padding.
int32_t cffmpeg_to_luma(int32_t codec, const uint8_t *annexb, size_t size, int32_t max_dimension,
                        struct cffmpeg_image *out);

/// Releases the bytes of an image.
void cffmpeg_free(struct cffmpeg_image *image);

/// How a stream is turned into H.264 (constrained baseline, no reordering, one slice thread).
struct cffmpeg_transcoder_options {
    /// Of the input.
    int32_t codec;
    /// Larger pictures are refused.
    int32_t max_dimension;
    /// Larger pictures are scaled down.
    int32_t max_width;
    int32_t max_height;
    /// At least 1; what the rate control counts with.
    int32_t frames_per_second;
    /// Ticks of 90 kHz.
    int64_t keyframe_interval;
};

/// An access unit in Annex B form; the bytes are the transcoder's, until the next call.
struct cffmpeg_unit {
    const uint8_t *bytes;
    size_t size;
    /// As pushed with the picture.
    int64_t time;
    int32_t is_keyframe;
};

struct cffmpeg_transcoder;

/// Whether the installed libraries have both the decoder and the encoder.
int32_t cffmpeg_can_transcode(int32_t codec);

int32_t cffmpeg_transcoder_open(const struct cffmpeg_transcoder_options *options,
                                struct cffmpeg_transcoder **out);

/// Takes the next access unit (Annex B); one that is not shown is only decoded. Pull until
/// CFFMPEG_NO_PICTURE before the next one.
int32_t cffmpeg_transcoder_push(struct cffmpeg_transcoder *transcoder, const uint8_t *annexb,
                                size_t size, int64_t time, int32_t is_shown);

/// Gives the next access unit; CFFMPEG_NO_PICTURE where there is none yet.
int32_t cffmpeg_transcoder_pull(struct cffmpeg_transcoder *transcoder, struct cffmpeg_unit *out);

/// What was pushed is no past of what comes: the next unit is a random access point.
void cffmpeg_transcoder_flush(struct cffmpeg_transcoder *transcoder);

void cffmpeg_transcoder_close(struct cffmpeg_transcoder *transcoder);

#endif
