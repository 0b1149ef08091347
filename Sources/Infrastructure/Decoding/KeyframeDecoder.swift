// A still picture from one recorded access unit: thumbnails, snapshots and checkers.
// SPDX-License-Identifier: Apache-2.0
import CFFmpeg
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

/// Decodes one IDR access unit of H.264, on the calling thread and with no state between calls.
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
        parameterSets sps: ByteBuffer, pps: ByteBuffer, accessUnitAVCC: ByteBuffer, width: Int?,
        quality: Int
    ) throws(DecodingError) -> ByteBuffer {
        let input = try annexB(sps: sps, pps: pps, accessUnit: accessUnitAVCC)
        let target = Int32(min(max(width ?? maxOutputWidth, 2), maxOutputWidth))
        let clampedQuality = Int32(min(max(quality, 1), 100))
        var image = cffmpeg_image()
        defer { cffmpeg_free(&image) }
        let status = input.withUnsafeBufferPointer { bytes in
            cffmpeg_h264_to_jpeg(
                bytes.baseAddress, bytes.count, Int32(maxDimension), target, clampedQuality, &image)
        }
        try check(status)
        return ByteBuffer(bytes: UnsafeRawBufferPointer(start: image.bytes, count: image.size))
    }

    /// The luma of the access unit at its own size, as decoded.
    package static func luma(
        parameterSets sps: ByteBuffer, pps: ByteBuffer, accessUnitAVCC: ByteBuffer
    ) throws(DecodingError) -> Luma {
        let input = try annexB(sps: sps, pps: pps, accessUnit: accessUnitAVCC)
        var image = cffmpeg_image()
        defer { cffmpeg_free(&image) }
        let status = input.withUnsafeBufferPointer { bytes in
            cffmpeg_h264_to_luma(bytes.baseAddress, bytes.count, Int32(maxDimension), &image)
        }
        try check(status)
        return Luma(
            width: Int(image.width), height: Int(image.height),
            samples: Array(UnsafeBufferPointer(start: image.bytes, count: image.size)))
    }

    /// Parameter sets and access unit with start codes (H.264 Annex B) instead of lengths: the
    /// decoder then needs no separate configuration record.
    private static func annexB(
        sps: ByteBuffer, pps: ByteBuffer, accessUnit: ByteBuffer
    ) throws(DecodingError) -> [UInt8] {
        guard sps.readableBytes > 0, pps.readableBytes > 0 else { throw .missingParameterSets }
        let sizes = [sps.readableBytes, pps.readableBytes, accessUnit.readableBytes]
        guard sizes.allSatisfy({ $0 <= maxInputBytes }), sizes.reduce(8, +) <= maxInputBytes
        else { throw .tooLarge }
        let startCode: [UInt8] = [0, 0, 0, 1]
        var bytes: [UInt8] = []
        bytes.reserveCapacity(sizes.reduce(8, +))
        for parameterSet in [sps, pps] {
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
        switch Int(status) {
        case CFFMPEG_OK: return
        case CFFMPEG_NO_MEMORY: throw .failed(.memory)
        case CFFMPEG_NO_CODEC: throw .failed(.codec)
        case CFFMPEG_INVALID_DATA: throw .invalidData
        case CFFMPEG_NO_PICTURE: throw .noPicture
        case CFFMPEG_TOO_LARGE: throw .tooLarge
        case CFFMPEG_UNSUPPORTED_FORMAT: throw .unsupportedFormat
        case CFFMPEG_SCALING: throw .failed(.scaling)
        default: throw .failed(.encoding)
        }
    }
}
