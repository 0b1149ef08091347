// A stream of access units in another codec out of one that not every viewer can decode.
// SPDX-License-Identifier: Apache-2.0
#include "cffmpeg.h"
#include "internal.h"

#include <libavutil/opt.h>
#include <libswscale/swscale.h>
#include <limits.h>
#include <string.h>

struct cffmpeg_transcoder {
    struct cffmpeg_transcoder_options options;
    AVCodecContext *decoder;
    // Opened with the first picture, and anew where the size changes.
    AVCodecContext *encoder;
    struct SwsContext *scaler;
    AVPacket *input;
    AVPacket *output;
    AVFrame *frame;
    AVFrame *scaled;
    int64_t show_from;
    int64_t last_keyframe;
};

static const char *const encoder_name = "libx264";

int32_t cffmpeg_can_transcode(int32_t codec) {
    return avcodec_find_encoder_by_name(encoder_name)
        && avcodec_find_decoder(codec == CFFMPEG_H265 ? AV_CODEC_ID_HEVC : AV_CODEC_ID_H264);
}

int32_t cffmpeg_transcoder_open(const struct cffmpeg_transcoder_options *options,
                                struct cffmpeg_transcoder **out) {
    cffmpeg_quiet();
    *out = NULL;
    if (!cffmpeg_can_transcode(options->codec)) return CFFMPEG_NO_CODEC;
    struct cffmpeg_transcoder *made = av_mallocz(sizeof *made);
    if (!made) return CFFMPEG_NO_MEMORY;
    made->options = *options;
    made->show_from = INT64_MIN;
    made->input = av_packet_alloc();
    made->output = av_packet_alloc();
    made->frame = av_frame_alloc();
    made->scaled = av_frame_alloc();
    int32_t result = CFFMPEG_NO_MEMORY;
    if (made->input && made->output && made->frame && made->scaled)
        result = cffmpeg_open_decoder(options->codec, options->max_dimension, &made->decoder);
    if (result != CFFMPEG_OK) {
        cffmpeg_transcoder_close(made);
        return result;
    }
    *out = made;
    return CFFMPEG_OK;
}

void cffmpeg_transcoder_close(struct cffmpeg_transcoder *transcoder) {
    if (!transcoder) return;
    avcodec_free_context(&transcoder->decoder);
    avcodec_free_context(&transcoder->encoder);
    sws_freeContext(transcoder->scaler);
    av_packet_free(&transcoder->input);
    av_packet_free(&transcoder->output);
    av_frame_free(&transcoder->frame);
    av_frame_free(&transcoder->scaled);
    av_free(transcoder);
}

void cffmpeg_transcoder_flush(struct cffmpeg_transcoder *transcoder) {
    avcodec_flush_buffers(transcoder->decoder);
    // Whoever lost the picture goes on with the next one.
    transcoder->last_keyframe = INT64_MIN;
}

int32_t cffmpeg_transcoder_push(struct cffmpeg_transcoder *transcoder, const uint8_t *annexb,
                                size_t size, int64_t time, int32_t is_shown) {
    if (size == 0 || size > INT_MAX - AV_INPUT_BUFFER_PADDING_SIZE) return CFFMPEG_TOO_LARGE;
    av_packet_unref(transcoder->input);
    if (av_new_packet(transcoder->input, (int)size) < 0) return CFFMPEG_NO_MEMORY;
    memcpy(transcoder->input->data, annexb, size);
    transcoder->input->pts = time;
    transcoder->input->dts = time;
    transcoder->show_from = is_shown ? INT64_MIN : INT64_MAX;
    if (avcodec_send_packet(transcoder->decoder, transcoder->input) < 0)
        return CFFMPEG_INVALID_DATA;
    return CFFMPEG_OK;
}

// The picture's size within the options, its aspect kept, both sides even.
static void fit(const struct cffmpeg_transcoder_options *options, const AVFrame *frame, int *width,
                int *height) {
    int64_t w = frame->width, h = frame->height;
    if (w > options->max_width) {
        h = (h * options->max_width + w / 2) / w;
        w = options->max_width;
    }
    if (h > options->max_height) {
        w = (w * options->max_height + h / 2) / h;
        h = options->max_height;
    }
    *width = w < 16 ? 16 : (int)(w & ~(int64_t)1);
    *height = h < 16 ? 16 : (int)(h & ~(int64_t)1);
}

