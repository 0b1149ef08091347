// The server's certificate: where it comes from, and when it is read anew.
// SPDX-License-Identifier: Apache-2.0

import API
import Domain
import Logging
import Observability
import UnixSignals

extension Installation {
    /// `nil` where none is configured. A pair that cannot be used ends the program with 2.
    static func certificate(
        _ configuration: Configuration, _ world: World, _ registry: MetricsRegistry,
        _ logger: Logger
    ) throws -> ServerCertificate? {
        guard configuration.isSecure else { return nil }
        do throws(ServerCertificateError) {
            return try ServerCertificate(
                certificate: configuration.text("tls.certificate"),
                key: configuration.text("tls.key"), world: world, registry: registry,
                logger: logger)
        } catch {
            throw ConfigurationError(description: "tls: \(error)")
        }
    }

    /// Takes what a renewal wrote, within four seconds.
    func followCertificate() async {
        guard let certificate else { return }
        while !Task.isCancelled {
            certificate.advance()
            do { try await Task.sleep(for: .seconds(2)) } catch { return }
        }
    }

    /// Reads at SIGHUP what can be read anew while the server runs. Without such a thing the signal is
    /// what it always is: the terminal is gone.
    func followSignals() async {
        guard let certificate else { return }
        for await _ in await UnixSignalsSequence(trapping: .sighup) {
            logger.info("asked to read anew", metadata: ["event": "reload"])
            certificate.reload()
        }
    }
}
