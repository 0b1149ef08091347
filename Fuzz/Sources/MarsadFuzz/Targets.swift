// The fuzz targets: each feeds bytes from outside to one parser and reads back what it made.
// SPDX-License-Identifier: Apache-2.0

import CSV
import H26x
import MP4
import NIOCore
import Primitives
import RESP
import RTP
import RTPFormats
import RTSP
import SDP

/// What can be fuzzed; the raw value is the word on the command line and the folder of the seeds.
enum FuzzTarget: String, CaseIterable {
    case h26x = "H26x"
    case h265 = "H265"
    case rtp = "RTP"
    case depacketizer = "H264Depacketizer"
    case h265Depacketizer = "H265Depacketizer"
    case sdp = "SDP"
    case message = "RTSPMessage"
    case client = "RTSPClient"
    case server = "RTSPServer"
    case mp4 = "MP4"
    case ice = "ICE"
    case framing = "TCPFraming"
    case offer = "Offer"
    case trickle = "TrickleFragment"
    case srtp = "SRTP"
    case dtls = "DTLS"
    case token = "Token"
    case resp = "RESP"
    case csv = "CSV"

    /// A C function carries no context, hence one literal a target.
    var callback: FuzzCallback {
        switch self {
        case .h26x: { run(fuzzH26x, $0, $1) }
        case .h265: { run(fuzzH265, $0, $1) }
        case .rtp: { run(fuzzRTP, $0, $1) }
        case .depacketizer: { run(fuzzH264Depacketizer, $0, $1) }
        case .h265Depacketizer: { run(fuzzH265Depacketizer, $0, $1) }
        case .sdp: { run(fuzzSDP, $0, $1) }
        case .message: { run(fuzzMessage, $0, $1) }
        case .client: { run(fuzzClient, $0, $1) }
        case .server: { run(fuzzServer, $0, $1) }
        case .mp4: { run(fuzzMP4, $0, $1) }
        case .ice: { run(fuzzICE, $0, $1) }
        case .framing: { run(fuzzFraming, $0, $1) }
        case .offer: { run(fuzzOffer, $0, $1) }
        case .trickle: { run(fuzzTrickle, $0, $1) }
        case .srtp: { run(fuzzSRTP, $0, $1) }
        case .dtls: { run(fuzzDTLS, $0, $1) }
        case .token: { run(fuzzToken, $0, $1) }
        case .resp: { run(fuzzRESP, $0, $1) }
        case .csv: { run(fuzzCSV, $0, $1) }
        }
    }
}

