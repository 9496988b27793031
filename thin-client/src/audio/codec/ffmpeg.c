/* The little of FFmpeg's libavcodec that is needed, behind four functions whose
 * types do not depend on its version: its structures differ from release to
 * release, and its headers know how. */

#include <stdint.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavutil/frame.h>
#include <libavutil/mem.h>

struct sidestep_codec {
    AVCodecContext *context;
    AVFrame *frame;
    AVPacket *packet;
};

void sidestep_codec_close(struct sidestep_codec *codec)
{
    if (!codec)
        return;
    avcodec_free_context(&codec->context);
    av_frame_free(&codec->frame);
    av_packet_free(&codec->packet);
    av_free(codec);
}

static void one_channel(AVCodecContext *context)
{
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(59, 37, 100)
    av_channel_layout_default(&context->ch_layout, 1);
#else
    context->channels = 1;
    context->channel_layout = AV_CH_LAYOUT_MONO;
#endif
}

/* g722: G.722, else G.723.1. NULL: this libavcodec has it not. */
struct sidestep_codec *sidestep_codec_open(int g722, int encode)
{
    enum AVCodecID id = g722 ? AV_CODEC_ID_ADPCM_G722 : AV_CODEC_ID_G723_1;
    const AVCodec *kind = encode ? avcodec_find_encoder(id) : avcodec_find_decoder(id);
    struct sidestep_codec *codec = av_mallocz(sizeof *codec);
    if (!codec)
        return NULL;
    codec->context = kind ? avcodec_alloc_context3(kind) : NULL;
    codec->frame = av_frame_alloc();
    codec->packet = av_packet_alloc();
    if (!codec->context || !codec->frame || !codec->packet)
        goto failed;
    codec->context->sample_rate = g722 ? 16000 : 8000;
    one_channel(codec->context);
    if (encode) {
        codec->context->sample_fmt = AV_SAMPLE_FMT_S16;
        codec->context->bit_rate = g722 ? 64000 : 6300;
        if (g722)
            codec->context->frame_size = 160; /* 10 ms */
    }
    if (avcodec_open2(codec->context, kind, NULL) < 0)
        goto failed;
    return codec;
failed:
    sidestep_codec_close(codec);
    return NULL;
}

/* One frame of samples; octets written to `out`, or a negative error. */
int sidestep_codec_encode(struct sidestep_codec *codec, const int16_t *samples, int count,
                          uint8_t *out, int size)
{
    AVFrame *frame = codec->frame;
    int status;
    av_frame_unref(frame);
    frame->nb_samples = count;
    frame->format = AV_SAMPLE_FMT_S16;
    frame->sample_rate = codec->context->sample_rate;
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(59, 37, 100)
    av_channel_layout_default(&frame->ch_layout, 1);
#else
    frame->channels = 1;
    frame->channel_layout = AV_CH_LAYOUT_MONO;
#endif
    if ((status = av_frame_get_buffer(frame, 0)) < 0)
        return status;
    memcpy(frame->data[0], samples, (size_t)count * sizeof *samples);
    if ((status = avcodec_send_frame(codec->context, frame)) < 0)
        return status;
    if ((status = avcodec_receive_packet(codec->context, codec->packet)) < 0)
        return status == AVERROR(EAGAIN) ? 0 : status;
    status = codec->packet->size;
    if (status > size)
        status = AVERROR(ENOBUFS);
    else
        memcpy(out, codec->packet->data, (size_t)status);
    av_packet_unref(codec->packet);
    return status;
}

/* One frame's octets; samples written to `out`, or a negative error. */
int sidestep_codec_decode(struct sidestep_codec *codec, const uint8_t *octets, int length,
                          int16_t *out, int size)
{
    int status;
    av_packet_unref(codec->packet);
    /* It pads what the decoder may read beyond the end. */
    if ((status = av_new_packet(codec->packet, length)) < 0)
        return status;
    memcpy(codec->packet->data, octets, (size_t)length);
    status = avcodec_send_packet(codec->context, codec->packet);
    av_packet_unref(codec->packet);
    if (status < 0)
        return status;
    if ((status = avcodec_receive_frame(codec->context, codec->frame)) < 0)
        return status == AVERROR(EAGAIN) ? 0 : status;
    status = codec->frame->nb_samples;
    if (status > size)
        status = AVERROR(ENOBUFS);
    else
        memcpy(out, codec->frame->data[0], (size_t)status * sizeof *out);
    av_frame_unref(codec->frame);
    return status;
}
