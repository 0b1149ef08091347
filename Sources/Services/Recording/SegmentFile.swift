// The system calls of a segment file, made on the spool's threads only.
// SPDX-License-Identifier: Apache-2.0

import CStorage
import Domain
import Glibc
package import NIOCore

/// A failed call on a recording's file: what, and the error number.
package struct FileError: Error, Sendable, Equatable, CustomStringConvertible {
    package var operation: String
    package var errorNumber: Int32

    init(_ operation: String) {
        self.operation = operation
        errorNumber = errno
    }

    package var description: String {
        operation + ": " + String(cString: strerror(errorNumber))
    }

    /// Whether the name is another file's.
    var isTaken: Bool { errorNumber == EEXIST && operation == "create" }

    /// The gap that the recording then has.
    var gapReason: GapReason {
        errorNumber == ENOSPC || errorNumber == EDQUOT ? .diskFull : .damaged
    }
}

/// Files of recordings below the data folder. Values in, values out: no state is shared between threads.
package enum SegmentFile {
    /// Creates the file exclusively, and its folders.
    static func create(_ path: String) throws -> Int32 {
        try makeFolders(of: path)
        let descriptor = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else { throw FileError("create") }
        return descriptor
    }

    static func write(_ bytes: ByteBuffer, to descriptor: Int32, at offset: UInt64) throws {
        try bytes.withUnsafeReadableBytes { pointer in
            guard let base = pointer.baseAddress else { return }
            var done = 0
            while done < pointer.count {
                let count = pwrite(
                    descriptor, base + done, pointer.count - done,
                    Int(clamping: offset) + done)
                if count < 0 {
                    if errno == EINTR { continue }
                    throw FileError("write")
                }
                done += count
            }
        }
    }

    /// Syncs the file and the folder that names it, then closes it.
    static func finish(_ descriptor: Int32, path: String) throws {
        let failed = fdatasync(descriptor) != 0
        let error = FileError("fdatasync")
        close(descriptor)
        if failed { throw error }
        try syncFolder(of: path)
    }

    static func closeQuietly(_ descriptor: Int32) { close(descriptor) }

    static func syncFolder(of path: String) throws {
        let descriptor = open(folder(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open folder") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw FileError("fsync folder") }
    }

    /// Starts write-back behind the writer, so that dirty pages stay bounded.
    static func writeBehind(_ descriptor: Int32, offset: UInt64, count: Int) {
        marsad_write_behind(descriptor, Int64(offset), Int64(count))
    }

    /// One flush for everything written on the volume of `folder`.
    static func syncVolume(of folder: String) throws {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open folder") }
        defer { close(descriptor) }
        guard marsad_syncfs(descriptor) == 0 else { throw FileError("syncfs") }
    }

    /// Reads at most `count` bytes at `offset`; fewer where the file ends.
    package static func read(_ path: String, offset: UInt64, count: Int) throws -> ByteBuffer {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open") }
        defer { close(descriptor) }
        return try read(descriptor, offset: offset, count: count)
    }

    static func read(_ descriptor: Int32, offset: UInt64, count: Int) throws -> ByteBuffer {
        guard let start = Int(exactly: offset), count >= 0, count <= 1 << 30 else {
            errno = EINVAL
            throw FileError("read")
        }
        var buffer = ByteBuffer()
        var failure: FileError?
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { pointer in
            guard let base = pointer.baseAddress else { return 0 }
            var done = 0
            while done < count {
                let got = pread(descriptor, base + done, count - done, start + done)
                if got < 0 {
                    if errno == EINTR { continue }
                    failure = FileError("read")
                    break
                }
                if got == 0 { break }
                done += got
            }
            return done
        }
        if let failure { throw failure }
        return buffer
    }

    static func size(_ descriptor: Int32) throws -> UInt64 {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw FileError("fstat") }
        return UInt64(max(0, status.st_size))
    }

    static func remove(_ path: String) throws {
        guard unlink(path) == 0 || errno == ENOENT else { throw FileError("unlink") }
        try? syncFolder(of: path)
    }

    /// Bytes of the volume: total, and free to this user.
    static func space(of folder: String) throws -> (total: UInt64, free: UInt64) {
        var status = statvfs()
        guard statvfs(folder, &status) == 0 else { throw FileError("statvfs") }
        return (
            UInt64(status.f_blocks) * UInt64(status.f_frsize),
            UInt64(status.f_bavail) * UInt64(status.f_frsize)
        )
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func makeFolders(of path: String) throws {
        var current = path.hasPrefix("/") ? "" : "."
        for part in folder(of: path).split(separator: "/") {
            current += "/" + part
            if mkdir(current, 0o750) != 0, errno != EEXIST { throw FileError("mkdir") }
        }
    }

    static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return String(path[..<slash])
    }

    /// All files below a folder, sorted, paths relative to it.
    package static func files(below root: String) -> [String] {
        var found: [String] = []
        var folders = [""]
        while let folder = folders.popLast() {
            guard let entries = try? list(root + "/" + folder) else { continue }
            let prefix = folder.isEmpty ? "" : folder + "/"
            folders += entries.folders.map { prefix + $0 }
            found += entries.files.map { prefix + $0 }
        }
        return found.sorted()
    }

    /// The names in one folder; none where it does not exist.
    static func list(_ folder: String) throws -> (folders: [String], files: [String]) {
        guard let directory = opendir(folder) else {
            if errno == ENOENT { return ([], []) }
            throw FileError("open folder")
        }
        defer { closedir(directory) }
        var (folders, files): ([String], [String]) = ([], [])
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            switch kind(of: entry.pointee.d_type, folder + "/" + name) {
            case DT_DIR: folders.append(name)
            case DT_REG: files.append(name)
            default: break
            }
        }
        return (folders, files)
    }

    /// Some file systems do not say in the listing what an entry is.
    private static func kind(of type: UInt8, _ path: String) -> Int {
        guard Int(type) == DT_UNKNOWN else { return Int(type) }
        var status = stat()
        guard lstat(path, &status) == 0 else { return DT_UNKNOWN }
        switch status.st_mode & S_IFMT {
        case S_IFDIR: return DT_DIR
        case S_IFREG: return DT_REG
        default: return DT_UNKNOWN
        }
    }
}
