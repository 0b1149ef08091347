// Who we are in DTLS: one key, one self-signed certificate, one OpenSSL context for each role.
// SPDX-License-Identifier: Apache-2.0

private import COpenSSL

/// The certificate of this process (RFC 8827 §6.5): made at start, shared by all sessions.
// SAFETY: the contexts are configured in `init` and never changed after; `SSL_new`, the only call
// that is made with them later, takes OpenSSL's own lock.
package final class DTLSIdentity: @unchecked Sendable {
    /// The SHA-256 hash of the certificate, for SDP.
    package let fingerprint: Fingerprint

    private let serverContext: OpaquePointer
    private let clientContext: OpaquePointer

    private static let maxCertificateBytes = 16_384
    /// Peers check the fingerprint, not the dates; clocks of browsers may be a day off.
    private static let validBeforeSeconds = -86_400
    private static let validForSeconds = 10 * 365 * 86_400

    /// Makes a P-256 key and a certificate; throws when OpenSSL is unable to. The SRTP profiles are
    /// those that we offer or choose from, best first.
    package init(profiles: [SRTPProfile] = [.aeadAES128GCM, .aes128CMHMACSHA1x80])
        throws(DTLSFailure)
    {
        ERR_clear_error()
        guard let key = copenssl_new_p256_key() else { throw .unavailable }
        defer { EVP_PKEY_free(key) }
        guard let certificate = X509_new() else { throw .unavailable }
        defer { X509_free(certificate) }
        guard Self.fill(certificate, with: key),
            let fingerprint = Self.fingerprint(of: certificate, algorithm: .sha256)
        else { throw .unavailable }
        guard let server = Self.context(DTLS_server_method(), certificate, key, profiles) else {
            throw .unavailable
        }
        guard let client = Self.context(DTLS_client_method(), certificate, key, profiles) else {
            SSL_CTX_free(server)
            throw .unavailable
        }
        self.fingerprint = fingerprint
        serverContext = server
        clientContext = client
    }

    deinit {
        SSL_CTX_free(serverContext)
        SSL_CTX_free(clientContext)
    }

    /// A new `SSL` of the role, owned by the caller.
    func newSession(_ role: DTLSEndpoint.Role) -> OpaquePointer? {
        SSL_new(role == .server ? serverContext : clientContext)
    }

    /// The hash of any certificate.
    static func fingerprint(of certificate: OpaquePointer, algorithm: Fingerprint.Algorithm)
        -> Fingerprint?
    {
        let function =
            switch algorithm {
            case .sha256: EVP_sha256()
            case .sha384: EVP_sha384()
            case .sha512: EVP_sha512()
            }
        var digest = [UInt8](repeating: 0, count: 64)
        var count: UInt32 = 0
        guard X509_digest(certificate, function, &digest, &count) == 1, count <= 64 else {
            return nil
        }
        return Fingerprint(algorithm: algorithm, bytes: Array(digest.prefix(Int(count))))
    }

    private static func fill(_ certificate: OpaquePointer, with key: OpaquePointer) -> Bool {
        var serial: UInt64 = 0
        let isRandom = withUnsafeMutableBytes(of: &serial) {
            RAND_bytes($0.baseAddress?.assumingMemoryBound(to: UInt8.self), 8) == 1
        }
        let name = X509_get_subject_name(certificate)
        return isRandom && X509_set_version(certificate, 2) == 1
            && ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) == 1
            && X509_gmtime_adj(X509_getm_notBefore(certificate), validBeforeSeconds) != nil
            && X509_gmtime_adj(X509_getm_notAfter(certificate), validForSeconds) != nil
            && X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_FLAG | 1, "marsad", -1, -1, 0) == 1
            && X509_set_issuer_name(certificate, name) == 1
            && X509_set_pubkey(certificate, key) == 1
            && X509_sign(certificate, key, EVP_sha256()) > 0
    }

    private static func context(
        _ method: OpaquePointer?, _ certificate: OpaquePointer, _ key: OpaquePointer,
        _ profiles: [SRTPProfile]
    ) -> OpaquePointer? {
        guard let context = SSL_CTX_new(method) else { return nil }
        copenssl_ctx_set_options(context)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
        SSL_CTX_set_cert_verify_callback(context, DTLSEndpoint.judgeCertificate, nil)
        let names = profiles.map { profile in
            switch profile {
            case .aeadAES128GCM: "SRTP_AEAD_AES_128_GCM"
            case .aes128CMHMACSHA1x80: "SRTP_AES128_CM_SHA1_80"
            }
        }
        guard copenssl_ctx_configure(context, maxCertificateBytes) == 1,
            SSL_CTX_use_certificate(context, certificate) == 1,
            SSL_CTX_use_PrivateKey(context, key) == 1,
            SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1,
            // Unlike the others, 0 is success.
            SSL_CTX_set_tlsext_use_srtp(context, names.joined(separator: ":")) == 0
        else {
            SSL_CTX_free(context)
            return nil
        }
        return context
    }
}
