// One camera's video in memory, ready to be sent again and again.
// SPDX-License-Identifier: Apache-2.0

import Foundation
package import H26x
import NIOCore

/// Access units of one loop, from a random access point on. Copies share their bytes.
package struct Clip: Sendable {
    /// What the clip is called in errors and logs.
    package let name: String
    /// The loop's access units, with decode times from 0.
    package let units: [AccessUnit]
    package let parameterSets: ParameterSets
    package let framesPerSecond: Double

    package init(
        name: String, units: [AccessUnit], parameterSets: ParameterSets, framesPerSecond: Double
    ) {
        self.name = name
        self.units = units
        self.parameterSets = parameterSets
        self.framesPerSecond = framesPerSecond
    }

    /// How long the loop lasts.
    package var seconds: Double { Double(units.count) / framesPerSecond }

    /// Reads the H.264 or H.265 video of any file that ffmpeg can read, without re-encoding it. Pictures are
    /// sent in decoding order with evenly spaced times, so files with B-frames are refused.
    package static func load(_ file: String) async throws -> Clip {
        let facts = try await FFmpegProgram.ffprobe.run([
            "-v", "error", "-select_streams", "v:0", "-show_entries",
            "stream=codec_name,avg_frame_rate,has_b_frames", "-of", "default=noprint_wrappers=1",
            file,
        ])
        var values: [String: String] = [:]
        for line in String(decoding: facts, as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { values[String(parts[0])] = String(parts[1]) }
        }
        guard let codec = Codec(ffmpegName: values["codec_name"] ?? "") else {
            throw SimulationError.unusableClip(
                file: file,
                reason: "its video is \(values["codec_name"] ?? "missing"), not h264 or hevc")
        }
        guard values["has_b_frames"] == "0" else {
            throw SimulationError.unusableClip(file: file, reason: "it has B-frames")
        }
        guard let rate = frameRate(values["avg_frame_rate"] ?? "") else {
            throw SimulationError.unusableClip(file: file, reason: "its frame rate is unknown")
        }
        let annexB = try await FFmpegProgram.ffmpeg.run([
            "-v", "error", "-i", file, "-map", "0:v:0", "-c", "copy", "-bsf:v",
            "\(codec.ffmpegName)_mp4toannexb", "-f", codec.ffmpegName, "-",
        ])
        return try Clip(
            name: file, annexB: ByteBuffer(bytes: annexB), codec, framesPerSecond: rate)
    }

    /// Cuts an Annex B stream into access units (H.264 §7.4.1.2.3, H.265 §7.4.2.4.4).
    init(name: String, annexB: ByteBuffer, _ codec: Codec, framesPerSecond: Double) throws {
        var splitter = AccessUnitSplitter(codec: codec, framesPerSecond: framesPerSecond)
        for nalUnit in AnnexB.nalUnits(in: annexB) { splitter.append(nalUnit) }
        splitter.finish()
        guard !splitter.units.isEmpty else {
            throw SimulationError.unusableClip(
                file: name, reason: "it has no picture to begin with")
        }
        do {
            parameterSets = try ParameterSets(among: splitter.parameterSets, codec)
        } catch {
            throw SimulationError.unusableClip(
                file: name, reason: "its parameter sets: \(error)")
        }
        self.name = name
        self.units = splitter.units
        self.framesPerSecond = framesPerSecond
    }

    /// `25/1` or `25`; `nil` outside 1…240.
    private static func frameRate(_ text: String) -> Double? {
        let parts = text.split(separator: "/").compactMap { Double($0) }
        guard let numerator = parts.first else { return nil }
        let rate = numerator / (parts.count > 1 ? parts[1] : 1)
        return rate >= 1 && rate <= 240 ? rate : nil
    }
}

extension Codec {
    /// What the ffmpeg programs call the codec.
    var ffmpegName: String {
        switch self {
        case .h264: "h264"
        case .h265: "hevc"
        }
    }

    init?(ffmpegName name: String) {
        guard let codec = Codec.allCases.first(where: { $0.ffmpegName == name }) else { return nil }
        self = codec
    }
}

/// Groups NAL units into access units; what comes before the first random access point is dropped.
private struct AccessUnitSplitter {
    private(set) var units: [AccessUnit] = []
    private(set) var parameterSets: [ByteBuffer] = []
    private let codec: Codec
    private let framesPerSecond: Double
    private var pending: [ByteBuffer] = []
    private var hasSlices = false
    private var isRandomAccessPoint = false

    init(codec: Codec, framesPerSecond: Double) {
        self.codec = codec
        self.framesPerSecond = framesPerSecond
    }

    mutating func append(_ nalUnit: ByteBuffer) {
        guard let kind = codec.kind(of: nalUnit) else { return }
        switch kind {
        case .slice, .randomAccessSlice:
            // first_mb_in_slice is ue(v), where 0 is the single bit 1; H.265 has a flag there.
            let next =
                nalUnit.getInteger(at: nalUnit.readerIndex + codec.headerBytes, as: UInt8.self) ?? 0
            if hasSlices, next & 0x80 != 0 { finish() }
            hasSlices = true
            if kind == .randomAccessSlice { isRandomAccessPoint = true }
        case .videoParameterSet, .sequenceParameterSet, .pictureParameterSet:
            if hasSlices { finish() }
            // All of the loop's: one that comes again is kept once.
            if !parameterSets.contains(nalUnit) { parameterSets.append(nalUnit) }
        case .delimiter, .sei:
            if hasSlices { finish() }
        case .slicePartition, .other:
            break
        }
        pending.append(nalUnit)
    }

    mutating func finish() {
        defer {
            pending = []
            hasSlices = false
            isRandomAccessPoint = false
        }
        guard hasSlices, isRandomAccessPoint || !units.isEmpty else { return }
        let decodeTime = (Double(units.count) * 90_000 / framesPerSecond).rounded()
        units.append(
            AccessUnit(
                avcc: AVCC.serialize(pending), decodeTime: Int64(decodeTime),
                isRandomAccessPoint: isRandomAccessPoint,
                wallTime: nil))
    }
}
