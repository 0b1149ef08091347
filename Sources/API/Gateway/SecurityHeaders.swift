// What browsers are told that they must not do with our answers.
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes

extension HTTPField.Name {
    static let contentTypeOptions = HTTPField.Name("X-Content-Type-Options") ?? .eTag
    static let referrerPolicy = HTTPField.Name("Referrer-Policy") ?? .eTag
    static let openerPolicy = HTTPField.Name("Cross-Origin-Opener-Policy") ?? .eTag
    static let transportSecurity = HTTPField.Name("Strict-Transport-Security") ?? .eTag
}

/// The headers of every answer.
enum SecurityHeaders {
    static func apply(to headers: inout HTTPFields, isSecure: Bool) {
        headers[.contentTypeOptions] = "nosniff"
        headers[.referrerPolicy] = "no-referrer"
        headers[.openerPolicy] = "same-origin"
        if headers[.contentSecurityPolicy] == nil {
            // Nothing but the page is a document: whatever else a browser shows can do nothing.
            headers[.contentSecurityPolicy] = "default-src 'none'; frame-ancestors 'none'"
        }
        if isSecure { headers[.transportSecurity] = "max-age=31536000" }
    }
}
