// One connection of libpq in pipeline mode, and the events of its socket.
// SPDX-License-Identifier: Apache-2.0
import CPQ
import Dispatch
import Glibc

/// Opened and used on one queue only; closes itself with its last reference.
final class PostgreSQLLink {
    let connection: OpaquePointer
    private let reads: any DispatchSourceRead
    private let writes: any DispatchSourceWrite
    private let ticks: any DispatchSourceTimer
    /// The source of writes is suspended while there is nothing to write.
    private var isWriting = false

    /// What the socket has to tell.
    enum Event {
        case readable
        case writable
        /// A second has passed.
        case tick
    }

    /// Connects, and waits for it: names, TLS and passwords are libpq's own steps, which block.
    init(
        _ options: (keywords: [String], values: [String]), isReadOnly: Bool,
        on queue: DispatchQueue,
        onEvent: @escaping (Event) -> Void
    ) throws(DatabaseError) {
        guard let connection = Self.connect(options.keywords, options.values)
        else { throw .unavailable("no memory for a connection") }
        do throws(DatabaseError) {
            try Self.prepare(connection, isReadOnly: isReadOnly)
        } catch {
            PQfinish(connection)
            throw error
        }
        self.connection = connection
        let descriptor = PQsocket(connection)
        reads = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: queue)
        writes = DispatchSource.makeWriteSource(fileDescriptor: descriptor, queue: queue)
        ticks = DispatchSource.makeTimerSource(queue: queue)
        reads.setEventHandler { onEvent(.readable) }
        writes.setEventHandler { onEvent(.writable) }
        ticks.setEventHandler { onEvent(.tick) }
        // The descriptor is closed when no source watches it any more.
        let watchers = DispatchGroup()
        watchers.enter()
        watchers.enter()
        reads.setCancelHandler { watchers.leave() }
        writes.setCancelHandler { watchers.leave() }
        watchers.notify(queue: queue) { PQfinish(connection) }
        reads.resume()
        ticks.schedule(deadline: .now() + 1, repeating: 1, leeway: .milliseconds(100))
        ticks.resume()
    }

    deinit {
        // A suspended source never hears that it was cancelled.
        if !isWriting { writes.resume() }
        for source in [reads, writes, ticks] as [any DispatchSourceProtocol] { source.cancel() }
    }

    /// Whether there are bytes, or the end, to be read.
    var isReadable: Bool {
        var watched = pollfd(fd: PQsocket(connection), events: Int16(POLLIN), revents: 0)
        return poll(&watched, 1, 0) > 0
    }

    /// Sends what is buffered, now or when the socket takes it; false where the connection is broken.
    func flush() -> Bool {
        let status = PQflush(connection)
        guard status >= 0 else { return false }
        let isLeft = status == 1
        if isLeft != isWriting {
            isWriting = isLeft
            if isLeft { writes.resume() } else { writes.suspend() }
        }
        return true
    }

    private static func connect(_ keywords: [String], _ values: [String]) -> OpaquePointer? {
        let texts = (keywords + values).map { Array($0.utf8CString) }
        let bytes = texts.flatMap { $0 }
        var offsets: [Int] = []
        var offset = 0
        for text in texts {
            offsets.append(offset)
            offset += text.count
        }
        return bytes.withUnsafeBufferPointer { buffer -> OpaquePointer? in
            let pointers = offsets.map { offset in buffer.baseAddress.map { $0 + offset } }
            let names: [UnsafePointer<CChar>?] = Array(pointers.prefix(keywords.count)) + [nil]
            let settings: [UnsafePointer<CChar>?] = Array(pointers.suffix(values.count)) + [nil]
            return PQconnectdbParams(names, settings, 0)
        }
    }

    /// Hosts, names of users and databases, and the server's reason, who may be one that says the password
    /// back.
    private static func refusal(_ connection: OpaquePointer) -> String {
        let message = String(cString: PQerrorMessage(connection))
        let line = message.split(separator: "\n").first.map(String.init) ?? "no connection"
        let password = PQpass(connection).map { String(cString: $0) } ?? ""
        return password.isEmpty ? line : line.replacing(password, with: "•••")
    }

    private static func prepare(
        _ connection: OpaquePointer, isReadOnly: Bool
    ) throws(DatabaseError) {
        guard PQstatus(connection) == CONNECTION_OK else {
            throw .unavailable(refusal(connection))
        }
        let encoding = PQparameterStatus(connection, "server_encoding").map { String(cString: $0) }
        guard encoding == "UTF8" else {
            throw .other(code: -1, reason: "the database's encoding is not UTF8")
        }
        PQsetNoticeProcessor(connection, { _, _ in }, nil)
        if isReadOnly {
            // Not an option of the connection: by that libpq would take the server for a standby.
            let result = PQexec(
                connection, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
            defer { PQclear(result) }
            guard PQresultStatus(result) == PGRES_COMMAND_OK else {
                throw .unavailable("the session cannot be made read-only")
            }
        }
        guard PQsetnonblocking(connection, 1) == 0, PQenterPipelineMode(connection) == 1
        else { throw .unavailable("the connection has no pipeline mode") }
    }
}
