// What a sequence parameter set says about the pictures that follow, whichever the codec.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// A parsed sequence parameter set.
package enum SequenceParameterSet: Hashable, Sendable {
    case h264(H264SequenceParameterSet)
    case h265(H265SequenceParameterSet)

    /// Parses a whole NAL unit, header included.
    package init(parsing nalUnit: ByteBuffer, _ codec: Codec) throws(H26xError) {
        switch codec {
        case .h264: self = .h264(try H264SequenceParameterSet(parsing: nalUnit))
        case .h265: self = .h265(try H265SequenceParameterSet(parsing: nalUnit))
        }
    }

    package var codec: Codec {
        switch self {
        case .h264: .h264
        case .h265: .h265
        }
    }

    /// Picture width in luma samples, after cropping.
    package var width: Int {
        switch self {
        case .h264(let set): set.width
        case .h265(let set): set.width
        }
    }

    /// Picture height in luma samples, after cropping.
    package var height: Int {
        switch self {
        case .h264(let set): set.height
        case .h265(let set): set.height
        }
    }

    /// The frame rate that the VUI announces, where it does.
    package var framesPerSecond: Double? {
        switch self {
        case .h264(let set): set.framesPerSecond
        case .h265(let set): set.framesPerSecond
        }
    }

    /// How many frames may precede one in decoding order and follow it in output order, where the
    /// set says so.
    package var maxNumReorderFrames: Int? {
        switch self {
        case .h264(let set): set.maxNumReorderFrames
        case .h265(let set): set.maxNumReorderPictures
        }
    }

    /// The RFC 6381 name of the codec, such as `avc1.4D401F` or `hvc1.1.6.L93.B0`.
    package var codecString: String {
        switch self {
        case .h264(let set): set.codecString
        case .h265(let set): set.codecString
        }
    }
}

/// Two upper-case digits.
func hex(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16, uppercase: true)
    return byte < 16 ? "0" + digits : digits
}
