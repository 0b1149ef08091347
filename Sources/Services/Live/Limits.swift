// Every limit of live viewing in one place.
// SPDX-License-Identifier: Apache-2.0

import Primitives

enum Limits {
    /// Payload bytes of an RTP packet: with headers, an RTX number and the tag it fits every path that
    /// IPv6 and its tunnels know.
    static let payloadBytes = 1160
    /// Bytes of one segmented send; below what a UDP datagram holds.
    static let segmentedBytes = 60_000
    /// Datagrams of one segmented send (UDP_MAX_SEGMENTS is 64 on older kernels).
    static let segments = 48
    /// Viewers served before the loop does something else.
    static let viewersPerTurn = 100
    /// A unit of more packets goes out in parts, so that a keyframe does not overrun a network's queues.
    static let packetsPerPart = 32
    static let pauseBetweenParts = Duration.milliseconds(3)
    /// Between two parts of what a viewer catches up with. No slower than its times say: a player that
    /// buffers by times (GStreamer) gives packets up as lost that arrive later.
    static let pauseInCatchUp = Duration.milliseconds(1)
    /// Between the times of two frames that a new viewer catches up with, in 90 kHz ticks.
    static let ticksAtOnce: Int64 = 90
    /// A handshake that takes longer is that of a viewer behind a long path, or one that loses.
    static let farAway = Duration.milliseconds(50)
    /// A replay's first frame is timed so long after the newest one.
    static let ticksToReplay: Int64 = 1200
    /// Times the camera's pace: the slowest replay, and what makes the others take so long (in 90 kHz
    /// ticks) at most.
    static let slowestReplay: Int64 = 2
    static let longestReplay: Int64 = 180_000
    /// Before a connection that is behind is tried again.
    static let pauseWhenFull = Duration.milliseconds(20)
    /// Units of the past kept for resends beside the present group of pictures.
    static let unitsForResends = 50
    /// A group of pictures beyond these is not kept whole: a new viewer waits for the next keyframe.
    static let windowUnits = 1500
    static let windowBytes = 8 << 20
    /// Viewers of one camera on its own loop before others take some.
    static let viewersPerLoop = 200
    /// Sessions of the process, and those among them that are still shaking hands.
    static let sessions = 4000
    static let handshakes = 64
    /// Units that wait to be transcoded before a group of pictures is given up: a second's worth.
    static let transcodeQueue = 25
    /// How often sessions look at the clock.
    static let tick = Duration.milliseconds(50)
    /// A loop that looked at the clock so long ago was not running.
    static let stall = Duration.seconds(1)
    /// A loop without viewers of a camera stops watching it after this.
    static let idleGroup = Duration.seconds(10)
    static let senderReportInterval = Duration.seconds(2)
    /// How often sessions add what they counted to the metrics.
    static let countInterval = Duration.seconds(2)
    /// Between two answers to a viewer's picture loss indications.
    static let replayInterval = Duration.seconds(1)
    /// A loss reported sooner than this after a replay began is the one that it answers.
    static let replayEcho = Duration.milliseconds(250)
    /// Share of what is sent that may be resent, and what a new viewer may ask at once.
    static let resendShare = 0.25
    static let firstResendBytes = 24_000.0
    static let resendBytes = 96_000.0
    /// A packet is not resent again before the first resend can have arrived.
    static let resendPause = Duration.milliseconds(80)
    /// How much later than a round trip a resend may come.
    static let resendJitter = Duration.milliseconds(10)
    static let longestResendPause = Duration.milliseconds(500)
    /// Answered numbers kept before old ones are looked for.
    static let answeredNumbers = 1024
    /// Stretches of a viewer's stream that resends can reach back into.
    static let stretches = 4
    /// A viewer that loses more than this for `badTime`, or says for so long that it can take less than
    /// its stream has, is moved to the sub-stream; and one that was congested twice in a window.
    static let lossThatHurts = 0.1
    static let badTime = Duration.seconds(3)
    static let congestionWindow = Duration.seconds(10)
    /// Without a sign of trouble for this long a viewer is moved up again. The time doubles where it
    /// turned out too short: where there was trouble before the main stream had proved itself.
    static let firstPatience = Duration.seconds(15)
    static let longestPatience = Duration.seconds(120)
    static let timeToProve = Duration.seconds(60)
    /// A publisher that sends nothing for this long may be replaced by another one.
    static let publisherSilence = Duration.seconds(5)
    /// Send and receive buffer of each loop's socket.
    static let socketBytes = 4 << 20
    /// TCP connections of the process, of one address (many viewers may share one behind a gateway), and
    /// of one session: a browser opens one for each pair of addresses.
    static let connections = 400
    static let connectionsPerAddress = 64
    static let connectionsPerSession = 8
    /// A connection that has not brought a check by then is closed.
    static let firstCheck = Duration.seconds(3)
    /// Bytes that wait for a connection to take them. More are lost, like those of a full socket; and
    /// nothing new is begun until it has taken most.
    static let connectionBytes = 768 << 10
    static let readyConnectionBytes = 128 << 10
    /// The kernel's own share: what it has taken, no keyframe can overtake.
    static let connectionSendBuffer = 128 << 10
    static let reservation = Duration.seconds(60)
    static let heartbeatInterval = Duration.seconds(20)
    static let longestReservation = Duration.seconds(86_400)
    static let reservations = 20_000
    /// How long a token that ran out is answered as expired and not as unknown.
    static let expiredTokenMemory = Duration.seconds(600)
    static let recentNames = 50_000
}
