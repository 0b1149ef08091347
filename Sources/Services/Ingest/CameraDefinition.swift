// What people say of a camera, wherever they say it: over HTTP, on the command line, in a file.
// SPDX-License-Identifier: Apache-2.0

package import Domain
package import Primitives

/// A camera's definition, validated.
package struct CameraDefinition: Sendable {
    /// The same as it came; `nil` for what was not said.
    package struct Fields: Sendable {
        package var name: String?
        package var nameArabic: String?
        package var source: String?
        package var folderID: String?
        package var externalID: String?
        package var address: Redacted<String>?
        package var subAddress: Redacted<String>?
        package var hasAudio: Bool?
        package var isRecorded: Bool?
        package var retentionDays: Int?

        package init() {}

        /// What a camera is, for those who change a part of it.
        package init(of camera: Camera) {
            name = camera.name
            nameArabic = camera.nameArabic
            source = camera.source.rawValue
            folderID = camera.folderID?.rawValue
            externalID = camera.externalID
            if camera.origin == .rtsp { address = camera.address }
            subAddress = camera.subAddress
            hasAudio = camera.hasAudio
            isRecorded = camera.recordingMode == .continuous
            retentionDays = camera.retentionDays
        }
    }

    package let source: Source
    package let folderID: FolderID?
    package let externalID: String?
    package let address: Redacted<String>?
    private let name: String
    private let nameArabic: String
    private let subAddress: Redacted<String>?
    private let hasAudio: Bool
    private let recordingMode: RecordingMode
    private let retentionDays: Int?

    /// Throws INVALID_REQUEST with the key and what is allowed; never with a value, which may hold a
    /// password.
    package init(_ fields: Fields) throws(MarsadError) {
        name = try Self.name(fields.name ?? "", key: "name", from: 1)
        nameArabic = try Self.name(fields.nameArabic ?? "", key: "name_ar", from: 0)
        guard let source = fields.source.flatMap({ Source($0) }) else {
            throw Self.refusal("source", "A–Z, 0–9 and _, up to 32")
        }
        self.source = source
        folderID = try Self.folder(fields.folderID)
        externalID = try Self.externalID(fields.externalID)
        if let address = fields.address {
            try CameraAddress.check(address.reveal(), key: "rtsp_url")
        }
        if let address = fields.subAddress {
            try CameraAddress.check(address.reveal(), key: "sub_rtsp_url")
        }
        address = fields.address
        subAddress = fields.subAddress
        hasAudio = fields.hasAudio ?? false
        recordingMode = fields.isRecorded ?? true ? .continuous : .off
        let days = Limits.retentionDays
        guard fields.retentionDays.map(days.contains) ?? true else {
            throw Self.refusal("retention_days", "\(days.lowerBound)…\(days.upperBound)")
        }
        retentionDays = fields.retentionDays
    }

    /// A new camera of this definition.
    package func camera(
        _ id: CameraID, origin: CameraOrigin, publishTokenHash: String? = nil, at now: WallTime
    ) -> Camera {
        var camera = Camera(
            id: id, name: name, nameArabic: nameArabic, source: source, origin: origin,
            address: Redacted(""), publishTokenHash: publishTokenHash, createdAt: now)
        apply(to: &camera)
        return camera
    }

    /// Makes a camera what is said here; what it is besides stays.
    package func apply(to camera: inout Camera) {
        camera.name = name
        camera.nameArabic = nameArabic
        camera.source = source
        camera.folderID = folderID
        camera.externalID = externalID
        camera.hasAudio = hasAudio
        camera.recordingMode = recordingMode
        camera.retentionDays = retentionDays
        if camera.origin == .rtsp {
            if let address { camera.address = address }
            camera.subAddress = subAddress
        }
    }

    /// A name for people: one line of at most 200 characters. What cannot be seen in it and what turns a
    /// line's direction is left out. Throws UNPROCESSABLE where nothing is left of a name that is needed.
    package static func name(
        _ text: String, key: String, from least: Int
    ) throws(MarsadError) -> String {
        guard (least...Limits.nameCharacters).contains(text.unicodeScalars.count) else {
            throw refusal(key, "\(least) to \(Limits.nameCharacters) characters")
        }
        var line = text.split { $0.isNewline || $0.isWhitespace }.joined(separator: " ")
        line.unicodeScalars.removeAll {
            $0.properties.generalCategory == .control
                || (0x202A...0x202E).contains($0.value) || (0x2066...0x2069).contains($0.value)
        }
        guard least == 0 || !line.isEmpty else {
            throw MarsadError(.unprocessable, details: ["key": key, "reason": "nothing to read"])
        }
        return line
    }

    private static func folder(_ text: String?) throws(MarsadError) -> FolderID? {
        guard let text else { return nil }
        guard let folder = FolderID(text) else {
            throw refusal("folder_id", "a–z, 0–9 and -, up to 64")
        }
        return folder
    }

    private static func externalID(_ text: String?) throws(MarsadError) -> String? {
        guard let text else { return nil }
        let isPrintable = text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        guard isPrintable, (1...Limits.externalIDBytes).contains(text.utf8.count) else {
            throw refusal(
                "external_id", "1 to \(Limits.externalIDBytes) ASCII characters, no blank")
        }
        return text
    }

    private static func refusal(_ key: String, _ allowed: String) -> MarsadError {
        MarsadError(.invalidRequest, details: ["key": key, "allowed": allowed])
    }
}