private func run(
    _ target: (ByteBuffer) -> Void, _ bytes: UnsafePointer<UInt8>?, _ count: Int
) -> CInt {
    target(ByteBuffer(bytes: UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}

private func fuzzH26x(_ input: ByteBuffer) {
    _ = try? H264SequenceParameterSet(parsing: input)
    if let sets = try? ParameterSets(decoderConfiguration: input, .h264) {
        // What was read can be written and read again.
        let again = try? ParameterSets(decoderConfiguration: sets.decoderConfiguration(), .h264)
        precondition(again?.sequence == sets.sequence)
    }
    let units = AnnexB.nalUnits(in: input)
    _ = try? AVCC.nalUnits(in: input)
    _ = AccessUnit(avcc: input, decodeTime: 0, isRandomAccessPoint: false, wallTime: nil).nalUnits()
    precondition((try? AVCC.nalUnits(in: AVCC.serialize(units))) == units)
    let uuid = [UInt8](repeating: 0x41, count: 16)
    _ = SupplementalEnhancement.userDataUnregistered(.h264, in: input, uuid: uuid)
    let payload = Array(input.readableBytesView)
    let message = SupplementalEnhancement.userDataUnregistered(.h264, uuid: uuid, payload: payload)
    precondition(
        SupplementalEnhancement.userDataUnregistered(.h264, in: message, uuid: uuid) == payload)
    if units.count >= 2 { _ = try? ParameterSets(sps: units[0], pps: units[1]) }
}

private func fuzzH265(_ input: ByteBuffer) {
    if let sps = try? H265SequenceParameterSet(parsing: input) {
        precondition(sps.width > 0 && sps.height > 0 && !sps.codecString.isEmpty)
    }
    _ = Codec.h265.pictureParameterSetID(of: input)
    var found = try? ParameterSets(decoderConfiguration: input, .h265)
    if found == nil { found = try? ParameterSets(among: AnnexB.nalUnits(in: input), .h265) }
    guard let sets = found else { return }
    // What was read can be written and read again.
    let again = try? ParameterSets(decoderConfiguration: sets.decoderConfiguration(), .h265)
    precondition(again == sets)
}

private func fuzzRTP(_ input: ByteBuffer) {
    if let packet = try? Packet(validating: input) {
        var receiver = Receiver()
        _ = receiver.receive(packet, at: Instant(nanoseconds: 0))
        _ = receiver.receive(packet, at: Instant(nanoseconds: .max))
        _ = receiver.reportBlock(at: Instant(nanoseconds: .min))
    }
    guard let packets = try? RTCPPacket.parse(compound: input) else { return }
    var receiver = Receiver()
    for case .senderReport(let report) in packets {
        receiver.receive(report, at: Instant(nanoseconds: 1))
    }
    _ = receiver.reportBlock(at: Instant(nanoseconds: 2))
    // Whatever was read, what we write ourselves can be read.
    let written = RTCPPacket.serialize(packets)
    precondition((try? RTCPPacket.parse(compound: written)) != nil, "our own packets must parse")
}

private func fuzzH264Depacketizer(_ input: ByteBuffer) { fuzzDepacketizer(input, .h264) }

private func fuzzH265Depacketizer(_ input: ByteBuffer) { fuzzDepacketizer(input, .h265) }

/// The input is a list of packets, each behind one control byte and its 16-bit length.
private func fuzzDepacketizer(_ input: ByteBuffer, _ codec: Codec) {
    var input = input
    var depacketizer = Depacketizer(codec: codec, parameterSets: nil)
    var receiver = Receiver()
    var timestamps = TimestampUnwrapper()
    var sequence = SequenceNumber(rawValue: 0xFFF0)
    var ticks: UInt32 = 0xFFFF_0000
    while let (control, length) = input.readMultipleIntegers(as: (UInt8, UInt16).self) {
        let payload = input.readSlice(length: min(Int(length), input.readableBytes)) ?? ByteBuffer()
        if control & 0x02 != 0 { ticks &+= 3600 }
        if control & 0x04 != 0 { depacketizer.loss() }
        if control & 0x08 != 0 { ticks &-= 90_000 }
        sequence = sequence.advanced(by: control & 0x10 != 0 ? 7 : 1)
        let timestamp = RTPTimestamp(rawValue: ticks)
        let bytes = Packet.serialize(
            marker: control & 0x01 != 0, payloadType: 96, sequenceNumber: sequence,
            timestamp: timestamp, ssrc: SSRC(rawValue: 1), payload: payload)
        guard let packet = try? Packet(validating: bytes) else {
            preconditionFailure("our own packet does not parse")
        }
        _ = receiver.receive(packet, at: Instant(nanoseconds: Int64(ticks) &* 11_111))
        let time = timestamps.unwrap(timestamp)
        if let unit = try? depacketizer.push(packet, decodeTime: time) {
            precondition((try? AVCC.nalUnits(in: unit.avcc)) != nil, "a unit must be whole")
            _ = Packetizer(codec: codec, maxPayload: 64).packetize(unit)
        }
    }
}

private func fuzzSDP(_ input: ByteBuffer) {
    guard let description = try? SessionDescription(parsing: input) else { return }
    for media in description.media {
        for type in media.payloadTypes { _ = media.spropParameterSets(payloadType: type) }
        _ = media.payloadType(encoding: "H264")
    }
    // Not compared: a kind that is missing, or text that is not UTF-8, is not kept as it was.
    if let again = try? SessionDescription(parsing: description.serialize()) {
        precondition(again.media.count == description.media.count, "no value may start a line")
    }
    _ = try? RTSPURL(parsing: String(buffer: input))
}

/// The first byte says where the rest is cut in two, as a socket would.
private func fuzzMessage(_ input: ByteBuffer) {
    var input = input
    let cut = input.readInteger(as: UInt8.self).map(Int.init) ?? 0
    let whole = input
    var inOne = MessageDecoder()
    inOne.receive(whole)
    var expected: [Message] = []
    while let message = try? inOne.next() { expected.append(message) }

    var inTwo = MessageDecoder()
    let first = input.readSlice(length: min(cut, input.readableBytes)) ?? ByteBuffer()
    var messages: [Message] = []
    inTwo.receive(first)
    while let message = try? inTwo.next() { messages.append(message) }
    inTwo.receive(input)
    while let message = try? inTwo.next() { messages.append(message) }
    precondition(messages == expected, "a cut must not change what is decoded")
}

/// The input is what the camera sends; `0x00` lets ten seconds pass, for the time-outs.
private func fuzzClient(_ input: ByteBuffer) {
    guard let url = try? RTSPURL(parsing: "rtsp://user:word@camera.example/live?a=b") else {
        return
    }
    var session = ClientSession(
        url: url, credentials: nil, userAgent: "Marsad", wantsAudio: true,
        nonce: { "0123456789abcdef" })
    var now = Instant(nanoseconds: 0)
    session.start(at: now)
    for piece in input.readableBytesView.split(
        separator: 0, maxSplits: 64, omittingEmptySubsequences: false)
    {
        session.receive(ByteBuffer(bytes: piece), at: now)
        while session.pollOutput() != nil {}
        now = now + .seconds(10)
        if let deadline = session.deadline, deadline <= now { session.advance(to: now) }
        while session.pollOutput() != nil {}
    }
    session.teardown(at: now)
    session.disconnected(at: now)
    while session.pollOutput() != nil {}
}

/// The first bit of the input says whether the server asks for credentials.
private func fuzzServer(_ input: ByteBuffer) {
    var input = input
    let isOpen = (input.readInteger(as: UInt8.self) ?? 0) & 1 == 0
    let credentials = Credentials(user: "user", password: Redacted("word"))
    var session = ServerSession(
        credentials: isOpen ? nil : credentials, realm: "Marsad", nonce: "0123456789abcdef")
    let description = Seeds.description
    for piece in input.readableBytesView.split(
        separator: 0, maxSplits: 64, omittingEmptySubsequences: false)
    {
        session.receive(ByteBuffer(bytes: piece))
        while let output = session.pollOutput() {
            guard case .describe(let path, let token) = output else { continue }
            session.answerDescribe(token, sdp: path.contains("none") ? nil : description)
        }
    }
}

private func fuzzMP4(_ input: ByteBuffer) {
    _ = try? InitSegment.parameterSets(in: input)
    if let header = try? FragmentHeader.parse(input) {
        precondition(header.samples.allSatisfy { $0.offset >= 0 && $0.size >= 0 })
        var rewritten = input
        _ = try? rewriteBaseDecodeTime(in: &rewritten, to: 12, sequenceNumber: 34)
    }
    let length = UInt64(input.readableBytes)
    var scanner = FileScanner(fileLength: length)
    var bytes: ByteBuffer?
    while true {
        switch scanner.next(bytes) {
        case .need(let offset, let count):
            precondition(offset + UInt64(count) <= length, "a scan must stay inside its file")
            bytes = input.getSlice(at: Int(offset), length: count)
        case .done(let scan):
            precondition(scan.validLength <= length)
            return
        }
    }
}

/// The first byte says where the rest is cut in two, as a socket would.
private func fuzzRESP(_ input: ByteBuffer) {
    func decode(_ chunks: [ByteBuffer]) -> [RESPValue] {
        var decoder = RESPDecoder()
        var values: [RESPValue] = []
        for chunk in chunks {
            decoder.receive(chunk)
            while let value = try? decoder.next() { values.append(value) }
        }
        return values
    }
    var input = input
    let cut = input.readInteger(as: UInt8.self).map(Int.init) ?? 0
    let whole = decode([input])
    let first = input.readSlice(length: min(cut, input.readableBytes)) ?? ByteBuffer()
    // As text: NaN equals nothing, not even itself.
    precondition("\(decode([first, input]))" == "\(whole)", "a cut must not change what is decoded")
    var written = ByteBuffer()
    for value in whole { written.writeValue(value) }
    precondition(decode([written]).count == whole.count, "what was read can be written and read")
}

private func fuzzCSV(_ input: ByteBuffer) {
    func records(_ bytes: [UInt8]) -> [[String]] {
        var reader = CSVReader(bytes)
        var found: [[String]] = []
        var rounds = 0
        while rounds <= bytes.count {
            rounds += 1
            do {
                guard let record = try reader.next() else { return found }
                found.append(record.fields)
            } catch {}
        }
        preconditionFailure("a record takes at least one byte")
    }
    let read = records(Array(input.readableBytesView)).filter { $0.count > 1 }
    let lines = read.map { fields in
        fields.map { "\"" + $0.replacing("\"", with: "\"\"") + "\"" }.joined(separator: ",")
    }
    let again = records(Array(("a,b\n" + lines.joined(separator: "\r\n")).utf8)).dropFirst()
    precondition(Array(again) == read, "what was read can be written and read")
}
