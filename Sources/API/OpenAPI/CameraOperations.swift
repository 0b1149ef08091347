// Cameras in the document of the interface.
// SPDX-License-Identifier: Apache-2.0

import Domain
import Ingest

extension Operation {
    static let listCameras = Operation(
        "list_cameras", .cameras, "The cameras that the caller sees",
        query: [
            .source, Parameter("status", .choice(CameraBody.statuses)), .words, .limit, .offset,
        ], answers: [.json(CameraListing.schema)])

    static let getCamera = Operation(
        "get_camera", .cameras, "One camera, with the state of its stream",
        path: ["id": .identifier], answers: [.json(CameraBody.schema)], errors: [.cameraNotFound])

    static let snapshot = Operation(
        "get_snapshot", .cameras, "A camera's last keyframe, also while it is down",
        path: ["id": .identifier], query: [.width],
        answers: [
            .media(
                "image/jpeg",
                headers: [
                    "X-Frame-Time": .time, "X-Camera-Status": .choice(CameraBody.statuses),
                ])
        ], errors: [.cameraNotFound, .sourceForbidden, .cameraUnavailable])

    static let addCamera = Operation(
        "add_camera", .cameras, "Adds a camera",
        notes: "A camera of origin WHIP publishes by itself: where to and with which token is said "
            + "in this answer only.",
        body: .json(CameraDefinition.Fields.schema.adding(["origin": CameraBody.origin.optional])),
        answers: [.created(AddedCameraBody.schema)],
        errors: [.sourceForbidden, .alreadyExists, .unprocessable])

    static let importCameras = Operation(
        "import_cameras", .cameras, "Adds and changes cameras from a file",
        notes:
            "Each line is taken or refused for itself, also one that is no object; the same file "
            + "again changes nothing. Keys of an object, and columns of CSV: "
            + CameraSheet.Column.allCases.map(\.rawValue).joined(separator: ", ") + ".",
        query: [Parameter("dry_run", .flag)],
        body: .init(
            type: JSONType.plain,
            schema: .list(.anything),
            alternatives: ["text/csv": .prose()]),
        answers: [.json(ImportBody.schema)])

    static let probeCamera = Operation(
        "probe_camera", .cameras, "Tries an address: what comes from there, or why nothing does",
        body: .json(.probedCamera), answers: [.json(ProbeBody.schema)], errors: [.overloaded])

    static let changeCamera = Operation(
        "change_camera", .cameras, "Changes a camera",
        notes: "Addresses that are left out stay as they are.", path: ["id": .identifier],
        body: .json(CameraDefinition.Fields.schema), answers: [.json(CameraBody.schema)],

        errors: [
            .cameraNotFound, .sourceForbidden, .conflict, .alreadyExists, .unprocessable,
        ])

    static let removeCamera = Operation(
        "remove_camera", .cameras, "Removes a camera; its recordings stay until they expire",
        path: ["id": .identifier], answers: [.noContent], errors: [.cameraNotFound])
}

extension CameraDefinition.Fields {
    static let schema = Schema.object(
        "CameraDefinition",
        [
            "name": .cameraName.example("Gate 1"), "name_ar": .cameraNameArabic.optional,
            "source": .source, "folder_id": .folder.optional, "external_id": .externalID.optional,
            "rtsp_url": addressSchema.optional,
            "sub_rtsp_url": addressSchema.optional, "has_audio": .flag.optional,
            "recording": .flag.defaulting(to: true).optional,
            "retention_days": .integer(Bounds.retentionDays).optional,
        ])

    static let addressSchema = Schema.text(8...2000, pattern: "^rtsp://")
        .example("rtsp://camera.example/stream1")
}

extension Schema {
    static let cameraName = prose(1...Bounds.cameraName)
    static let cameraNameArabic = prose(0...Bounds.cameraName)
    static let externalID = text(1...Limits.externalIDBytes, pattern: "^[!-~]+$")
}

