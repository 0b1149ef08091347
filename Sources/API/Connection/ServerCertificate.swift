// The certificate that the server shows, read anew when its files change.
// SPDX-License-Identifier: Apache-2.0

package import Domain
import Foundation
package import Logging
import NIOSSL
package import Observability
import Primitives
import Synchronization

/// Why a certificate and its key cannot be used.
package struct ServerCertificateError: Error, CustomStringConvertible {
    package let description: String
}

/// A certificate chain and its private key in two PEM files. A pair that cannot be used never takes the
/// place of one that can: it is told to the log, and the old one goes on.
package final class ServerCertificate: Sendable {
    /// What of a file shows that it was written: a time alone may stay the same.
    private struct Stamp: Equatable {
        var inode: UInt64
        var size: UInt64
        var changedAt: Double
    }

    private struct State {
        var context: NIOSSLContext
        var loaded: [Stamp?]
        /// As they were when they were last looked at: a pair is two writes, and half of it is none.
        var seen: [Stamp?]
    }

    private let certificate: String
    private let key: String
    private let world: World
    private let logger: Logger
    private let expiry: Gauge
    private let state: Mutex<State>

    /// Reads both files.
    package init(
        certificate: String, key: String, world: World, registry: MetricsRegistry, logger: Logger
    ) throws(ServerCertificateError) {
        self.certificate = certificate
        self.key = key
        self.world = world
        self.logger = logger
        expiry = registry.gauge(
            "cctv_tls_certificate_expiry_timestamp_seconds",
            help: "When the server's certificate expires, in seconds since 1970.")
        let stamps = Self.stamps(certificate, key)
        let (context, expiresAt) = try Self.load(certificate, key)
        state = Mutex(State(context: context, loaded: stamps, seen: stamps))
        expiry.set(Double(expiresAt))
        if hasExpired(expiresAt) {
            logger.warning("the certificate has expired", metadata: ["event": "tls_expired"])
        }
        warnOfReaders()
    }

    /// What new connections are made with; those that there are keep theirs.
    var context: NIOSSLContext { state.withLock { $0.context } }

    /// Looks whether the files have changed, and takes them when both lie still; call every few seconds.
    package func advance() {
        let now = Self.stamps(certificate, key)
        let isDue = state.withLock { state in
            defer { state.seen = now }
            return now != state.loaded && now == state.seen
        }
        if isDue { reload() }
    }

    /// Reads both files now (SIGHUP).
    package func reload() {
        let stamps = Self.stamps(certificate, key)
        do throws(ServerCertificateError) {
            let (context, expiresAt) = try Self.load(certificate, key)
            guard !hasExpired(expiresAt) else {
                throw ServerCertificateError(description: "\(certificate): it has expired")
            }
            state.withLock { $0 = State(context: context, loaded: stamps, seen: stamps) }
            expiry.set(Double(expiresAt))
            logger.info("the certificate was read anew", metadata: ["event": "tls_reloaded"])
            warnOfReaders()
        } catch {
            // Not tried again before the files change again.
            state.withLock { $0.loaded = stamps }
            logger.error(
                "the new certificate is refused, the old one stays",
                metadata: ["event": "tls_refused", "error": "\(error)"])
        }
    }

    private static func load(
        _ certificate: String, _ key: String
    ) throws(ServerCertificateError) -> (NIOSSLContext, expiresAt: Int) {
        let chain: [NIOSSLCertificate]
        let privateKey: NIOSSLPrivateKey
        do {
            chain = try NIOSSLCertificate.fromPEMFile(certificate)
        } catch {
            throw ServerCertificateError(description: "\(certificate): no certificates in PEM form")
        }
        do {
            privateKey = try NIOSSLPrivateKey(file: key, format: .pem)
        } catch {
            throw ServerCertificateError(
                description: "\(key): no private key in PEM form without a password")
        }
        guard let first = chain.first else {
            throw ServerCertificateError(description: "\(certificate): it holds no certificate")
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(privateKey))
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = ["http/1.1"]
        // Of TLS 1.2: those with forward secrecy and authenticated encryption (RFC 9325 §4.2).
        configuration.cipherSuites = "ECDHE+AESGCM:ECDHE+CHACHA20"
        do {
            return (try NIOSSLContext(configuration: configuration), first.notValidAfter)
        } catch {
            throw ServerCertificateError(
                description: "\(key): it is not the key of \(certificate)")
        }
    }

    private func hasExpired(_ seconds: Int) -> Bool {
        seconds <= world.wallTime().microseconds / 1_000_000
    }

    private func warnOfReaders() {
        let attributes = try? FileManager.default.attributesOfItem(atPath: key)
        guard let mode = attributes?[.posixPermissions] as? Int, mode & 0o007 != 0 else { return }
        logger.warning(
            "every account of this machine can read the private key",
            metadata: ["event": "tls_key_readable", "path": "\(key)"])
    }

    private static func stamps(_ paths: String...) -> [Stamp?] {
        paths.map { path in
            // Where the path is a link, as renewal programs make them, the file that it leads to.
            let file = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
            guard let attributes = try? FileManager.default.attributesOfItem(atPath: file) else {
                return nil
            }
            return Stamp(
                inode: (attributes[.systemFileNumber] as? NSNumber)?.uint64Value ?? 0,
                size: (attributes[.size] as? NSNumber)?.uint64Value ?? 0,
                changedAt: (attributes[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0)
        }
    }
}
