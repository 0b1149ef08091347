// What of a name from outside is said back.
// SPDX-License-Identifier: Apache-2.0

import Primitives
import Testing

@Suite struct ShownNameTests {
    @Test(
        "a name is said back as it is", arguments: ["quallity", "http.prot", "camera_id", "If-M"])
    func names(_ name: String) {
        #expect(ShownName(name).description == name)
    }

    @Test(
        "what cannot be a name is not",
        arguments: [
            "", "Tr0ub4dor", "p@ss", "two words", "ö", "a=b", String(repeating: "a", count: 49),
        ])
    func others(_ text: String) {
        #expect(ShownName(text).description == "•••")
    }
}
