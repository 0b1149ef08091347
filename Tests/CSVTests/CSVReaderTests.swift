// Files as spreadsheets write them, and files that nobody should.
// SPDX-License-Identifier: Apache-2.0

import CSV
import Primitives
import Testing

@Suite struct CSVReaderTests {
    private func read(_ bytes: [UInt8]) -> [Result<CSVRecord, CSVError>] {
        var reader = CSVReader(bytes)
        var records: [Result<CSVRecord, CSVError>] = []
        while true {
            do throws(CSVError) {
                guard let record = try reader.next() else { return records }
                records.append(.success(record))
            } catch {
                records.append(.failure(error))
            }
        }
    }

    private func read(_ text: String) -> [Result<CSVRecord, CSVError>] { read(Array(text.utf8)) }

    private func record(_ line: Int, _ fields: String...) -> Result<CSVRecord, CSVError> {
        .success(CSVRecord(line: line, fields: fields))
    }

    @Test("reads quotes, new lines in fields, Arabic and every kind of line end")
    func wellFormed() {
        #expect(read("") == [])
        #expect(
            read("\u{FEFF}name,url\r\nبوابة,x\r\n") == [
                record(1, "name", "url"), record(2, "بوابة", "x"),
            ])
        #expect(
            read("a,b\rc,d\n\n\r\ne,") == [
                record(1, "a", "b"), record(2, "c", "d"), record(5, "e", ""),
            ])
        #expect(
            read("\"a \"\"b\"\", c\",\"two\r\nlines\",\"\"\nnext,,")
                == [record(1, "a \"b\", c", "two\nlines", ""), record(3, "next", "", "")])
        #expect(read("one") == [record(1, "one")])
        #expect(read("x 5\" y,z") == [record(1, "x 5\" y", "z")])
    }

    @Test("takes the separator of the first line")
    func separators() {
        #expect(read("a;b\n1,5;2") == [record(1, "a", "b"), record(2, "1,5", "2")])
        #expect(read("a\tb\n1,5\t2;3") == [record(1, "a", "b"), record(2, "1,5", "2;3")])
        #expect(read("a,b\n1;5,2") == [record(1, "a", "b"), record(2, "1;5", "2")])
    }

    @Test("says where a record is wrong, and goes on after it")
    func malformed() {
        #expect(
            read("a,b\n\"x\"y,z\nc,d")
                == [
                    record(1, "a", "b"), .failure(CSVError(.textAfterQuote, line: 2)),
                    record(3, "c", "d"),
                ])
        #expect(read("a\n\"b\nc") == [record(1, "a"), .failure(CSVError(.unendedQuote, line: 2))])
        #expect(
            read([0x61, 0x0A, 0xC3, 0x28, 0x0A, 0x62])
                == [record(1, "a"), .failure(CSVError(.notUTF8, line: 2)), record(3, "b")])
    }

    @Test("bounds a field and a record")
    func limits() {
        let long = String(repeating: "x", count: CSVReader.fieldBytes)
        #expect(read(long) == [record(1, long)])
        #expect(
            read(long + "x\na") == [.failure(CSVError(.fieldTooLong, line: 1)), record(2, "a")])
        let many = Array(repeating: "", count: CSVReader.fields).joined(separator: ",")
        #expect(read("a," + many) == [.failure(CSVError(.tooManyFields, line: 1))])
    }

    @Test("ends on any bytes, and reads back what was written")
    func anything() {
        let seed: UInt64 = 0x4353_5600
        var random = SeededRandom(seed: seed)
        let alphabet = Array("ab\"\r\n,;\tب".utf8) + [0xFF]
        for round in 0..<2000 {
            let length = Int.random(in: 0...60, using: &random)
            let bytes = (0..<length).map { _ in
                alphabet[Int.random(in: 0..<alphabet.count, using: &random)]
            }
            let records = read(bytes)
            #expect(records.count <= length + 1, "seed \(seed), round \(round)")
            let written = records.compactMap { try? $0.get().fields }.filter { $0.count > 1 }
            let text = written.map { fields in
                fields.map { "\"" + $0.replacing("\"", with: "\"\"") + "\"" }.joined(separator: ",")
            }.joined(separator: "\r\n")
            let again = read("a,b\n" + text).dropFirst().compactMap { try? $0.get().fields }
            #expect(again == written, "seed \(seed), round \(round)")
        }
    }
}
