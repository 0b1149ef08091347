// One WHEP viewer without sockets: offer and answer, ICE, DTLS, SRTP, and what arrives.
// SPDX-License-Identifier: Apache-2.0

package import NIOCore
package import Primitives
import RTP
package import WebRTC

/// A viewer of one camera that checks all it receives. Not Sendable: it belongs to one event loop.
///
/// Mutate, drain `pollOutput()`, call `advance(to:)` at `deadline`, repeat.
package final class LiveViewer {
    package struct Settings: Sendable {
        /// Share of the media packets that are thrown away, 0…1.
        package var loss = 0.0
        /// Whether frames are built and compared with their checksums.
        package var checksFrames = false
        package var seed: UInt64 = 0
        /// Which of the server's addresses can be reached from this socket.
        package var usesIPv6 = false

        package init() {}
    }

    /// Why a viewer has ended without having been told to.
    package enum Failure: Error, Hashable, Sendable {
        case answer(String)
        case noCandidate
        case ice
        case dtls(DTLSFailure)
        case srtp(SRTPError)
        case closedByServer
    }

    package enum Output {
        case send(ByteBuffer, to: TransportAddress)
        case failed(Failure)
    }

    /// When the steps of the join were done.
    package struct Milestones: Sendable {
        package var answered: Instant?
        package var selected: Instant?
        package var connected: Instant?
        package var firstPacket: Instant?
        package var firstFrame: Instant?
    }

    private struct Media {
        let opener: SRTPOpener
        let resendOpener: SRTPOpener
        let reportOpener: SRTCPOpener
        let reportSealer: SRTCPSealer
    }

    /// Time between two receiver reports.
    package static let reportInterval = Duration.seconds(1)

    package private(set) var milestones = Milestones()
    /// Set with the first failure; nothing is done after it.
    package private(set) var failure: Failure?
    /// When `advance(to:)` has something to do.
    package private(set) var deadline: Instant
    package var wholeFrames: Int { watch.wholeFrames }

    private let settings: Settings
    private let identity: DTLSIdentity
    private let tally: SharedTally
    private let random: () -> UInt64
    private let credentials: ICECredentials
    private let ownSSRC: SSRC
    private var lossSource: SeededRandom
    private let lossLimit: UInt64

    private var answer: RemoteAnswer?
    private var ice: ICEClientAgent?
    private var dtls: DTLSEndpoint?
    private var media: Media?
    private var hasLeft = false

    private var receiver = Receiver()
    private var order = PacketOrder()
    private var watch = FrameWatch()
    private var check: FrameCheck?
    private var nextReport: Instant?
    private var outputs = CircularBuffer<Output>(initialCapacity: 4)

    private static let never = Instant(nanoseconds: .max)

    /// - Parameter random: must be unpredictable.
    package init(
        _ settings: Settings, identity: DTLSIdentity, tally: SharedTally,
        random: @escaping () -> UInt64
    ) {
        self.settings = settings
        self.identity = identity
        self.tally = tally
        self.random = random
        credentials = ICECredentials(random: random)
        ownSSRC = SSRC(rawValue: UInt32(truncatingIfNeeded: random()))
        lossSource = SeededRandom(seed: settings.seed)
        lossLimit = UInt64(min(max(settings.loss, 0), 1) * 0x1p32)
        if settings.checksFrames { check = FrameCheck() }
        deadline = Self.never
    }

    /// The SDP to post.
    package func offer() -> ByteBuffer {
        ClientOffer(ice: credentials, fingerprint: identity.fingerprint).serialize()
    }

    /// Takes the server's answer and begins to connect.
    package func accept(answer text: ByteBuffer, at now: Instant) {
        milestones.answered = now
        let answer: RemoteAnswer
        do throws(OfferError) {
            answer = try RemoteAnswer(parsing: text)
        } catch {
            return fail(.answer("\(error)"))
        }
        guard answer.direction.sends else { return fail(.answer("it sends nothing")) }
        let candidates = answer.candidates
            .filter {
                $0.address.transport == .udp && $0.address.isIPv6 == settings.usesIPv6
            }
            .sorted { $0.priority > $1.priority }
        guard !candidates.isEmpty else { return fail(.noCandidate) }
        self.answer = answer
        ice = ICEClientAgent(
            local: credentials, remote: answer.ice, candidates: candidates.map(\.address),
            at: now, random: random)
        advance(to: now)
    }

    /// Takes one datagram of the server.
    package func receive(
        _ datagram: ByteBuffer, from address: TransportAddress, at now: Instant,
        wallTime: WallTime
    ) {
        guard failure == nil, !hasLeft,
            let first = datagram.getInteger(at: datagram.readerIndex, as: UInt8.self)
        else { return }
        switch first {
        case 128...191:
            receive(protected: datagram, at: now, wallTime: wallTime)
        case 20...63:
            dtls?.receive(datagram, at: now)
            drainDTLS(at: now)
            schedule()
        case 0...3:
            ice?.receive(datagram, from: address, at: now)
            drainICE(at: now)
            schedule()
        default:
            tally.counts.refused += 1
        }
    }

    /// Does what is due.
    package func advance(to now: Instant, wallTime: WallTime = WallTime(microseconds: 0)) {
        guard failure == nil, !hasLeft else { return }
        ice?.advance(to: now)
        drainICE(at: now)
        dtls?.advance(to: now)
        drainDTLS(at: now)
        if let due = order.deadline, due <= now { recover(at: now, wallTime: wallTime) }
        if let due = nextReport, due <= now {
            nextReport = now + Self.reportInterval
            report(at: now)
        }
        schedule()
    }

    /// Says goodbye; nothing is sent or counted after it.
    package func leave() {
        dtls?.close()
        while let output = dtls?.pollOutput() {
            if case .send(let bytes) = output { send(bytes) }
        }
        hasLeft = true
        deadline = Self.never
    }

    /// What to do, in order.
    package func pollOutput() -> Output? { outputs.popFirst() }

    // MARK: Connecting

    private func drainICE(at now: Instant) {
        while let output = ice?.pollOutput() {
            switch output {
            case .send(let bytes, let address):
                outputs.append(.send(bytes, to: address))
            case .selected:
                milestones.selected = now
                shakeHands(at: now)
            case .failed:
                fail(.ice)
            }
        }
    }

    private func shakeHands(at now: Instant) {
        guard dtls == nil, let answer else { return }
        do throws(DTLSFailure) {
            dtls = try DTLSEndpoint(
                identity: identity, role: answer.isDTLSClient ? .client : .server,
                expects: answer.fingerprint, at: now)
        } catch {
            return fail(.dtls(error))
        }
        drainDTLS(at: now)
    }

    private func drainDTLS(at now: Instant) {
        while let output = dtls?.pollOutput() {
            switch output {
            case .send(let bytes):
                send(bytes)
            case .connected(let keys):
                milestones.connected = now
                begin(with: keys, at: now)
            case .failed(let failure):
                fail(.dtls(failure))
            case .closed:
                fail(.closedByServer)
            }
        }
    }

    private func begin(with keys: KeyingMaterial, at now: Instant) {
        do throws(SRTPError) {
            media = Media(
                opener: try SRTPOpener(profile: keys.profile, keys: keys.remote),
                resendOpener: try SRTPOpener(profile: keys.profile, keys: keys.remote),
                reportOpener: try SRTCPOpener(profile: keys.profile, keys: keys.remote),
                reportSealer: try SRTCPSealer(profile: keys.profile, keys: keys.local))
        } catch {
            return fail(.srtp(error))
        }
        // A thousand viewers that join together must not report together.
        let phase = Int64(random() % UInt64(Self.reportInterval.saturatingNanoseconds))
        nextReport = now + .nanoseconds(phase)
    }

    private func send(_ bytes: ByteBuffer) {
        if let address = ice?.selected { outputs.append(.send(bytes, to: address)) }
    }

    private func fail(_ reason: Failure) {
        guard failure == nil else { return }
        failure = reason
        deadline = Self.never
        outputs.append(.failed(reason))
    }

    private func schedule() {
        guard failure == nil else { return }
        var next = Self.never
        for due in [ice?.deadline, dtls?.deadline, order.deadline, nextReport] {
            if let due, due < next { next = due }
        }
        deadline = next
    }

    // MARK: Media

    private func receive(protected datagram: ByteBuffer, at now: Instant, wallTime: WallTime) {
        guard let media, let answer,
            let second = datagram.getInteger(at: datagram.readerIndex + 1, as: UInt8.self)
        else {
            tally.counts.refused += 1
            return
        }
        if 192...223 ~= second { return receive(report: datagram, by: media.reportOpener, at: now) }
        if lossLimit > 0, lossSource.next() >> 32 < lossLimit {
            tally.counts.dropped += 1
            return
        }
        let isResend = second & 0x7F == answer.rtxPayloadType
        let opener = isResend ? media.resendOpener : media.opener
        let opened: ByteBuffer
        do throws(SRTPError) {
            opened = try opener.open(datagram)
        } catch {
            if error == .replayed {
                tally.counts.duplicated += 1
            } else {
                tally.counts.refused += 1
            }
            return
        }
        tally.counts.packets += 1
        tally.counts.bytes += datagram.readableBytes
        guard let packet = try? Packet(validating: opened) else {
            tally.counts.refused += 1
            return
        }
        if isResend {
            guard let original = original(of: packet, in: answer) else { return }
            take(original, at: now, wallTime: wallTime)
        } else {
            _ = receiver.receive(packet, at: now)
            take(packet, at: now, wallTime: wallTime)
        }
    }

    /// What a resent packet was at first (RFC 4588 §4); `nil` for one that only fills.
    private func original(of resent: Packet, in answer: RemoteAnswer) -> Packet? {
        var payload = resent.payload
        guard let number = payload.readInteger(as: UInt16.self), payload.readableBytes > 0 else {
            return nil
        }
        let bytes = Packet.serialize(
            marker: resent.marker, payloadType: answer.payloadType,
            sequenceNumber: SequenceNumber(rawValue: number), timestamp: resent.timestamp,
            ssrc: answer.ssrc ?? resent.ssrc, payload: payload)
        return try? Packet(validating: bytes)
    }

    private func take(_ packet: Packet, at now: Instant, wallTime: WallTime) {
        if milestones.firstPacket == nil { milestones.firstPacket = now }
        if order.receive(packet, at: now, counting: &tally.counts) {
            watch(packet, at: now, wallTime: wallTime)
        } else {
            release(at: now, wallTime: wallTime)
            recover(at: now, wallTime: wallTime)
            schedule()
        }
    }

    private func watch(_ packet: Packet, at now: Instant, wallTime: WallTime) {
        watch.receive(packet, at: now, wallTime: wallTime, counting: &tally.counts)
        check?.receive(packet, counting: &tally.counts)
        if milestones.firstFrame == nil { milestones.firstFrame = watch.firstDecodable }
    }

    private func release(at now: Instant, wallTime: WallTime) {
        while let output = order.pollOutput(at: now, counting: &tally.counts) {
            switch output {
            case .packet(let packet):
                watch(packet, at: now, wallTime: wallTime)
            case .gap:
                watch.gap()
                check?.gap()
            case .restart:
                watch.restart()
                check?.gap()
            }
        }
    }

    /// Gives up what is too late and asks for the rest.
    private func recover(at now: Instant, wallTime: WallTime) {
        release(at: now, wallTime: wallTime)
        let wanted = order.requests(at: now)
        guard !wanted.isEmpty, let answer, let media else { return }
        guard let ssrc = answer.ssrc ?? media.opener.ssrc.map(SSRC.init(rawValue:)) else { return }
        tally.counts.requested += wanted.count
        let request = GenericNACK(sender: ownSSRC, media: ssrc, lost: wanted)
        if let sealed = media.reportSealer.seal(RTCPPacket.serialize([.nack(request)])) {
            send(sealed)
        }
    }

    private func receive(report datagram: ByteBuffer, by opener: SRTCPOpener, at now: Instant) {
        guard let compound = try? opener.open(datagram),
            let packets = try? RTCPPacket.parse(compound: compound)
        else {
            tally.counts.refused += 1
            return
        }
        for case .senderReport(let report) in packets {
            if report.ssrc.rawValue == media?.opener.ssrc { receiver.receive(report, at: now) }
        }
    }

    private func report(at now: Instant) {
        guard let media else { return }
        let blocks = receiver.reportBlock(at: now).map { [$0] } ?? []
        let compound = RTCPPacket.serialize([
            .receiverReport(ReceiverReport(ssrc: ownSSRC, reports: blocks)),
            .sdes(ssrc: ownSSRC, cname: "viewer"),
        ])
        if let sealed = media.reportSealer.seal(compound) { send(sealed) }
    }
}
