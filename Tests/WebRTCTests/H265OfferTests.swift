// Which offers of H.265 a camera's H.265 may be sent to, and what the answer says of it.
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing
import WebRTC

@Suite struct H265OfferTests {
    /// Chromium's offer with these parameters of H.265 in the place of its own.
    private func offer(_ parameters: String?) throws -> Offer {
        try SDPSamples.offer(
            SDPSamples.without(
                "a=fmtp:39", in: SDPSamples.chromium, parameters.map { "a=fmtp:39 " + $0 }))
    }

    @Test(
        "profile, tier, level and transmission mode decide, with the defaults of RFC 7798",
        arguments: [
            (nil, 1, false, 93, true), (nil, 1, false, 120, false), (nil, 2, false, 93, false),
            ("level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST", 1, false, 150, true),
            ("level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST", 1, true, 150, false),
            ("level-id=180;profile-id=1;tier-flag=1;tx-mode=SRST", 1, true, 180, true),
            ("level-id=120;profile-id=2", 1, false, 120, true),
            ("level-id=120;profile-id=2", 2, false, 120, true),
            ("level-id=120;profile-id=1", 2, false, 93, false),
            ("level-id=120;tx-mode=MRST", 1, false, 93, false),
            ("level-id=high", 1, false, 93, false),
        ] as [(String?, UInt8, Bool, UInt8, Bool)])
    func takes(
        parameters: String?, profile: UInt8, isHighTier: Bool, level: UInt8, isTaken: Bool
    ) throws {
        let codec = VideoCodec.h265(profile: profile, isHighTier: isHighTier, level: level)
        #expect(try offer(parameters).takes(codec) == isTaken)
    }

    @Test("the answer repeats what was offered, in the offer's own number")
    func answer() throws {
        let parameters = "level-id=150;profile-id=1;tier-flag=0;tx-mode=SRST"
        var video = SDPSamples.video()
        video.codec = .h265(profile: 1, isHighTier: false, level: 120)
        let answer = try Answer.viewing(
            try offer(parameters), video: video, ice: SDPSamples.ours,
            fingerprint: try SDPSamples.fingerprint(), candidates: SDPSamples.candidates)
        #expect(answer.payloadType == 39)
        let read = try RemoteAnswer(parsing: answer.serialize())
        #expect(read.codec.encoding == "H265")
        #expect(
            read.codec.parameters == [
                "level-id": "150", "profile-id": "1", "tier-flag": "0", "tx-mode": "SRST",
            ])
    }
}
