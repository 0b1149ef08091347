// Finds the whole fragments of a recording, however its writing ended.
// SPDX-License-Identifier: Apache-2.0

package import H26x
package import NIOCore

/// Walks a recording box by box, sans I/O: it asks for byte ranges and reads box headers, `moov`
/// and `moof`, but no picture. Where the boxes break off it searches for the next fragment: what a
/// crash left half-written at the end, and holes in the middle, are told apart from what plays.
package struct FileScanner: Sendable {
    /// What the scanner wants next.
    package enum Step: Sendable {
        /// Read `count` bytes at `offset` and hand them to `next(_:)`; they lie inside the file.
        case need(offset: UInt64, count: Int)
        /// The scan is over.
        case done(Scan)
    }

    /// A fragment that lies wholly in the file.
    package struct ScannedFragment: Equatable, Sendable {
        /// Where its `moof` starts.
        package var offset: UInt64
        /// Bytes of `moof` and `mdat`.
        package var size: UInt64
        /// The decode time of its first sample.
        package var baseDecodeTime: Int64
        /// 90 kHz ticks.
        package var duration: UInt64
        /// How many pictures it holds.
        package var sampleCount: Int
        /// Whether decoding can start at it.
        package var firstIsSync: Bool
    }

    /// What a scan found.
    package struct Scan: Equatable, Sendable {
        /// The bytes of `ftyp` and `moov`.
        package var initSegment: Range<UInt64>?
        /// The parameter sets in `moov`.
        package var parameterSets: ParameterSets?
        /// The fragments in file order.
        package var fragments: [ScannedFragment] = []
        /// The last valid box ends here; a writer may truncate to it and go on.
        package var validLength: UInt64 = 0
        /// Bytes below `validLength` that belong to no valid box.
        package var holes: [Range<UInt64>] = []
        /// What was wrong first; `nil` where nothing was.
        package var damage: String?
    }

    private let fileLength: UInt64
    private var scan = Scan()
    private var offset: UInt64 = 0
    private var asked: Int?
    private var boxCount = 0
    /// Set while looking for the next fragment: where the hole began.
    private var holeStart: UInt64?
    /// The bytes asked for are for a search, not for a box.
    private var isSearching = false

    /// Starts at the first byte of a file of this length.
    package init(fileLength: UInt64) { self.fileLength = fileLength }

    /// Takes the bytes asked for (`nil` on the first call, or where reading failed).
    package mutating func next(_ bytes: ByteBuffer?) -> Step {
        guard let wanted = asked else {
            return offset == fileLength ? .done(scan) : ask(Limits.scanProbeBytes)
        }
        asked = nil
        guard let bytes, bytes.readableBytes >= wanted else {
            return stop("read failed at byte \(offset)")
        }
        let buffer = bytes.slice()
        if isSearching { return search(buffer) }
        do throws(MP4Error) {
            return try visitBox(buffer)
        } catch {
            return stop("\(error) in the box at byte \(offset)")
        }
    }

    /// Looks for the type of a fragment's first box; `offset` is where the buffer begins.
    private mutating func search(_ buffer: ByteBuffer) -> Step {
        isSearching = false
        let found = buffer.withUnsafeReadableBytes { bytes -> Int? in
            var position = 4
            while position + 4 <= bytes.count {
                // The last byte tells how far the next candidate is at least.
                switch bytes[position + 3] {
                case UInt8(ascii: "f"):
                    if bytes[position..<(position + 3)].elementsEqual("moo".utf8) {
                        return position - 4
                    }
                    position += 4
                case UInt8(ascii: "o"), UInt8(ascii: "m"):
                    position += 1
                default:
                    position += 4
                }
            }
            return nil
        }
        if let found {
            offset += UInt64(found)
            return ask(Limits.scanProbeBytes)
        }
        guard offset + UInt64(buffer.readableBytes) < fileLength else { return .done(scan) }
        // A type may lie across the end of what was read.
        offset += UInt64(max(1, buffer.readableBytes - 7))
        return askSearch()
    }

    /// Looks at the box at `offset`, of which at least the first `buffer` bytes are here.
    private mutating func visitBox(_ buffer: ByteBuffer) throws(MP4Error) -> Step {
        guard let header = try BoxHeader(in: buffer, at: 0) else {
            return stop("cut inside a box header at byte \(offset)")
        }
        let name = header.type.text
        guard header.size <= fileLength - offset else {
            return stop("\(name) at byte \(offset) is cut")
        }
        // In a hole only a fragment is believed: its boxes check each other.
        guard holeStart == nil || header.type == "moof" else {
            return stop("unexpected box \(name) at byte \(offset)")
        }
        switch header.type {
        case "moov":
            return try visitMovie(buffer, size: header.size)
        case "moof":
            return try visitFragment(buffer, moofSize: header.size)
        case "ftyp", "styp", "free", "skip", "sidx", "emsg", "prft", "uuid", "mfra":
            return advance(by: header.size)
        default:
            return stop("unexpected box \(name) at byte \(offset)")
        }
    }

    private mutating func visitMovie(_ buffer: ByteBuffer, size: UInt64) throws(MP4Error) -> Step {
        guard size <= Limits.maxMovieBytes else { throw .invalidValue(field: "size", offset: 0) }
        guard scan.initSegment == nil else { throw .unsupported("second moov", offset: 0) }
        guard let movie = buffer.getSlice(at: 0, length: Int(size)) else { return ask(size) }
        scan.parameterSets = try InitSegment.parameterSets(in: movie)
        scan.initSegment = 0..<(offset + size)
        return advance(by: size)
    }

    private mutating func visitFragment(
        _ buffer: ByteBuffer, moofSize: UInt64
    ) throws(MP4Error) -> Step {
        guard scan.initSegment != nil else { throw .missingBox("moov") }
        guard moofSize <= Limits.maxMovieFragmentBytes else {
            throw .invalidValue(field: "size", offset: 0)
        }
        let largestHeaderBytes: UInt64 = 16
        let wanted = min(moofSize + largestHeaderBytes, fileLength - offset)
        guard UInt64(buffer.readableBytes) >= wanted else { return ask(wanted) }
        let header = try FragmentHeader.parse(buffer)
        guard UInt64(header.size) <= fileLength - offset else {
            return stop("fragment at byte \(offset) is cut")
        }
        guard header.fillsMediaData else {
            throw .invalidValue(field: "mdat size", offset: Int(moofSize))
        }
        scan.fragments.append(
            ScannedFragment(
                offset: offset, size: UInt64(header.size), baseDecodeTime: header.baseDecodeTime,
                duration: header.duration, sampleCount: header.samples.count,
                firstIsSync: header.firstIsSync))
        return advance(by: UInt64(header.size))
    }

    private mutating func advance(by size: UInt64) -> Step {
        if let start = holeStart {
            scan.holes.append(start..<offset)
            holeStart = nil
        }
        offset += size
        scan.validLength = offset
        boxCount += 1
        if offset == fileLength { return .done(scan) }
        guard boxCount < Limits.maxBoxesPerFile else {
            if scan.damage == nil { scan.damage = "too many boxes" }
            return .done(scan)
        }
        return ask(Limits.scanProbeBytes)
    }

    private mutating func ask(_ count: UInt64) -> Step {
        let count = Int(min(count, fileLength - offset))
        asked = count
        return .need(offset: offset, count: count)
    }

    private mutating func askSearch() -> Step {
        guard offset < fileLength else { return .done(scan) }
        isSearching = true
        return ask(Limits.searchBytes)
    }

    /// Notes what is wrong at `offset`, and looks for a fragment behind it where one can be.
    private mutating func stop(_ damage: String) -> Step {
        if scan.damage == nil { scan.damage = damage }
        let wasSearching = isSearching
        isSearching = false
        guard scan.initSegment != nil else { return .done(scan) }
        if holeStart == nil { holeStart = offset }
        boxCount += 1
        guard boxCount < Limits.maxBoxesPerFile else { return .done(scan) }
        // What cannot be read is passed over by what a search reads at once.
        offset += wasSearching ? min(Limits.searchBytes, fileLength - offset) : 1
        return askSearch()
    }
}
