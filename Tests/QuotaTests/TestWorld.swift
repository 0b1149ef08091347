// Names for what the tests count.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Quota
import Testing

/// The code of what a call throws, or `nil` when it went well.
func code(_ work: () async throws -> Void) async -> MarsadError.Code? {
    do {
        try await work()
        return nil
    } catch {
        return (error as? MarsadError)?.code
    }
}

func source(_ name: String) throws -> Source { try #require(Source(name)) }

func camera(_ number: Int) throws -> CameraID {
    let digits = String(number)
    let text =
        "00000000-0000-4000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
    return try #require(CameraID(text))
}
