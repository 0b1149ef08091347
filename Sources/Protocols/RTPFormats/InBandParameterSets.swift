// The parameter sets that come between pictures, until a picture puts them in force.
// SPDX-License-Identifier: Apache-2.0

import H26x
import NIOCore

/// Parameter sets met since the last picture.
struct InBandParameterSets: Sendable {
    private let codec: Codec
    private var vps: ByteBuffer?
    private var sps: ByteBuffer?
    /// Those of pictures by their id.
    private var pictureSets: [Int: ByteBuffer] = [:]

    init(codec: Codec) { self.codec = codec }

    /// Takes note of a NAL unit of this kind, where it is a parameter set. It is copied: a slice would
    /// keep the received chunk alive.
    mutating func note(_ nalUnit: ByteBuffer, _ kind: Codec.NALUnitKind) {
        switch kind {
        case .videoParameterSet:
            vps = ByteBuffer(bytes: nalUnit.readableBytesView)
        case .sequenceParameterSet:
            sps = ByteBuffer(bytes: nalUnit.readableBytesView)
        case .pictureParameterSet:
            // One whose id is unreadable serves no picture.
            guard nalUnit.readableBytesView.first.map({ $0 & 0x80 == 0 }) ?? false,
                let id = codec.pictureParameterSetID(of: nalUnit)
            else { return }
            pictureSets[id] = ByteBuffer(bytes: nalUnit.readableBytesView)
        case .slice, .randomAccessSlice, .slicePartition, .delimiter, .sei, .other:
            break
        }
    }

    /// The sets now in force, each in the place of the one with its id; `nil` where nothing changes.
    mutating func taken(over known: ParameterSets?) -> ParameterSets? {
        guard vps != nil || sps != nil || !pictureSets.isEmpty else { return nil }
        // At the beginning the kinds may come in different units, and wait for each other.
        guard let sps = sps ?? known?.sps, known != nil || !pictureSets.isEmpty else { return nil }
        let vps = vps ?? known?.vps
        guard codec == .h264 || vps != nil else { return nil }
        let new = Array(pictureSets.values)
        self = InBandParameterSets(codec: codec)
        var kept: [ByteBuffer] = []
        if let known, sps == known.sps, vps == known.vps {
            // Most units only repeat what is known.
            if new.allSatisfy(known.pictureParameterSets.contains) { return nil }
            kept = known.pictureParameterSets
        } else if let known, new.isEmpty {
            // New sets above alone; those that come with others leave behind what they did not bring.
            kept = known.pictureParameterSets
        }
        // Sets that do not parse leave the old ones in force; the bytes stay in the unit.
        return try? ParameterSets(vps: vps, sps: sps, pictureParameterSets: kept + new)
    }
}
