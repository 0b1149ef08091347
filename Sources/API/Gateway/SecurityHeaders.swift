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
    /// Made once: each name and value is checked when a field is made.
    private static let always = [
        HTTPField(name: .contentTypeOptions, value: "nosniff"),
        HTTPField(name: .referrerPolicy, value: "no-referrer"),
        HTTPField(name: .openerPolicy, value: "same-origin"),
    ]
    /// Nothing but the page is a document: whatever else a browser shows can do nothing.
    private static let noDocument = HTTPField(
        name: .contentSecurityPolicy, value: "default-src 'none'; frame-ancestors 'none'")
    private static let secure = HTTPField(name: .transportSecurity, value: "max-age=31536000")

    /// - Parameter headers: none of these is in them, but for the page's policy.
    static func apply(to headers: inout HTTPFields, isSecure: Bool) {
        for field in always { headers.append(field) }
        if !headers.contains(.contentSecurityPolicy) { headers.append(noDocument) }
        if isSecure { headers.append(secure) }
    }
}
