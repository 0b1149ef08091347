// Why a request to another service failed.
// SPDX-License-Identifier: Apache-2.0

/// A failed request. Nothing of it is text of the other side.
package enum OutboundError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file of authorities holds no certificate.
    case authorities
    case unknownName
    /// The name leads to where requests do not go (`OutboundPolicy`).
    case refusedAddress
    case timeout
    case connection
    /// TLS failed: mostly a certificate that is not the name's, or of no known authority.
    case certificate
    case status(Int)
    case tooLarge

    /// The same in one word, for metrics.
    package var label: String {
        switch self {
        case .authorities: "authorities"
        case .unknownName: "unknown_name"
        case .refusedAddress: "refused_address"
        case .timeout: "timeout"
        case .connection: "connection"
        case .certificate: "certificate"
        case .status: "status"
        case .tooLarge: "too_large"
        }
    }

    package var description: String {
        switch self {
        case .authorities: "no certificates in PEM form"
        case .unknownName: "the name has no address"
        case .refusedAddress: "the address is refused; outbound.networks may name it"
        case .timeout: "no answer in time"
        case .connection: "the connection failed"
        case .certificate: "TLS failed, or the certificate is not trusted for this name"
        case .status(let status): "the answer has status \(status)"
        case .tooLarge: "the answer is too large"
        }
    }
}
