// A stream in H.264 out of one that not every viewer can decode.
// SPDX-License-Identifier: Apache-2.0

import CFFmpeg
package import H26x
import NIOCore

/// Decodes one stream and encodes it as H.264 (constrained baseline, no B-frames, tuned for latency), on
/// the calling thread. Costs a good part of a processor: never call it on an event loop.
package final class Transcoder {
    /// An access unit of the new stream. The first one is an IDR picture, and then one at least every
    /// `keyframeInterval`.
    package struct Output: Sendable {
        package var unit: AccessUnit
        package var parameterSets: ParameterSets
    }

    /// Larger pictures are scaled down to these.
    package static let maxWidth = 1920
    package static let maxHeight = 1080
    /// Ticks of 90 kHz between two keyframes.
    package static let keyframeInterval: Int64 = 2 * 90_000
    private static let framesPerSecond = 1.0...120.0
    private static let commonFramesPerSecond = 25.0

    private let handle: OpaquePointer
    private var parameterSets: ParameterSets?

    /// Whether the installed libraries can do it.
    package static func canTranscode(from codec: Codec) -> Bool {
        cffmpeg_can_transcode(codec.shimNumber) != 0
    }

    /// - Parameter framesPerSecond: as the stream announces it, where it does.
    package init(from codec: Codec, framesPerSecond: Double?) throws(DecodingError) {
        let announced = framesPerSecond ?? Self.commonFramesPerSecond
        let rate =
            Self.framesPerSecond.contains(announced) ? announced : Self.commonFramesPerSecond
        var options = cffmpeg_transcoder_options(
            codec: codec.shimNumber, max_dimension: Int32(KeyframeDecoder.maxDimension),
            max_width: Int32(Self.maxWidth), max_height: Int32(Self.maxHeight),
            frames_per_second: Int32(rate.rounded()), keyframe_interval: Self.keyframeInterval)
        var made: OpaquePointer?
        let status = cffmpeg_transcoder_open(&options, &made)
        if let error = DecodingError(status) { throw error }
        guard let made else { throw .failed(.memory) }
        handle = made
    }

    deinit { cffmpeg_transcoder_close(handle) }

    /// Takes the next unit in decoding order and returns what became whole with it.
    ///
    /// After an error the next unit that is used has to be a random access point.
    /// - Parameter isShown: false for one of the past, which others refer to but nobody sees.
    package func transcode(
        _ unit: AccessUnit, _ sets: ParameterSets, isShown: Bool = true
    ) throws(DecodingError) -> [Output] {
        let bytes = try KeyframeDecoder.annexB(
            unit.isRandomAccessPoint ? sets.inBand : [], unit.avcc)
        let status = bytes.withUnsafeBufferPointer { bytes in
            cffmpeg_transcoder_push(
                handle, bytes.baseAddress, bytes.count, unit.decodeTime, isShown ? 1 : 0)
        }
        if let error = DecodingError(status) { throw error }
        var outputs: [Output] = []
        while true {
            var found = cffmpeg_unit()
            let status = cffmpeg_transcoder_pull(handle, &found)
            if Int(status) == CFFMPEG_NO_PICTURE { return outputs }
            if let error = DecodingError(status) { throw error }
            if let output = output(found) { outputs.append(output) }
        }
    }

    /// What was transcoded is no past of what comes: the next unit is a random access point.
    package func flush() { cffmpeg_transcoder_flush(handle) }

    private func output(_ found: cffmpeg_unit) -> Output? {
        let stream = ByteBuffer(
            bytes: UnsafeRawBufferPointer(start: found.bytes, count: found.size))
        let nalUnits = AnnexB.nalUnits(in: stream).filter { Codec.h264.kind(of: $0) != .sei }
        let isRandomAccessPoint = found.is_keyframe != 0
        if isRandomAccessPoint, let sets = try? ParameterSets(among: nalUnits, .h264) {
            parameterSets = sets
        }
        guard let parameterSets else { return nil }
        let unit = AccessUnit(
            avcc: AVCC.serialize(nalUnits), decodeTime: found.time,
            isRandomAccessPoint: isRandomAccessPoint,
            wallTime: nil)
        return Output(unit: unit, parameterSets: parameterSets)
    }
}
