// The fuzzers' entry: hands libFuzzer the target that MARSAD_FUZZ_TARGET names.
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// One input to one target. The answer is always 0: every input may go into the corpus.
typealias FuzzCallback = @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt

/// libFuzzer's driver, so that this program has a `main` of its own (libFuzzer, FuzzerInterface.h).
@_silgen_name("LLVMFuzzerRunDriver")
func runFuzzer(
    _ argumentCount: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ callback: FuzzCallback
) -> CInt

@main
enum Main {
    static func main() {
        let name = ProcessInfo.processInfo.environment["MARSAD_FUZZ_TARGET"] ?? ""
        if CommandLine.arguments.dropFirst().first == "--write-seeds" {
            return Seeds.write(into: CommandLine.arguments.dropFirst(2).first ?? "Seeds")
        }
        guard let target = FuzzTarget(rawValue: name) else {
            let known = FuzzTarget.allCases.map(\.rawValue).joined(separator: " ")
            print("MARSAD_FUZZ_TARGET must be one of: \(known)")
            exit(2)
        }
        var count = CommandLine.argc
        var arguments = CommandLine.unsafeArgv
        exit(runFuzzer(&count, &arguments, target.callback))
    }
}
