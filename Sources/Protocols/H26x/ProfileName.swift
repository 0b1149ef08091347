// Profiles and slices in the words that people know them by.
// SPDX-License-Identifier: Apache-2.0

import NIOCore

extension SequenceParameterSet {
    /// The profile's name, such as `High` (H.264 annex A) or `Main 10` (H.265 annex A); its number where
    /// it has no common name.
    package var profileName: String {
        switch self {
        case .h264(let set):
            switch set.profileIndication {
            case 66: set.constraintFlags & 0x40 != 0 ? "Constrained Baseline" : "Baseline"
            case 77: "Main"
            case 88: "Extended"
            case 100: "High"
            case 110: "High 10"
            case 122: "High 4:2:2"
            case 244: "High 4:4:4 Predictive"
            default: "profile \(set.profileIndication)"
            }
        case .h265(let set):
            switch set.profile.indication {
            case 1: "Main"
            case 2: "Main 10"
            case 3: "Main Still Picture"
            default: "profile \(set.profile.indication)"
            }
        }
    }
}

extension AccessUnit {
    /// Whether a slice of it is predicted from two pictures (H.264 §7.4.3, `slice_type`). An H.265
    /// picture does not say so without its parameter sets; those say how pictures are reordered.
    package var hasBSliceOfH264: Bool {
        nalUnits().contains { unit in
            guard let header = unit.readableBytesView.first,
                [1, 5].contains(header & 0x1F)
            else { return false }
            // Two Exp-Golomb codes of at most 63 bits each, and the bytes that escape them.
            var reader = BitReader(RBSP.unescape(unit.readableBytesView.dropFirst().prefix(24)))
            guard (try? reader.unsigned()) != nil, let type = try? reader.unsigned() else {
                return false
            }
            return type % 5 == 1
        }
    }
}
