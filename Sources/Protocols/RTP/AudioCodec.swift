// The audio codecs that go from cameras to viewers as they are.
// SPDX-License-Identifier: Apache-2.0

/// An audio codec, and how SDP names it.
package enum AudioCodec: Hashable, Sendable, CaseIterable {
    case opus
    case pcmu
    case pcma

    /// In upper case; SDP's encoding names know no case (RFC 4855 §3).
    package var encoding: String {
        switch self {
        case .opus: "OPUS"
        case .pcmu: "PCMU"
        case .pcma: "PCMA"
        }
    }

    /// Ticks a second of its RTP times. Of Opus the same whatever it samples at (RFC 7587 §4.1).
    package var clockRate: Int {
        switch self {
        case .opus: 48_000
        case .pcmu, .pcma: 8000
        }
    }

    /// The type that needs no `a=rtpmap` (RFC 3551 §6).
    package var staticPayloadType: UInt8? {
        switch self {
        case .opus: nil
        case .pcmu: 0
        case .pcma: 8
        }
    }
}
