// What the kernel says of a process and of our sockets, at one moment.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc

/// Numbers of `/proc/PID`; the difference of two samples is what a stretch of time cost.
package struct ProcessSample: Sendable {
    /// Processor time used so far, in user and kernel mode.
    package var cpuSeconds: Double
    package var residentMegabytes: Double
    /// The most that was ever resident.
    package var peakMegabytes: Double
    package var descriptors: Int

    /// `nil` when there is no such process, or it is not ours to look at.
    package init?(pid: Int32) {
        let folder = "/proc/\(pid)"
        guard let stat = Self.text("\(folder)/stat"), let status = Self.text("\(folder)/status"),
            let close = stat.lastIndex(of: ")")
        else { return nil }
        // The fields behind the name, which may hold anything: state is the third of all.
        let fields = stat[stat.index(after: close)...].split(separator: " ")
        guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12])
        else { return nil }
        cpuSeconds = (user + system) / Double(max(sysconf(Int32(_SC_CLK_TCK)), 1))
        residentMegabytes = Self.megabytes("VmRSS:", in: status)
        peakMegabytes = Self.megabytes("VmHWM:", in: status)
        let names = try? FileManager.default.contentsOfDirectory(atPath: "\(folder)/fd")
        descriptors = names?.count ?? 0
    }

    /// Datagrams the kernel threw away because the sockets of these ports were full.
    package static func receiveDrops(ports: Set<Int>) -> Int {
        var drops = 0
        for file in ["/proc/net/udp", "/proc/net/udp6"] {
            guard let text = text(file) else { continue }
            for line in text.split(separator: "\n").dropFirst() {
                let fields = line.split(separator: " ")
                guard fields.count > 12,
                    let hex = fields[1].split(separator: ":").last,
                    let port = Int(hex, radix: 16), ports.contains(port),
                    let count = fields.last.flatMap({ Int($0) })
                else { continue }
                drops += count
            }
        }
        return drops
    }

    private static func megabytes(_ key: String, in status: String) -> Double {
        for line in status.split(separator: "\n") where line.hasPrefix(key) {
            let words = line.split { $0 == " " || $0 == "\t" }
            return (words.dropFirst().first.flatMap { Double($0) } ?? 0) / 1024
        }
        return 0
    }

    private static func text(_ file: String) -> String? {
        guard let handle = FileHandle(forReadingAtPath: file) else { return nil }
        defer { try? handle.close() }
        // Files of /proc have no size: read to the end.
        return (try? handle.readToEnd()).map { String(decoding: $0, as: UTF8.self) }
    }
}
