// The JSON of tokens and key sets.
// SPDX-License-Identifier: Apache-2.0

import JSON

extension JSONValue {
    private static let signedDepth = 8
    private static let signedValues = 4096

    /// As much as a part of a token, or a key set, holds.
    init(parsingSigned bytes: [UInt8]) throws(JOSEError) {
        do throws(JSONError) {
            try self.init(parsing: bytes, depth: Self.signedDepth, count: Self.signedValues)
        } catch {
            throw JOSEError(error)
        }
    }
}
