// The fuzz targets of live viewing: what anyone on the network may send to the one open port.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Primitives
import RTP
import WebRTC

private let password = Redacted("0123456789abcdef0123456789")
private let local = ICECredentials(ufrag: "aaaa", password: password)
private let remote = ICECredentials(ufrag: "bbbb", password: password)
private let address = TransportAddress(ipv4: 0x7F00_0001, port: 9)

/// A check is parsed, answered and routed.
func fuzzICE(_ input: ByteBuffer) {
    _ = STUNMessage.recipient(of: input)
    if let message = try? STUNMessage(validating: input) {
        _ = message.isAuthentic(password: password)
        let again = message.serialize(password: password)
        precondition((try? STUNMessage(validating: again)) != nil, "our own messages must parse")
    }
    var agent = ICELiteAgent(
        local: local, remote: remote, at: Instant(nanoseconds: 0), random: { 4 })
    agent.receive(input, from: address, at: Instant(nanoseconds: 1))
    while agent.pollOutput() != nil {}
    // What is well-formed but for its proof must reach the code behind it, too.
    if var forged = try? STUNMessage(validating: input) {
        forged.username = "aaaa:bbbb"
        agent.receive(
            forged.serialize(password: password), from: address, at: Instant(nanoseconds: 2))
        while agent.pollOutput() != nil {}
        agent.advance(to: Instant(nanoseconds: 20_000_000_000))
        while agent.pollOutput() != nil {}
    }
}

/// A TCP stream gives the same packets in one piece and torn; the first bytes say where it is torn.
func fuzzFraming(_ input: ByteBuffer) {
    var stream = input
    guard let tears = stream.readBytes(length: min(8, stream.readableBytes)) else { return }
    let whole = framed([stream])
    var pieces: [ByteBuffer] = []
    for tear in tears {
        pieces.append(
            stream.readSlice(length: min(Int(tear), stream.readableBytes)) ?? ByteBuffer())
    }
    precondition(framed(pieces + [stream]) == whole)
    for packet in whole.packets {
        guard let frame = TCPFraming.frame(packet) else { preconditionFailure("it was one") }
        precondition(framed([frame]).packets == [packet])
    }
}

private struct Framed: Equatable {
    var packets: [ByteBuffer] = []
    var oversized: TCPFraming.Oversized?
}

private func framed(_ pieces: [ByteBuffer]) -> Framed {
    var framing = TCPFraming()
    var found = Framed()
    for piece in pieces where found.oversized == nil {
        framing.append(piece)
        do throws(TCPFraming.Oversized) {
            while let packet = try framing.next() { found.packets.append(packet) }
        } catch {
            found.oversized = error
        }
    }
    return found
}

/// An offer is answered, and the answer is read as a client reads it.
func fuzzOffer(_ input: ByteBuffer) {
    _ = try? RemoteAnswer(parsing: input)
    guard let offer = try? Offer(parsing: input),
        let print = Fingerprint(algorithm: .sha256, bytes: [UInt8](repeating: 7, count: 32))
    else { return }
    let video = VideoDescription(
        profileLevelID: 0x64_0028, ssrc: SSRC(rawValue: 1), rtxSSRC: SSRC(rawValue: 2),
        cname: "c", streamID: "s")
    if let answer = try? Answer.viewing(
        offer, video: video, ice: local, fingerprint: print, candidates: [Candidate(address)])
    {
        precondition((try? RemoteAnswer(parsing: answer.serialize())) != nil)
    }
    if let answer = try? Answer.publishing(
        offer, ice: local, fingerprint: print, candidates: [Candidate(address)])
    {
        _ = answer.serialize()
        _ = answer.restartFragment(ice: remote).serialize()
    }
}

func fuzzTrickle(_ input: ByteBuffer) {
    _ = Candidate(parsing: String(buffer: input))
    guard let fragment = try? TrickleFragment(parsing: input),
        fragment.ice != nil || !fragment.sections.isEmpty
    else { return }
    precondition((try? TrickleFragment(parsing: fragment.serialize())) != nil)
}

