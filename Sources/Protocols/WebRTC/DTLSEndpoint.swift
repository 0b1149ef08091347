// One DTLS 1.2 association over memory BIOs: bytes in, datagrams and SRTP keys out.
// SPDX-License-Identifier: Apache-2.0

private import COpenSSL
package import NIOCore
package import Primitives

/// Why there is no DTLS association (any more).
package enum DTLSFailure: Error, Hashable, Sendable {
    /// The peer's certificate is not the one that its SDP announced.
    case fingerprintMismatch
    /// The peer knows no SRTP, or no profile of ours.
    case noCommonProfile
    /// The peer sent a fatal alert (RFC 5246 §7.2).
    case alert(UInt8)
    /// What the peer sent is no DTLS that we accept; the number is OpenSSL's reason.
    case violation(reason: Int32)
    /// The handshake took longer than `DTLSEndpoint.handshakeTimeout`.
    case timedOut
    /// OpenSSL could not make a key, a context or a session.
    case unavailable
}

/// One end of a DTLS-SRTP association (RFC 5763, RFC 5764, RFC 6347). Not Sendable: it belongs to
/// the event loop of its session, and to its session whatever the peer's address is.
///
/// OpenSSL's own retransmission timer reads the clock of the system, so it is not used: the timer
/// callback tells OpenSSL that time is always up, which makes it write every flight several times,
/// each with fresh record numbers. The copies are kept here and sent when `now` says so.
package final class DTLSEndpoint {
    package enum Role: Sendable {
        case server
        case client
    }

    package enum Output: Equatable, Sendable {
        /// One datagram for the peer: whole records, at most `maxDatagramBytes`.
        case send(ByteBuffer)
        case connected(KeyingMaterial)
        /// The end: there are no keys, or they are to be used no longer.
        case failed(DTLSFailure)
        /// The end: the peer sent close_notify.
        case closed
    }

    private enum State {
        /// Nothing was received or sent.
        case idle
        case handshaking(deadline: Instant)
        case connected
        case ended
    }

    /// Fits every path that IPv6 and its tunnels know.
    package static let maxDatagramBytes = 1200
    /// A datagram above this is no handshake of WebRTC.
    package static let maxReceivedBytes = 8192
    /// From the first datagram to the end of the handshake.
    package static let handshakeTimeout = Duration.seconds(10)
    /// The first retransmission; it doubles each time (RFC 6347 §4.2.4.1, and shorter than its one
    /// second, as browsers do).
    package static let firstRetransmission = Duration.milliseconds(100)
    /// 100 ms doubled six times ends after 6.3 s. OpenSSL gives up after twelve.
    private static let maxRetransmissions = 6
    /// An hour: longer than any handshake, so OpenSSL's timer never runs out by itself.
    private static let neverMicroseconds: UInt32 = 3_600_000_000
    private static let recordHeaderBytes = 13

    private let role: Role
    private let expected: Fingerprint
    /// Keeps the certificate and key alive.
    private let identity: DTLSIdentity
    private let ssl: OpaquePointer
    /// Owned by `ssl`.
    private let input: OpaquePointer
    /// Owned by `ssl`.
    private let output: OpaquePointer

    private var state = State.idle
    private var outputs = CircularBuffer<Output>(initialCapacity: 4)
    private var isImpostor = false
    /// Where the copies of the newest flight begin in what OpenSSL has written.
    private var copyMarks: [Int] = []
    /// The copies of the newest flight, until the peer answers it.
    private var copies = CircularBuffer<ByteBuffer>(initialCapacity: 0)
    private var retransmission: (at: Instant, wait: Duration)?

    /// A client's first flight is ready at once; a server waits for the peer.
    package init(
        identity: DTLSIdentity, role: Role, expects expected: Fingerprint, at now: Instant
    ) throws(DTLSFailure) {
        guard let ssl = identity.newSession(role) else { throw .unavailable }
        guard let input = BIO_new(BIO_s_mem()) else {
            SSL_free(ssl)
            throw .unavailable
        }
        guard let output = BIO_new(BIO_s_mem()) else {
            BIO_free(input)
            SSL_free(ssl)
            throw .unavailable
        }
        copenssl_bio_never_ends(input)
        copenssl_bio_never_ends(output)
        SSL_set_bio(ssl, input, output)
        _ = copenssl_ssl_set_mtu(ssl, Self.maxDatagramBytes)
        self.identity = identity
        self.role = role
        self.expected = expected
        self.ssl = ssl
        self.input = input
        self.output = output
        SSL_set_ex_data(ssl, 0, Unmanaged.passUnretained(self).toOpaque())
        DTLS_set_timer_cb(ssl) { ssl, previous in
            DTLSEndpoint.owner(of: ssl)?.timerCallback(previous: previous)
                ?? DTLSEndpoint.neverMicroseconds
        }
        switch role {
        case .server:
            SSL_set_accept_state(ssl)
        case .client:
            SSL_set_connect_state(ssl)
            state = .handshaking(deadline: now + Self.handshakeTimeout)
            proceed(at: now)
        }
    }

    deinit { SSL_free(ssl) }

    /// Takes one datagram whose first byte says DTLS (20…63, RFC 7983 §7); others are ignored.
    package func receive(_ datagram: ByteBuffer, at now: Instant) {
        guard let first = datagram.getInteger(at: datagram.readerIndex, as: UInt8.self),
            20...63 ~= first, datagram.readableBytes <= Self.maxReceivedBytes
        else { return }
        switch state {
        case .ended:
            return
        case .idle:
            state = .handshaking(deadline: now + Self.handshakeTimeout)
        case .handshaking, .connected:
            break
        }
        // A memory BIO is a stream: each datagram must be read before the next is written.
        let written = datagram.withUnsafeReadableBytes {
            BIO_write(input, $0.baseAddress, Int32($0.count))
        }
        guard written == datagram.readableBytes else { return end(.failed(.unavailable)) }
        proceed(at: now)
    }

    /// Sends what is due; ends a handshake that takes too long.
    package func advance(to now: Instant) {
        guard case .handshaking(let deadline) = state else { return }
        guard now < deadline else { return end(.failed(.timedOut)) }
        while let due = retransmission, due.at <= now {
            guard let copy = copies.popFirst() else {
                retransmission = nil
                return
            }
            send(copy)
            // From now and not from when it was due: a late call must not send two copies at once.
            retransmission = (now + due.wait * 2, due.wait * 2)
        }
    }

    /// Tells the peer that this is the end. Nothing comes after it but what is already queued.
    package func close() {
        if case .connected = state {
            ERR_clear_error()
            SSL_shutdown(ssl)
            drain()
        }
        finish()
    }

    /// What to do, in order; nil when there is nothing.
    package func pollOutput() -> Output? { outputs.popFirst() }

    /// When `advance(to:)` has something to do.
    package var deadline: Instant? {
        guard case .handshaking(let deadline) = state else { return nil }
        return retransmission.map { min($0.at, deadline) } ?? deadline
    }

    // MARK: The handshake

    private func proceed(at now: Instant) {
        ERR_clear_error()
        switch state {
        case .handshaking:
            shakeHands(at: now)
        case .connected:
            readRecords()
        case .idle, .ended:
            break
        }
    }

    private func shakeHands(at now: Instant) {
        let result = SSL_do_handshake(ssl)
        let error = result == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl, result)
        let hasNewFlight = !copyMarks.isEmpty
        drain()
        if hasNewFlight {
            let wait = Self.firstRetransmission
            retransmission = (now + wait, wait)
        }
        switch error {
        case SSL_ERROR_NONE:
            guard let keys = exportKeys() else { return end(.failed(.noCommonProfile)) }
            state = .connected
            stopRetransmission()
            outputs.append(.connected(keys))
            // The datagram may hold more than the end of the handshake.
            readRecords()
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE:
            break
        default:
            end(.failed(failure()))
        }
    }

    /// Reads what follows the handshake: alerts, repeated flights (which OpenSSL answers), and
    /// application data, which WebRTC without data channels has no use for.
    private func readRecords() {
        // A datagram holds a bounded number of records of at least their header's size.
        for _ in 0..<(Self.maxReceivedBytes / Self.recordHeaderBytes) {
            ERR_clear_error()
            let count = withUnsafeTemporaryAllocation(byteCount: 2048, alignment: 1) {
                SSL_read(ssl, $0.baseAddress, Int32($0.count))
            }
            if count > 0 { continue }
            let error = SSL_get_error(ssl, count)
            drain()
            switch error {
            case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE:
                return
            case SSL_ERROR_ZERO_RETURN:
                close()
                outputs.append(.closed)
            default:
                end(.failed(failure()))
            }
            return
        }
    }

    private func exportKeys() -> KeyingMaterial? {
        guard let selected = SSL_get_selected_srtp_profile(ssl),
            let profile = SRTPProfile(rawValue: UInt16(truncatingIfNeeded: selected.pointee.id))
        else { return nil }
        let label = "EXTRACTOR-dtls_srtp"
        var bytes = [UInt8](repeating: 0, count: 2 * (profile.keyBytes + profile.saltBytes))
        let result = SSL_export_keying_material(
            ssl, &bytes, bytes.count, label, label.utf8.count, nil, 0, 0)
        guard result == 1 else { return nil }
        return KeyingMaterial(
            profile: profile, exported: Redacted(bytes), isClient: role == .client)
    }

    private func failure() -> DTLSFailure {
        if isImpostor { return .fingerprintMismatch }
        let reason = copenssl_error_reason(ERR_peek_error())
        // Alerts of the peer are numbered from SSL_AD_REASON_OFFSET.
        if let alert = UInt8(exactly: reason - SSL_AD_REASON_OFFSET) { return .alert(alert) }
        return .violation(reason: reason)
    }

    private func end(_ last: Output) {
        finish()
        outputs.append(last)
    }

    private func finish() {
        state = .ended
        stopRetransmission()
    }

    private func stopRetransmission() {
        retransmission = nil
        copies.removeAll()
    }

    // MARK: What OpenSSL calls

    /// The endpoint whose session calls back; it is in one of its own methods at that time.
    private static func owner(of ssl: OpaquePointer?) -> DTLSEndpoint? {
        guard let ssl, let pointer = SSL_get_ex_data(ssl, 0) else { return nil }
        return Unmanaged<DTLSEndpoint>.fromOpaque(pointer).takeUnretainedValue()
    }

    /// Called with 0 when a flight begins, and with our last answer when its time was up. The
    /// answer is how long to wait, in microseconds.
    private func timerCallback(previous: UInt32) -> UInt32 {
        if previous == 0 {
            copyMarks.removeAll()
            stopRetransmission()
            return 1
        }
        guard copyMarks.count < Self.maxRetransmissions else { return Self.neverMicroseconds }
        copyMarks.append(BIO_ctrl_pending(output))
        return copyMarks.count < Self.maxRetransmissions ? 1 : Self.neverMicroseconds
    }

    /// Judges the peer's certificate by its fingerprint alone (RFC 5763 §5); the handshake goes on
    /// to check that the peer has its key.
    static let judgeCertificate:
        @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Int32 = { store, _ in
            guard let store,
                let session = X509_STORE_CTX_get_ex_data(
                    store, SSL_get_ex_data_X509_STORE_CTX_idx()),
                let endpoint = owner(of: OpaquePointer(session)),
                let certificate = X509_STORE_CTX_get0_cert(store)
            else { return 0 }
            let expected = endpoint.expected
            let found = DTLSIdentity.fingerprint(of: certificate, algorithm: expected.algorithm)
            if found == expected { return 1 }
            endpoint.isImpostor = true
            X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED)
            return 0
        }

    // MARK: What OpenSSL wrote

    /// Sends what was written up to the first copy of a flight and keeps the copies.
    private func drain() {
        let pending = BIO_ctrl_pending(output)
        let marks = copyMarks
        copyMarks.removeAll()
        guard pending > 0 else { return }
        var written = ByteBufferAllocator().buffer(capacity: pending)
        _ = written.writeWithUnsafeMutableBytes(minimumWritableBytes: pending) {
            max(0, Int(BIO_read(output, $0.baseAddress, Int32(truncatingIfNeeded: pending))))
        }
        let bounds = [0] + marks + [written.readableBytes]
        for (index, pair) in zip(bounds, bounds.dropFirst()).enumerated() {
            guard let part = written.getSlice(at: pair.0, length: pair.1 - pair.0) else { continue }
            if index == 0 { send(part) } else { copies.append(part) }
        }
    }

    /// Packs whole records into datagrams; a memory BIO forgets where they ended.
    private func send(_ written: ByteBuffer) {
        var rest = written
        var packed = 0
        while true {
            let length = rest.getInteger(at: rest.readerIndex + packed + 11, as: UInt16.self)
            let record = length.map { Self.recordHeaderBytes + Int($0) } ?? 0
            let isLast = length == nil || packed + record > rest.readableBytes
            if packed > 0, isLast || packed + record > Self.maxDatagramBytes {
                if let datagram = rest.readSlice(length: packed) { outputs.append(.send(datagram)) }
                packed = 0
            } else {
                packed += record
            }
            if isLast { return }
        }
    }
}
