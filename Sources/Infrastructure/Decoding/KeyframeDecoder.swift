// A still picture from one recorded access unit: thumbnails, snapshots and checkers.
// SPDX-License-Identifier: Apache-2.0
import CFFmpeg
package import H26x
package import NIOCore

/// Why an access unit gave no picture.
package enum DecodingError: Error, Hashable, Sendable {
    /// More bytes than `KeyframeDecoder.maxInputBytes`, or a picture beyond `maxDimension`.
    case tooLarge
    /// The length prefixes of the access unit do not fit it, at this byte of it.
    case malformedAccessUnit(offset: Int)
    /// A parameter set is empty.
    case missingParameterSets
    /// The decoder refused the bytes, or could only guess a part of the picture.
    case invalidData
    /// The bytes hold no picture that decodes alone.
    case noPicture
    /// The pixel format has no 8-bit luma plane.
    case unsupportedFormat
    /// Memory, scaling, encoding or a codec missing from the installed libraries.
    case failed(Stage)

    /// The step that failed for a reason that is not the input's.
    package enum Stage: String, Hashable, Sendable {
        case memory
        case codec
        case scaling
        case encoding
    }
}

/// Decodes one access unit that is a random access point, on the calling thread and with no state between calls.
package enum KeyframeDecoder {
    /// The largest access unit accepted, parameter sets included.
    package static let maxInputBytes = 8 << 20
    /// The largest picture side decoded.
    package static let maxDimension = 8192
    /// The largest JPEG width produced.
    package static let maxOutputWidth = 3840

    /// The 8-bit luma plane of a picture, row by row without padding.
    package struct Luma: Equatable, Sendable {
        package var width: Int
        package var height: Int
        package var samples: [UInt8]

        package init(width: Int, height: Int, samples: [UInt8]) {
            self.width = width
            self.height = height
            self.samples = samples
        }
    }

    /// A JPEG of the access unit (4:2:0, full range), scaled down to `width` with its aspect kept;
    /// never enlarged. `quality` is clamped to 1…100. Costs about as much as decoding a frame:
    /// the caller keeps it off event loops.
    package static func jpeg(
        _ codec: Codec, parameterSets: [ByteBuffer], accessUnitAVCC: ByteBuffer, width: Int?,
        quality: Int
    ) throws(DecodingError) -> ByteBuffer {
        let input = try keyframe(parameterSets, accessUnitAVCC)
        let target = Int32(min(max(width ?? maxOutputWidth, 2), maxOutputWidth))
        let clampedQuality = Int32(min(max(quality, 1), 100))
        var image = cffmpeg_image()
        defer { cffmpeg_free(&image) }
        let status = input.withUnsafeBufferPointer { bytes in
            cffmpeg_to_jpeg(
                codec.shimNumber, bytes.baseAddress, bytes.count, Int32(maxDimension), target,
                clampedQuality, &image)
        }
        try check(status)
        return ByteBuffer(bytes: UnsafeRawBufferPointer(start: image.bytes, count: image.size))
    }

    /// The luma of the access unit at its own size, as decoded.
    package static func luma(
        _ codec: Codec, parameterSets: [ByteBuffer], accessUnitAVCC: ByteBuffer
    ) throws(DecodingError) -> Luma {
        let input = try keyframe(parameterSets, accessUnitAVCC)
        var image = cffmpeg_image()
        defer { cffmpeg_free(&image) }
        let status = input.withUnsafeBufferPointer { bytes in
            cffmpeg_to_luma(
                codec.shimNumber, bytes.baseAddress, bytes.count, Int32(maxDimension), &image)
        }
        try check(status)
        return Luma(
            width: Int(image.width), height: Int(image.height),
            samples: Array(UnsafeBufferPointer(start: image.bytes, count: image.size)))
    }

    private static func keyframe(
        _ parameterSets: [ByteBuffer], _ accessUnit: ByteBuffer
    ) throws(DecodingError) -> [UInt8] {
        guard !parameterSets.isEmpty, parameterSets.allSatisfy({ $0.readableBytes > 0 }) else {
            throw .missingParameterSets
        }
        return try annexB(parameterSets, accessUnit)
    }

    /// Parameter sets and access unit with start codes (annex B) instead of lengths: the decoder then
    /// needs no separate configuration record.
    static func annexB(
        _ parameterSets: [ByteBuffer], _ accessUnit: ByteBuffer
    ) throws(DecodingError) -> [UInt8] {
        let sizes = parameterSets.map(\.readableBytes) + [accessUnit.readableBytes]
        let total = 4 * parameterSets.count
        guard sizes.allSatisfy({ $0 <= maxInputBytes }), sizes.reduce(total, +) <= maxInputBytes
        else { throw .tooLarge }
        let startCode: [UInt8] = [0, 0, 0, 1]
        var bytes: [UInt8] = []
        bytes.reserveCapacity(sizes.reduce(total, +))
        for parameterSet in parameterSets {
            bytes += startCode
            bytes += parameterSet.readableBytesView
        }
        var rest = accessUnit
        while rest.readableBytes > 0 {
            let offset = accessUnit.readableBytes - rest.readableBytes
            guard let length = rest.readInteger(as: UInt32.self),
                let unit = rest.readSlice(length: Int(length))
            else { throw .malformedAccessUnit(offset: offset) }
            bytes += startCode
            bytes += unit.readableBytesView
        }
        return bytes
    }

    private static func check(_ status: Int32) throws(DecodingError) {
        if let error = DecodingError(status) { throw error }
    }
}

extension DecodingError {
    /// What the shim answers; `nil` for success.
    init?(_ status: Int32) {
        switch Int(status) {
        case CFFMPEG_OK: return nil
        case CFFMPEG_NO_MEMORY: self = .failed(.memory)
        case CFFMPEG_NO_CODEC: self = .failed(.codec)
        case CFFMPEG_INVALID_DATA: self = .invalidData
        case CFFMPEG_NO_PICTURE: self = .noPicture
        case CFFMPEG_TOO_LARGE: self = .tooLarge
        case CFFMPEG_UNSUPPORTED_FORMAT: self = .unsupportedFormat
        case CFFMPEG_SCALING: self = .failed(.scaling)
        default: self = .failed(.encoding)
        }
    }
}

extension Codec {
    /// The shim's number of the codec.
    var shimNumber: Int32 {
        switch self {
        case .h264: Int32(CFFMPEG_H264)
        case .h265: Int32(CFFMPEG_H265)
        }
    }
}
