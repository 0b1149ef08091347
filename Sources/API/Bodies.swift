// The JSON of the contract: snake_case keys, times as ISO 8601 in UTC.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Foundation
import Hummingbird
package import NIOCore
import NIOFoundationCompat
import Playback
import Primitives

/// Serializes a body of the contract.
func jsonResponse(
    _ body: some Encodable, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
) throws -> Response {
    jsonResponse(bytes: try jsonBytes(body), status: status, headers: headers)
}

func jsonResponse(
    bytes: ByteBuffer, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
) -> Response {
    var headers = headers
    headers[.contentType] = "application/json; charset=utf-8"
    return Response(status: status, headers: headers, body: .init(byteBuffer: bytes))
}

/// A value as the contract writes it.
package func jsonBytes(_ value: some Encodable) throws -> ByteBuffer {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return ByteBuffer(data: try encoder.encode(value))
}

struct ErrorBody: Encodable {
    struct Content: Encodable {
        var code: String
        var messageEn: String
        var messageAr: String
        var requestId: String
        var details: [String: String]
    }
    var error: Content

    init(_ failure: MarsadError, requestID: String) {
        let text = failure.code.text.filled(failure.details)
        error = Content(
            code: failure.code.rawValue, messageEn: text.english, messageAr: text.arabic,
            requestId: requestID, details: failure.details)
    }
}

struct StreamBody: Encodable {
    var status: String
    var connectTime: String?
    var lastError: String?
    var retryCount: Int
    var bitrateKbps: Int
    var resolution: String?
    var codec: String?
    var frames: UInt64
    var gaps: UInt64
    var lastFrame: String?
    var sub: SubStreamBody?

    init(_ state: StreamState) {
        sub = state.sub.map(SubStreamBody.init)
        status = state.status.rawValue
        connectTime = state.connectedAt?.description
        lastError = state.lastFailure?.reason
        retryCount = state.retryCount
        bitrateKbps = state.bitsPerSecond / 1000
        resolution = state.width > 0 ? "\(state.width)x\(state.height)" : nil
        codec = state.codec
        frames = state.frames
        gaps = state.gaps
        lastFrame = state.lastFrameAt?.description
    }
}

/// A camera's sub-stream, while a viewer needs it.
struct SubStreamBody: Encodable {
    var status: String
    var lastError: String?
    var lastFailure: CameraFailureBody?
    var bitrateKbps: Int
    var resolution: String?

    init(_ state: SubStreamState) {
        status = state.status.rawValue
        lastError = state.lastFailure?.reason
        lastFailure = state.lastFailure.map(CameraFailureBody.init)
        bitrateKbps = state.bitsPerSecond / 1000
        resolution = state.width > 0 ? "\(state.width)x\(state.height)" : nil
    }
}

struct CameraBody: Encodable {
    var id: String
    var name: String
    var nameAr: String
    var source: String
    var folderId: String?
    var externalId: String?
    var status: String
    var supportsPtz = false
    /// Whether it is being recorded at this moment; the mode is whether it is to be.
    var recording: Bool
    var recordingMode: String
    var retentionDays: Int?
    var hasAudio: Bool
    var origin: String
    var resolution: String?
    var codec: String?
    var bitrateKbps: Int
    var lastSeen: String?
    var lastError: String?
    var lastFailure: CameraFailureBody?
    var createdAt: String
    var updatedAt: String
    /// Without credentials, and only for who administers storage.
    var rtspUrl: String?
    var stream: StreamBody

    init(_ camera: Camera, _ state: StreamState) {
        id = camera.id.rawValue
        name = camera.name
        nameAr = camera.nameArabic
        source = camera.source.rawValue
        folderId = camera.folderID?.rawValue
        externalId = camera.externalID
        status = Self.status(state)
        recording = state.isRecording
        recordingMode = camera.recordingMode.rawValue
        retentionDays = camera.retentionDays
        hasAudio = camera.hasAudio
        origin = camera.origin.rawValue
        stream = StreamBody(state)
        resolution = stream.resolution
        codec = stream.codec
        bitrateKbps = stream.bitrateKbps
        lastSeen = stream.lastFrame
        lastError = stream.lastError
        lastFailure = state.lastFailure.map(CameraFailureBody.init)
        createdAt = camera.createdAt.description
        updatedAt = camera.updatedAt.description
    }

    /// The contract's camera states in terms of the stream's.
    static func status(_ state: StreamState) -> String {
        switch state.status {
        case .active: "ONLINE"
        case .connecting:
            state.lastFrameAt == nil && state.retryCount == 0 ? "CONNECTING" : "OFFLINE"
        case .circuitOpen: "CIRCUIT_OPEN"
        case .failed: "ERROR"
        }
    }
}

struct GapBody: Encodable {
    var startTime: String
    var endTime: String
    var reason: String

    init(_ gap: Gap) {
        startTime = gap.start.description
        endTime = gap.end.description
        reason = gap.reason.rawValue
    }
}

struct PlaybackBody: Encodable {
    var sessionId: String
    var jobId: String
    var status = "READY"
    var progress = 100
    var origin = "LOCAL"
    var playlistUrl: String
    var expiresAt: String
    var gaps: [GapBody]
    var estimatedSeconds = 0

    init(_ prepared: PreparedPlayback) {
        sessionId = prepared.sessionID
        jobId = prepared.sessionID
        playlistUrl = prepared.playlistPath
        expiresAt = prepared.expiresAt.description
        gaps = prepared.gaps.map(GapBody.init)
    }
}

struct TimelineBody: Encodable {
    struct Range: Encodable {
        var startTime: String
        var endTime: String
    }
    var cameraId: String
    var coverage: [Range]
    var gaps: [GapBody]

    init(_ id: CameraID, _ timeline: Timeline) {
        cameraId = id.rawValue
        coverage = timeline.coverage.map {
            Range(startTime: $0.start.description, endTime: $0.end.description)
        }
        gaps = timeline.gaps.map(GapBody.init)
    }
}

/// `POST /api/v1/playback/prepare`, validated.
struct PrepareRequest {
    var cameraID: CameraID
    var range: TimeRange

    init(parsing body: ByteBuffer) throws {
        let object = try JSONObject(parsing: body, allowing: Self.schema.keys)
        guard let id = CameraID(try object.requiredText("camera_id")) else {
            throw MarsadError(.cameraNotFound)
        }
        cameraID = id
        guard let start = WallTime(iso8601: try object.requiredText("start_time")),
            let end = WallTime(iso8601: try object.requiredText("end_time")), start < end,
            let range = TimeRange(start: start, end: end)
        else { throw MarsadError(.invalidTimeRange) }
        self.range = range
        guard try object.text("format") ?? "HLS" == "HLS",
            try object.text("segment_type") ?? "CMAF" == "CMAF"
        else {
            throw MarsadError(
                .invalidRequest,
                details: ["key": "format", "reason": "this version plays HLS over CMAF only"])
        }
    }
}
