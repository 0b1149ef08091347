// One decoded picture out of one access unit, by libavcodec: the only door to FFmpeg.
// SPDX-License-Identifier: Apache-2.0
#include "cffmpeg.h"
#include "internal.h"

#include <libavcodec/avcodec.h>
#include <libavutil/imgutils.h>
#include <libavutil/log.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <limits.h>
#include <string.h>

// FFmpeg prints what cameras send it to stderr; failures are reported by return code instead.
// Set before every use: it is one relaxed store, and no initialisation order has to be right.
void cffmpeg_quiet(void) { av_log_set_level(AV_LOG_QUIET); }

int32_t cffmpeg_open_decoder(int32_t codec_number, int32_t max_dimension, AVCodecContext **out) {
    const AVCodec *codec = avcodec_find_decoder(
        codec_number == CFFMPEG_H265 ? AV_CODEC_ID_HEVC : AV_CODEC_ID_H264);
    if (!codec) return CFFMPEG_NO_CODEC;
    AVCodecContext *context = avcodec_alloc_context3(codec);
    if (!context) return CFFMPEG_NO_MEMORY;
    context->thread_count = 1;
    context->thread_type = 0;
    // Refused before the planes are allocated, so that a forged SPS cannot take the memory.
    context->max_pixels = (int64_t)max_dimension * max_dimension;
    if (avcodec_open2(context, codec, NULL) < 0) {
        avcodec_free_context(&context);
        return CFFMPEG_NO_CODEC;
    }
    *out = context;
    return CFFMPEG_OK;
}

static int32_t decode(int32_t codec, const uint8_t *annexb, size_t size, int32_t max_dimension,
                      AVFrame **out) {
    cffmpeg_quiet();
    if (size == 0 || size > INT_MAX - AV_INPUT_BUFFER_PADDING_SIZE) return CFFMPEG_TOO_LARGE;
    AVCodecContext *context = NULL;
    int32_t result = cffmpeg_open_decoder(codec, max_dimension, &context);
    if (result != CFFMPEG_OK) return result;
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    result = CFFMPEG_NO_MEMORY;
    if (!packet || !frame || av_new_packet(packet, (int)size) < 0) goto end;
    memcpy(packet->data, annexb, size);
    packet->flags |= AV_PKT_FLAG_KEY;
    result = CFFMPEG_INVALID_DATA;
    if (avcodec_send_packet(context, packet) < 0) goto end;
    // The decoder holds a picture back for reordering; the flush brings it out.
    if (avcodec_send_packet(context, NULL) < 0) goto end;
    result = CFFMPEG_NO_PICTURE;
    if (avcodec_receive_frame(context, frame) < 0) goto end;
    result = CFFMPEG_TOO_LARGE;
    if (frame->width <= 0 || frame->height <= 0 || frame->width > max_dimension
        || frame->height > max_dimension)
        goto end;
    result = CFFMPEG_INVALID_DATA;
    // A concealed picture would show what the camera never saw.
    if (frame->decode_error_flags != 0 || (frame->flags & AV_FRAME_FLAG_CORRUPT)) goto end;
    *out = frame;
    frame = NULL;
    result = CFFMPEG_OK;
end:
    av_frame_free(&frame);
    av_packet_free(&packet);
    avcodec_free_context(&context);
    return result;
}

static int is_full_range(const AVFrame *frame) {
    return frame->color_range == AVCOL_RANGE_JPEG || frame->format == AV_PIX_FMT_YUVJ420P
        || frame->format == AV_PIX_FMT_YUVJ422P || frame->format == AV_PIX_FMT_YUVJ444P;
}

// JFIF is BT.601; HD cameras send BT.709, most without saying so.
static int source_matrix(const AVFrame *frame) {
    switch (frame->colorspace) {
    case AVCOL_SPC_BT709: return SWS_CS_ITU709;
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M: return SWS_CS_ITU601;
    case AVCOL_SPC_BT2020_NCL: return SWS_CS_BT2020;
    default: return frame->height >= 720 ? SWS_CS_ITU709 : SWS_CS_ITU601;
    }
}

static int32_t scale(const AVFrame *frame, int width, int height, AVFrame **out) {
    int32_t result = CFFMPEG_NO_MEMORY;
    struct SwsContext *scaler = NULL;
    AVFrame *scaled = av_frame_alloc();
    if (!scaled) return result;
    scaled->width = width;
    scaled->height = height;
    scaled->format = AV_PIX_FMT_YUVJ420P;
    scaled->color_range = AVCOL_RANGE_JPEG;
    if (av_frame_get_buffer(scaled, 0) < 0) goto end;
    result = CFFMPEG_SCALING;
    scaler = sws_getContext(frame->width, frame->height, frame->format, width, height,
                            AV_PIX_FMT_YUVJ420P, SWS_AREA, NULL, NULL, NULL);
    if (!scaler) goto end;
    // A negative answer means that this pair of formats has no choice of matrix: scaled as it is.
    (void)sws_setColorspaceDetails(scaler, sws_getCoefficients(source_matrix(frame)),
                                   is_full_range(frame), sws_getCoefficients(SWS_CS_ITU601), 1, 0,
                                   1 << 16, 1 << 16);
    if (sws_scale(scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height,
                  scaled->data, scaled->linesize) != height)
        goto end;
    *out = scaled;
    scaled = NULL;
    result = CFFMPEG_OK;
end:
    sws_freeContext(scaler);
    av_frame_free(&scaled);
    return result;
}