static int32_t open_encoder(struct cffmpeg_transcoder *transcoder, const AVFrame *frame) {
    const AVCodec *codec = avcodec_find_encoder_by_name(encoder_name);
    if (!codec) return CFFMPEG_NO_CODEC;
    AVCodecContext *context = avcodec_alloc_context3(codec);
    if (!context) return CFFMPEG_NO_MEMORY;
    int rate = transcoder->options.frames_per_second;
    context->width = frame->width;
    context->height = frame->height;
    context->pix_fmt = frame->format;
    context->color_range = frame->color_range;
    context->colorspace = frame->colorspace;
    context->time_base = (AVRational){1, 90000};
    context->framerate = (AVRational){rate, 1};
    context->thread_count = 1;
    context->max_b_frames = 0;
    // Keyframes are asked for by time; the encoder's own count only bounds them.
    context->gop_size = rate * 10;
    // A tenth of a bit a pixel is what a security camera sends at a good quality.
    int64_t bits = (int64_t)frame->width * frame->height * rate / 10;
    context->rc_max_rate = bits < 200000 ? 200000 : bits > 8000000 ? 8000000 : bits;
    context->rc_buffer_size = (int)context->rc_max_rate;
    AVDictionary *settings = NULL;
    av_dict_set(&settings, "preset", "ultrafast", 0);
    av_dict_set(&settings, "tune", "zerolatency", 0);
    av_dict_set(&settings, "profile", "baseline", 0);
    av_dict_set(&settings, "crf", "23", 0);
    av_dict_set(&settings, "forced-idr", "1", 0);
    av_dict_set(&settings, "x264-params", "scenecut=0", 0);
    int opened = avcodec_open2(context, codec, &settings);
    av_dict_free(&settings);
    if (opened < 0) {
        avcodec_free_context(&context);
        return CFFMPEG_ENCODING;
    }
    avcodec_free_context(&transcoder->encoder);
    transcoder->encoder = context;
    transcoder->last_keyframe = INT64_MIN;
    return CFFMPEG_OK;
}

// Gives the picture to encode: the decoded one itself where it fits as it is.
static int32_t prepare(struct cffmpeg_transcoder *transcoder, AVFrame **out) {
    AVFrame *frame = transcoder->frame;
    int width, height;
    fit(&transcoder->options, frame, &width, &height);
    *out = frame;
    if (width == frame->width && height == frame->height
        && (frame->format == AV_PIX_FMT_YUV420P || frame->format == AV_PIX_FMT_YUVJ420P))
        return CFFMPEG_OK;
    transcoder->scaler = sws_getCachedContext(
        transcoder->scaler, frame->width, frame->height, frame->format, width, height,
        AV_PIX_FMT_YUV420P, SWS_FAST_BILINEAR, NULL, NULL, NULL);
    if (!transcoder->scaler) return CFFMPEG_SCALING;
    AVFrame *scaled = transcoder->scaled;
    av_frame_unref(scaled);
    scaled->width = width;
    scaled->height = height;
    scaled->format = AV_PIX_FMT_YUV420P;
    scaled->colorspace = frame->colorspace;
    scaled->pts = frame->pts;
    if (av_frame_get_buffer(scaled, 0) < 0) return CFFMPEG_NO_MEMORY;
    if (sws_scale(transcoder->scaler, (const uint8_t *const *)frame->data, frame->linesize, 0,
                  frame->height, scaled->data, scaled->linesize) != height)
        return CFFMPEG_SCALING;
    *out = scaled;
    return CFFMPEG_OK;
}

static int32_t encode(struct cffmpeg_transcoder *transcoder) {
    AVFrame *frame = NULL;
    int32_t result = prepare(transcoder, &frame);
    if (result != CFFMPEG_OK) return result;
    AVCodecContext *encoder = transcoder->encoder;
    if (!encoder || encoder->width != frame->width || encoder->height != frame->height
        || encoder->pix_fmt != frame->format) {
        result = open_encoder(transcoder, frame);
        if (result != CFFMPEG_OK) return result;
    }
    int is_due = transcoder->last_keyframe == INT64_MIN || frame->pts < transcoder->last_keyframe
        || frame->pts - transcoder->last_keyframe >= transcoder->options.keyframe_interval;
    frame->pict_type = is_due ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    if (is_due) transcoder->last_keyframe = frame->pts;
    return avcodec_send_frame(transcoder->encoder, frame) < 0 ? CFFMPEG_ENCODING : CFFMPEG_OK;
}

int32_t cffmpeg_transcoder_pull(struct cffmpeg_transcoder *transcoder, struct cffmpeg_unit *out) {
    for (;;) {
        if (transcoder->encoder) {
            av_packet_unref(transcoder->output);
            int status = avcodec_receive_packet(transcoder->encoder, transcoder->output);
            if (status == 0) {
                out->bytes = transcoder->output->data;
                out->size = (size_t)transcoder->output->size;
                out->time = transcoder->output->pts;
                out->is_keyframe = (transcoder->output->flags & AV_PKT_FLAG_KEY) != 0;
                return CFFMPEG_OK;
            }
            if (status != AVERROR(EAGAIN)) return CFFMPEG_ENCODING;
        }
        av_frame_unref(transcoder->frame);
        int status = avcodec_receive_frame(transcoder->decoder, transcoder->frame);
        if (status == AVERROR(EAGAIN)) return CFFMPEG_NO_PICTURE;
        if (status < 0) return CFFMPEG_INVALID_DATA;
        if (transcoder->frame->pts < transcoder->show_from) continue;
        int32_t result = encode(transcoder);
        if (result != CFFMPEG_OK) return result;
    }
}
