// Files that hold a key: made for their owner alone, and refused when anybody else can read them.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
package import Primitives

/// A key file that cannot be used; the text names the file and what to do.
package struct SecretFileError: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// Small files with mode 0600.
package enum SecretFile {
    private static let maxBytes = 16_384

    /// `nil` where there is no file; throws where others may read it, or it cannot be read.
    package static func read(_ path: String) throws(SecretFileError) -> Redacted<[UInt8]>? {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw SecretFileError("\(path): cannot be read")
        }
        defer { Glibc.close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw SecretFileError("\(path): not a file")
        }
        guard status.st_mode & 0o077 == 0 else {
            throw SecretFileError("\(path): readable by others; chmod 600 \(path)")
        }
        var bytes = [UInt8](repeating: 0, count: maxBytes)
        let count = Glibc.read(descriptor, &bytes, maxBytes)
        guard count >= 0 else { throw SecretFileError("\(path): cannot be read") }
        return Redacted(Array(bytes.prefix(count)))
    }

    /// Writes a new file, durably; throws where there is one already.
    package static func create(
        _ path: String, _ bytes: Redacted<[UInt8]>
    ) throws(SecretFileError) {
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        let temporary = path + ".new"
        // Left by a stop halfway; nobody has used it.
        unlink(temporary)
        let descriptor = Glibc.open(temporary, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SecretFileError("\(path): cannot be written") }
        let content = bytes.reveal()
        let isWritten =
            Glibc.write(descriptor, content, content.count) == content.count
            && fsync(descriptor) == 0
        Glibc.close(descriptor)
        // `link` fails where the name is taken: of two processes that make a key, one wins.
        guard isWritten, link(temporary, path) == 0 else {
            unlink(temporary)
            throw SecretFileError("\(path): cannot be written")
        }
        unlink(temporary)
        let folderDescriptor = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if folderDescriptor >= 0 {
            fsync(folderDescriptor)
            Glibc.close(folderDescriptor)
        }
    }

    /// The file's bytes, made with `make` where there is none yet.
    package static func readOrCreate(
        _ path: String, make: () -> [UInt8]
    ) throws(SecretFileError) -> Redacted<[UInt8]> {
        if let known = try read(path) { return known }
        do throws(SecretFileError) {
            try create(path, Redacted(make()))
        } catch {
            // Another process may have been first.
            guard let known = try read(path) else { throw error }
            return known
        }
        guard let made = try read(path) else {
            throw SecretFileError("\(path): cannot be read")
        }
        return made
    }
}
