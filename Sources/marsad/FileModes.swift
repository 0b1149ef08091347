// Whose the data folder's files are: their owner's, and nobody else's.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc

/// Modes of the files that hold what is private: accounts, addresses of cameras, recordings.
enum FileModes {
    /// Closes the folder to others, and a database that is there already. A folder that held other
    /// things before stays as it is.
    static func close(_ folder: String, database: String) {
        var status = stat()
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        let isOurs = entries.isEmpty || FileManager.default.fileExists(atPath: database)
        if isOurs, stat(folder, &status) == 0, status.st_mode & S_ISVTX == 0,
            status.st_mode & 0o077 != 0
        {
            chmod(folder, 0o700)
        }
        // SQLite gives the files beside it the mode of the database.
        let descriptor = Glibc.open(database, O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
        if descriptor >= 0 { Glibc.close(descriptor) }
        let heads = folder + "/audit-heads.log"
        for path in [database, database + "-wal", database + "-shm", heads] {
            guard stat(path, &status) == 0, status.st_mode & 0o077 != 0 else { continue }
            chmod(path, 0o600)
        }
    }
}