static int32_t take(const uint8_t *bytes, size_t size, int width, int height,
                    struct cffmpeg_image *out) {
    out->bytes = av_malloc(size);
    if (!out->bytes) return CFFMPEG_NO_MEMORY;
    memcpy(out->bytes, bytes, size);
    out->size = size;
    out->width = width;
    out->height = height;
    return CFFMPEG_OK;
}

static int32_t encode(AVFrame *frame, int32_t quality, struct cffmpeg_image *out) {
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_MJPEG);
    if (!codec) return CFFMPEG_NO_CODEC;
    AVCodecContext *context = avcodec_alloc_context3(codec);
    AVPacket *packet = av_packet_alloc();
    int32_t result = CFFMPEG_NO_MEMORY;
    if (!context || !packet) goto end;
    // 100 is quantiser 2, the finest the encoder is good at; 1 is 31, the coarsest.
    int quantiser = 31 - (quality * 29) / 100;
    context->width = frame->width;
    context->height = frame->height;
    context->pix_fmt = AV_PIX_FMT_YUVJ420P;
    context->color_range = AVCOL_RANGE_JPEG;
    context->time_base = (AVRational){1, 25};
    context->thread_count = 1;
    context->flags |= AV_CODEC_FLAG_QSCALE;
    context->global_quality = quantiser * FF_QP2LAMBDA;
    frame->quality = context->global_quality;
    frame->pts = 0;
    result = CFFMPEG_ENCODING;
    if (avcodec_open2(context, codec, NULL) < 0) goto end;
    if (avcodec_send_frame(context, frame) < 0) goto end;
    if (avcodec_send_frame(context, NULL) < 0) goto end;
    if (avcodec_receive_packet(context, packet) < 0 || packet->size <= 0) goto end;
    result = take(packet->data, (size_t)packet->size, frame->width, frame->height, out);
end:
    av_packet_free(&packet);
    avcodec_free_context(&context);
    return result;
}

static int even(int64_t value, int limit) {
    int64_t rounded = value & ~(int64_t)1;
    if (rounded < 2) rounded = 2;
    return rounded > limit ? limit : (int)rounded;
}

int32_t cffmpeg_to_jpeg(int32_t codec, const uint8_t *annexb, size_t size, int32_t max_dimension,
                        int32_t width, int32_t quality, struct cffmpeg_image *out) {
    memset(out, 0, sizeof *out);
    AVFrame *frame = NULL;
    int32_t result = decode(codec, annexb, size, max_dimension, &frame);
    if (result != CFFMPEG_OK) return result;
    int target = width > 0 && width < frame->width ? width : frame->width;
    int to_width = even(target, max_dimension);
    int to_height = even(((int64_t)frame->height * to_width + frame->width / 2) / frame->width,
                         max_dimension);
    AVFrame *scaled = NULL;
    result = scale(frame, to_width, to_height, &scaled);
    av_frame_free(&frame);
    if (result != CFFMPEG_OK) return result;
    result = encode(scaled, quality < 1 ? 1 : quality > 100 ? 100 : quality, out);
    av_frame_free(&scaled);
    return result;
}

int32_t cffmpeg_to_luma(int32_t codec, const uint8_t *annexb, size_t size, int32_t max_dimension,
                        struct cffmpeg_image *out) {
    memset(out, 0, sizeof *out);
    AVFrame *frame = NULL;
    int32_t result = decode(codec, annexb, size, max_dimension, &frame);
    if (result != CFFMPEG_OK) return result;
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(frame->format);
    result = CFFMPEG_UNSUPPORTED_FORMAT;
    if (format && !(format->flags & AV_PIX_FMT_FLAG_RGB) && format->comp[0].plane == 0
        && format->comp[0].step == 1 && format->comp[0].depth == 8) {
        size_t total = (size_t)frame->width * (size_t)frame->height;
        result = CFFMPEG_NO_MEMORY;
        out->bytes = av_malloc(total);
        if (out->bytes) {
            av_image_copy_plane(out->bytes, frame->width, frame->data[0], frame->linesize[0],
                                frame->width, frame->height);
            out->size = total;
            out->width = frame->width;
            out->height = frame->height;
            result = CFFMPEG_OK;
        }
    }
    av_frame_free(&frame);
    return result;
}

void cffmpeg_free(struct cffmpeg_image *image) {
    av_freep(&image->bytes);
    image->size = 0;
}
