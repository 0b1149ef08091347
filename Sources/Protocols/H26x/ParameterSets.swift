// The parameter sets a decoder needs before the first picture.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore

/// One sequence parameter set and the picture parameter sets that belong to it; in H.265 also the video
/// parameter set above them.
///
/// Pictures name their picture parameter set by its id, and some encoders use several in turn: all of
/// them count, so that a stream that alternates them stays one stream.
package struct ParameterSets: Hashable, Sendable {
    /// The video parameter set as a NAL unit; H.264 has none.
    package let vps: ByteBuffer?
    /// The sequence parameter set as a NAL unit.
    package let sps: ByteBuffer
    /// The picture parameter sets as NAL units, one for each id, by rising id; never empty.
    package let pictureParameterSets: [ByteBuffer]
    /// What the sequence parameter set says.
    package let sequence: SequenceParameterSet

    /// `avcC` counts picture parameter sets in 8 bits.
    private static let maxPictureParameterSets = 255

    package var codec: Codec { sequence.codec }

    /// The picture parameter set with the lowest id.
    package var pps: ByteBuffer { pictureParameterSets[0] }

    /// All sets in the order in which they go before a picture.
    package var inBand: [ByteBuffer] { (vps.map { [$0] } ?? []) + [sps] + pictureParameterSets }

    /// Takes two NAL units of H.264, header bytes included. They are copied: a slice would keep the
    /// whole network read alive for as long as the camera is connected.
    package init(sps: ByteBuffer, pps: ByteBuffer) throws(H26xError) {
        try self.init(sps: sps, pictureParameterSets: [pps])
    }

    /// Takes NAL units, header bytes included; of picture parameter sets with one id the last counts.
    /// - Parameter vps: with it the sets are of H.265.
    package init(
        vps: ByteBuffer? = nil, sps: ByteBuffer, pictureParameterSets all: [ByteBuffer]
    ) throws(H26xError) {
        let codec: Codec = vps == nil ? .h264 : .h265
        if let vps { try Self.check(vps, is: .videoParameterSet, codec) }
        sequence = try SequenceParameterSet(parsing: sps, codec)
        var byID: [Int: ByteBuffer] = [:]
        for pps in all {
            try Self.check(pps, is: .pictureParameterSet, codec)
            // One whose id is unreadable is of no use beside others, and must not cost the stream.
            byID[codec.pictureParameterSetID(of: pps) ?? 0] = pps
        }
        guard !byID.isEmpty else { throw .truncated(offset: 0) }
        let bytes = byID.values.reduce(vps?.readableBytes ?? 0) { $0 + $1.readableBytes }
        guard byID.count <= Self.maxPictureParameterSets, bytes <= Limits.maxParameterSetBytes
        else { throw .invalidValue(field: "parameter sets' size", offset: 0) }
        self.vps = vps.map { ByteBuffer(bytes: $0.readableBytesView) }
        self.sps = ByteBuffer(bytes: sps.readableBytesView)
        pictureParameterSets = byID.sorted { $0.key < $1.key }
            .map { ByteBuffer(bytes: $0.value.readableBytesView) }
    }

    /// Finds the sets of a codec among NAL units in any order; the first of those that there can be
    /// one of. Throws where one is missing.
    package init(among nalUnits: [ByteBuffer], _ codec: Codec) throws(H26xError) {
        func all(_ kind: Codec.NALUnitKind) -> [ByteBuffer] {
            nalUnits.filter { codec.kind(of: $0) == kind }
        }
        guard let sps = all(.sequenceParameterSet).first else { throw .truncated(offset: 0) }
        switch codec {
        case .h264:
            try self.init(sps: sps, pictureParameterSets: all(.pictureParameterSet))
        case .h265:
            guard let vps = all(.videoParameterSet).first else { throw .truncated(offset: 0) }
            try self.init(vps: vps, sps: sps, pictureParameterSets: all(.pictureParameterSet))
        }
    }

    static func check(
        _ nalUnit: ByteBuffer, is kind: Codec.NALUnitKind, _ codec: Codec
    ) throws(H26xError) {
        guard let header = nalUnit.readableBytesView.first else { throw .truncated(offset: 0) }
        guard codec.kind(header: header) == kind, header & 0x80 == 0 else {
            let type = codec == .h264 ? header & 0x1F : header >> 1 & 0x3F
            throw .unexpectedNALUnit(type: type, offset: 0)
        }
        guard nalUnit.readableBytes > codec.headerBytes else {
            throw .truncated(offset: nalUnit.readableBytes)
        }
    }
}
