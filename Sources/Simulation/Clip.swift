// One camera's video in memory, ready to be sent again and again.
// SPDX-License-Identifier: Apache-2.0

import Foundation
package import H26x
import NIOCore

/// H.264 access units of one loop, from an IDR on. Copies share their bytes.
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

    /// Reads the H.264 video of any file that ffmpeg can read, without re-encoding it. Pictures are
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
        guard values["codec_name"] == "h264" else {
            throw SimulationError.unusableClip(
                file: file, reason: "its video is \(values["codec_name"] ?? "missing"), not h264")
        }
        guard values["has_b_frames"] == "0" else {
            throw SimulationError.unusableClip(file: file, reason: "it has B-frames")
        }
        guard let rate = frameRate(values["avg_frame_rate"] ?? "") else {
            throw SimulationError.unusableClip(file: file, reason: "its frame rate is unknown")
        }
        let annexB = try await FFmpegProgram.ffmpeg.run([
            "-v", "error", "-i", file, "-map", "0:v:0", "-c", "copy", "-bsf:v",
            "h264_mp4toannexb", "-f", "h264", "-",
        ])
        return try Clip(name: file, annexB: ByteBuffer(bytes: annexB), framesPerSecond: rate)
    }

    /// Cuts an Annex B stream (H.264 §B) into access units (§7.4.1.2.3).
    init(name: String, annexB: ByteBuffer, framesPerSecond: Double) throws {
        var splitter = AccessUnitSplitter(framesPerSecond: framesPerSecond)
        for nalUnit in AnnexB.nalUnits(in: annexB) { splitter.append(nalUnit) }
        splitter.finish()
        guard let sps = splitter.sps, let pps = splitter.pps else {
            throw SimulationError.unusableClip(file: name, reason: "it has no parameter sets")
        }
        guard !splitter.units.isEmpty else {
            throw SimulationError.unusableClip(file: name, reason: "it has no IDR picture")
        }
        do {
            parameterSets = try ParameterSets(sps: sps, pps: pps)
        } catch {
            throw SimulationError.unusableClip(file: name, reason: "\(error)")
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

/// Groups NAL units into access units; what comes before the first IDR is dropped.
private struct AccessUnitSplitter {
    private(set) var units: [AccessUnit] = []
    private(set) var sps: ByteBuffer?
    private(set) var pps: ByteBuffer?
    private let framesPerSecond: Double
    private var pending: [ByteBuffer] = []
    private var hasSlices = false
    private var isIDR = false

    init(framesPerSecond: Double) { self.framesPerSecond = framesPerSecond }

    mutating func append(_ nalUnit: ByteBuffer) {
        guard let header = nalUnit.getInteger(at: nalUnit.readerIndex, as: UInt8.self) else {
            return
        }
        let type = NALUnitType(header: header)
        switch type {
        case .nonIDRSlice, .idrSlice:
            // first_mb_in_slice is ue(v): 0 is the single bit 1.
            let next = nalUnit.getInteger(at: nalUnit.readerIndex + 1, as: UInt8.self) ?? 0
            if hasSlices, next & 0x80 != 0 { finish() }
            hasSlices = true
            if type == .idrSlice { isIDR = true }
        case .sps, .pps, .sei, .aud:
            if hasSlices { finish() }
            if type == .sps, sps == nil { sps = nalUnit }
            if type == .pps, pps == nil { pps = nalUnit }
        default: break
        }
        pending.append(nalUnit)
    }

    mutating func finish() {
        defer {
            pending = []
            hasSlices = false
            isIDR = false
        }
        guard hasSlices, isIDR || !units.isEmpty else { return }
        let decodeTime = (Double(units.count) * 90_000 / framesPerSecond).rounded()
        units.append(
            AccessUnit(
                avcc: AVCC.serialize(pending), decodeTime: Int64(decodeTime), isIDR: isIDR,
                wallTime: nil))
    }
}