extension CameraBody {
    static let statuses = ["CONNECTING", "ONLINE", "OFFLINE", "ERROR", "CIRCUIT_OPEN"]
    static let origins = [CameraOrigin.rtsp, .whip]
    static let origin = Schema.choice(origins)

    static let schema = Schema.object(
        "Camera",
        [
            "id": .identifier, "name": .text(), "name_ar": .text(), "source": .source,
            "folder_id": .folder.optional, "external_id": .text().optional,
            "status": .choice(statuses), "supports_ptz": .flag,
            "recording": .flag.described("At this moment."),
            "recording_mode": .choice([RecordingMode.continuous, .off])
                .described("The setting that `recording` is when a camera is changed."),
            "retention_days": .count.optional, "has_audio": .flag, "origin": origin,
            "resolution": .text().optional,
            "codec": .text().optional, "bitrate_kbps": .count, "last_seen": .time.optional,
            "last_error": .text().described("The `detail` of the failure.").optional,
            "last_failure": CameraFailureBody.schema.optional,
            "created_at": .time, "updated_at": .time,
            "rtsp_url": .text().described("Without credentials; for storage:admin only.").optional,
            "stream": StreamBody.schema,
        ])
}

extension CameraFailureBody {
    static let schema = Schema.object(
        "CameraFailure",
        [
            "reason": .choice(CameraFailure.Kind.allCases.map(\.words.code)),
            "message_en": .text(), "message_ar": .text(),
            "detail": .text().described("What was seen, in English."),
        ])
}

extension CameraListing {
    static let schema = Schema.object(
        "CameraList",
        ["cameras": .list(CameraBody.schema), "total": .count, "last_updated": .time])
}

extension AddedCameraBody {
    static let schema = Schema.object(
        "AddedCamera",
        ["camera": CameraBody.schema, "whip_url": .text().optional, "token": .text().optional])
}

extension StreamBody {
    static let schema = Schema.object(
        "Stream",
        [
            "status": .choice(StreamStatus.allCases), "connect_time": .time.optional,
            "last_error": .text().optional, "retry_count": .count, "bitrate_kbps": .count,
            "resolution": .text().optional, "codec": .text().optional, "frames": .integer(),
            "gaps": .integer(), "last_frame": .time.optional, "sub": SubStreamBody.schema.optional,
        ])
}

extension SubStreamBody {
    static let schema = Schema.object(
        "SubStream",
        [
            "status": .choice(StreamStatus.allCases), "last_error": .text().optional,
            "last_failure": CameraFailureBody.schema.optional, "bitrate_kbps": .count,
            "resolution": .text().optional,
        ])
}

extension ImportBody {
    static let schema = Schema.object(
        "CameraImport",
        [
            "dry_run": .flag, "total": .count, "created": .count, "changed": .count,
            "unchanged": .count, "errors": .count,
            "lines": .list(
                .object([
                    "line": .count, "status": .choice(ImportOutcome.Status.allCases),
                    "camera_id": .identifier.optional, "code": .text().optional,
                    "message_en": .text().optional, "message_ar": .text().optional,
                    "details": .table(.text()).optional,
                ])),
        ])
}

extension Schema {
    static let probedCamera = Schema.object(
        "ProbedCamera", ["rtsp_url": CameraDefinition.Fields.addressSchema])
}

extension ProbeBody {
    static let schema = Schema.object(
        "CameraProbe",
        [
            "ok": .flag,
            "failure": CameraFailureBody.schema.optional,
            "codec": .text().optional, "profile": .text().optional,
            "resolution": .text().optional, "frames_per_second": .number().optional,
            "announced_frames_per_second": .number().optional, "bitrate_kbps": .count.optional,
            "gop_length": .count.optional, "has_b_frames": .flag.optional,
            "audio": .text().optional, "transport": .text().optional,
            "authentication": .text().optional, "time_to_play_ms": .count.optional,
            "time_to_keyframe_ms": .count.optional,
        ])
}
