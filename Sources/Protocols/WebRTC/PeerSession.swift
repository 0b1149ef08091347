// One peer's session: ICE decides where packets go, DTLS makes the keys, SRTCP and SRTP use them.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import Primitives
package import RTP

/// Why a session ended.
package enum PeerEnd: Error, Hashable, Sendable {
    /// We ended it.
    case closed
    /// The peer said goodbye (close_notify).
    case left
    /// The peer never came.
    case neverCame
    /// The peer has been silent for too long.
    case vanished
    /// There is no DTLS association.
    case refused(DTLSFailure)
}

/// The transport of one WebRTC peer (RFC 8835 §3.4–3.5), without sockets.
///
/// Mutate, drain `pollOutput()`, call `advance(to:)` at `deadline`, repeat. Not Sendable: it belongs to
/// one event loop. Datagrams are told apart by their first byte (RFC 7983 §7).
package final class PeerSession {
    package enum Output {
        case send(ByteBuffer, to: TransportAddress)
        /// Packets go here from now on.
        case selected(TransportAddress)
        /// Media may flow.
        case connected(KeyingMaterial)
        case rtcp([RTCPPacket])
        /// One authentic packet of the peer's media, in the clear.
        case rtp(ByteBuffer)
        case ended(PeerEnd)
    }

    /// Datagrams passed over in silence, by reason.
    package struct Discards: Equatable, Sendable {
        package var ice: [ICEDiscard: UInt64] = [:]
        package var srtp: [SRTPError: UInt64] = [:]
        /// From an address that did not pass ICE, or before there were keys.
        package var unexpected: UInt64 = 0
        package var malformedReports: UInt64 = 0
    }

    private let identity: DTLSIdentity
    private let role: DTLSEndpoint.Role
    private let remoteFingerprint: Fingerprint
    private var ice: ICELiteAgent
    private var dtls: DTLSEndpoint?
    private var rtcpOpener: SRTCPOpener?
    private var rtcpSealer: SRTCPSealer?
    private var keys: KeyingMaterial?
    /// One for each of the peer's sources, in the order in which they spoke.
    private var mediaOpeners: [(ssrc: UInt32, opener: SRTPOpener)] = []
    private var outputs = CircularBuffer<Output>(initialCapacity: 4)
    private var counts = Discards()
    private var hasEnded = false
    private var handshakeBegan: Instant?
    /// From the first message of the DTLS handshake to its end: a round trip or more, with what the peer
    /// took for its keys.
    package private(set) var handshakeTime: Duration?

    private static let maxSources = 4

    /// - Parameter random: unpredictable; for transaction ids and the tie-breaker.
    package init(
        local: ICECredentials, remote: ICECredentials, remoteFingerprint: Fingerprint,
        identity: DTLSIdentity, isDTLSServer: Bool, at now: Instant,
        random: @escaping () -> UInt64
    ) {
        self.identity = identity
        self.remoteFingerprint = remoteFingerprint
        role = isDTLSServer ? .server : .client
        ice = ICELiteAgent(local: local, remote: remote, at: now, random: random)
    }

    /// Where packets go at present.
    package var address: TransportAddress? { ice.selected }
    package var isConnected: Bool { keys != nil && !hasEnded }
    /// The fragments that route a STUN message here.
    package var acceptedFragments: [String] { ice.acceptedFragments }
    package var deadline: Instant? {
        guard !hasEnded else { return nil }
        guard let handshake = dtls?.deadline else { return ice.deadline }
        return ice.deadline.map { min($0, handshake) } ?? handshake
    }

    package var discards: Discards {
        var all = counts
        all.ice = ice.discarded
        return all
    }

    /// Takes one datagram.
    package func receive(_ datagram: ByteBuffer, from address: TransportAddress, at now: Instant) {
        guard !hasEnded, let first = datagram.getInteger(at: datagram.readerIndex, as: UInt8.self)
        else { return }
        switch first {
        case 0...3:
            ice.receive(datagram, from: address, at: now)
            drainICE(at: now)
        case 20...63 where address == ice.selected:
            let began = handshakeBegan ?? now
            handshakeBegan = began
            dtls?.receive(datagram, at: now)
            drainDTLS()
            if keys != nil, handshakeTime == nil { handshakeTime = now - began }
        case 128...191 where address == ice.selected && keys != nil:
            receive(media: datagram, from: address, at: now)
        default:
            counts.unexpected &+= 1
        }
    }

    /// Says what time it is.
    package func advance(to now: Instant) {
        guard !hasEnded else { return }
        ice.advance(to: now)
        drainICE(at: now)
        guard !hasEnded else { return }
        dtls?.advance(to: now)
        drainDTLS()
    }

    /// New credentials (RFC 8445 §2.4); the old path works until the peer nominates with the new ones.
    package func restart(local: ICECredentials, remote: ICECredentials, at now: Instant) {
        ice.restart(local: local, remote: remote, at: now)
    }

    /// Seals a compound for the peer; nothing before the keys.
    package func send(_ packets: [RTCPPacket]) {
        guard let rtcpSealer, let address = ice.selected, !hasEnded,
            let sealed = rtcpSealer.seal(RTCPPacket.serialize(packets))
        else { return }
        outputs.append(.send(sealed, to: address))
    }

    /// Says goodbye and ends.
    package func close() {
        guard !hasEnded else { return }
        dtls?.close()
        drainDTLS()
        end(.closed)
    }

    package func pollOutput() -> Output? { outputs.popFirst() }

    // MARK: Inside

    private func drainICE(at now: Instant) {
        while let output = ice.pollOutput() {
            switch output {
            case .send(let bytes, let address):
                outputs.append(.send(bytes, to: address))
            case .selected(let address):
                outputs.append(.selected(address))
                if dtls == nil { beginHandshake(at: now) }
            case .consentLost:
                end(.vanished)
            case .timedOut:
                end(.neverCame)
            }
        }
    }

    /// Only now: nothing of the handshake, whose answers are larger than its questions, goes to an
    /// address that has not proved itself.
    private func beginHandshake(at now: Instant) {
        do throws(DTLSFailure) {
            dtls = try DTLSEndpoint(
                identity: identity, role: role, expects: remoteFingerprint, at: now)
            if role == .client { handshakeBegan = now }
            drainDTLS()
        } catch {
            end(.refused(error))
        }
    }

    private func drainDTLS() {
        while let output = dtls?.pollOutput() {
            switch output {
            case .send(let bytes):
                if let address = ice.selected { outputs.append(.send(bytes, to: address)) }
            case .connected(let material):
                connected(material)
            case .failed(let failure):
                end(.refused(failure))
            case .closed:
                end(.left)
            }
        }
    }

    private func connected(_ material: KeyingMaterial) {
        do throws(SRTPError) {
            rtcpOpener = try SRTCPOpener(profile: material.profile, keys: material.remote)
            rtcpSealer = try SRTCPSealer(profile: material.profile, keys: material.local)
            keys = material
            outputs.append(.connected(material))
        } catch {
            end(.refused(.unavailable))
        }
    }

    /// RTCP shares the port with RTP; its packet types leave payload types 64 to 95 unused (RFC 5761 §4).
    private func receive(
        media datagram: ByteBuffer, from address: TransportAddress, at now: Instant
    ) {
        let type = datagram.getInteger(at: datagram.readerIndex &+ 1, as: UInt8.self) ?? 0
        do throws(SRTPError) {
            if (192...223).contains(type) {
                guard let plain = try rtcpOpener?.open(datagram) else { return }
                ice.noteActivity(from: address, at: now)
                guard let packets = try? RTCPPacket.parse(compound: plain) else {
                    counts.malformedReports &+= 1
                    return
                }
                outputs.append(.rtcp(packets))
            } else {
                let plain = try open(media: datagram)
                ice.noteActivity(from: address, at: now)
                outputs.append(.rtp(plain))
            }
        } catch {
            counts.srtp[error, default: 0] &+= 1
        }
    }

    private func open(media datagram: ByteBuffer) throws(SRTPError) -> ByteBuffer {
        guard let keys,
            let ssrc = datagram.getInteger(at: datagram.readerIndex &+ 8, as: UInt32.self)
        else { throw .malformed }
        if let known = mediaOpeners.first(where: { $0.ssrc == ssrc }) {
            return try known.opener.open(datagram)
        }
        guard mediaOpeners.count < Self.maxSources else { throw .unknownSource }
        // A forged packet takes no place: the opener is kept once it has opened one.
        let opener = try SRTPOpener(profile: keys.profile, keys: keys.remote)
        let plain = try opener.open(datagram)
        mediaOpeners.append((ssrc, opener))
        return plain
    }

    private func end(_ reason: PeerEnd) {
        guard !hasEnded else { return }
        hasEnded = true
        outputs.append(.ended(reason))
    }
}