/// Packets of a peer whose keys we know: forged ones, and ones that open.
func fuzzSRTP(_ input: ByteBuffer) {
    for profile in [SRTPProfile.aeadAES128GCM, .aes128CMHMACSHA1x80] {
        let keys = SRTPKeys(
            masterKey: Redacted([UInt8](repeating: 1, count: profile.keyBytes)),
            masterSalt: Redacted([UInt8](repeating: 2, count: profile.saltBytes)))
        if let opener = try? SRTPOpener(profile: profile, keys: keys) {
            _ = try? opener.open(input)
            _ = try? opener.open(input)
        }
        guard let opener = try? SRTCPOpener(profile: profile, keys: keys),
            let sealer = try? SRTCPSealer(profile: profile, keys: keys)
        else { continue }
        _ = try? opener.open(input)
        // A compound begins with a header and a source; the rest may be anything.
        guard input.readableBytes >= 8, let sealed = sealer.seal(input),
            let plain = try? opener.open(sealed)
        else { continue }
        precondition(plain == input)
        _ = try? RTCPPacket.parse(compound: plain)
    }
}

private let identity = try? DTLSIdentity()

/// Datagrams of a stranger to a server, cut by their own length bytes.
func fuzzDTLS(_ input: ByteBuffer) {
    guard let identity else { return }
    var rest = input
    guard
        let endpoint = try? DTLSEndpoint(
            identity: identity, role: .server, expects: identity.fingerprint,
            at: Instant(nanoseconds: 0))
    else { return }
    var now: Int64 = 0
    while let length = rest.readInteger(as: UInt16.self) {
        guard let datagram = rest.readSlice(length: min(Int(length), rest.readableBytes)) else {
            break
        }
        now += 10_000_000
        endpoint.receive(datagram, at: Instant(nanoseconds: now))
        endpoint.advance(to: Instant(nanoseconds: now))
        while endpoint.pollOutput() != nil {}
    }
    endpoint.close()
    while endpoint.pollOutput() != nil {}
}

// MARK: - Seeds

/// What our own client and server would send.
func liveSeeds(_ target: FuzzTarget) -> [ByteBuffer] {
    guard let identity else { return [] }
    let offer = ClientOffer(
        ice: remote, fingerprint: identity.fingerprint, candidates: [Candidate(address)]
    ).serialize()
    switch target {
    case .ice:
        var request = STUNMessage(.request, transactionID: .init(upper: 1, lower: 2))
        request.username = "aaaa:bbbb"
        request.priority = 1
        request.isNomination = true
        request.role = .controlling(3)
        return [request.serialize(password: password), request.serialize(password: nil)]
    case .framing:
        let packets = [ByteBuffer(string: "one"), ByteBuffer(repeating: 7, count: 300)]
        var bytes = ByteBuffer(bytes: [1, 4, 2, 0, 255, 3, 9, 1])
        for packet in packets.compactMap(TCPFraming.frame) { bytes.writeImmutableBuffer(packet) }
        return [bytes]
    case .offer:
        return [offer]
    case .trickle:
        let section = TrickleFragment.Section(
            kind: "video", mid: "0", candidates: [Candidate(address)], isComplete: true)
        return [TrickleFragment(ice: remote, sections: [section]).serialize()]
    case .srtp:
        let source = SSRC(rawValue: 1)
        return [
            RTCPPacket.serialize([
                .receiverReport(ReceiverReport(ssrc: source, reports: [ReportBlock(ssrc: source)])),
                .nack(
                    GenericNACK(
                        sender: source, media: source, lost: [SequenceNumber(rawValue: 5)])),
            ])
        ]
    case .dtls:
        guard
            let client = try? DTLSEndpoint(
                identity: identity, role: .client, expects: identity.fingerprint,
                at: Instant(nanoseconds: 0))
        else { return [] }
        var bytes = ByteBuffer()
        while case .send(let datagram)? = client.pollOutput() {
            bytes.writeInteger(UInt16(truncatingIfNeeded: datagram.readableBytes))
            bytes.writeImmutableBuffer(datagram)
        }
        return [bytes]
    case .h26x, .h265, .rtp, .depacketizer, .h265Depacketizer, .sdp, .message, .client, .server,
        .mp4, .token, .resp, .csv:
        return []
    }
}
