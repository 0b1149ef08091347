// Events as JSON: those of an identity system, and those of the audit log.
// SPDX-License-Identifier: Apache-2.0

import JSON

extension JSONValue {
    /// As much as an event holds.
    init(parsingEvent bytes: [UInt8]) throws(JSONError) {
        try self.init(parsing: bytes, depth: Limits.eventDepth, count: Limits.eventValues)
    }
}
