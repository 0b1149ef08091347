// Every limit of ingest in one place.
// SPDX-License-Identifier: Apache-2.0

/// The time-outs and bounds of the media contract (Ingest).
package enum Limits {
    static let connectTimeout = Duration.seconds(10)
    static let firstFrameTimeout = Duration.seconds(5)
    static let readTimeout = Duration.seconds(5)
    /// Between two receiver reports to a camera (RFC 3550 §6.2).
    static let receptionReportInterval = Duration.seconds(5)
    static let firstRetry = Duration.seconds(1)
    static let longestRetry = Duration.seconds(30)
    static let failuresUntilCircuitOpens = 3
    static let circuitOpen = Duration.seconds(30)
    /// Cameras lock accounts: this many refused logins within `loginWindow`, then none until it is over.
    static let loginsRefused = 3
    static let loginWindow = Duration.seconds(600)
    /// Connections being set up at once: a switch that comes back must not be met by 500 cameras' SYNs.
    static let connectsAtOnce = 50
    /// Of an audio packet that fits every path to a viewer: more than a tenth of a second of G.711.
    static let audioPayloadBytes = 1160
    package static let keyframeBytes = 1 << 20
    static let wallSampleInterval = Duration.seconds(1)
    /// The system's clock is followed where it is this far from the monotonic one, and left alone below.
    static let wallStep = Duration.milliseconds(500)
    /// Reading both clocks may take this long; otherwise the sample says nothing.
    static let wallSampleUncertainty = Duration.milliseconds(50)
    /// What another process changes of the cameras is seen after this.
    static let directoryAge = Duration.seconds(1)
    /// From when on it is read anew for those who come later.
    static let directoryRenewal = Duration.milliseconds(500)
    static let probesAtOnce = 4
    /// After PLAY: a camera asked for nothing sends a keyframe each few seconds.
    static let probeKeyframe = Duration.seconds(10)
    /// After the first keyframe, while no second one comes.
    static let probeWatch = Duration.seconds(5)
    /// The same, where one came.
    static let probeAtLeast = Duration.seconds(2)
    /// Of one file of cameras.
    package static let importLines = 5000
    package static let nameCharacters = 200
    package static let externalIDBytes = 128
    package static let retentionDays = 1...3650
}
