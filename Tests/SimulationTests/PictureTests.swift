// The pictures of the simulated cameras and the code in them.
// SPDX-License-Identifier: Apache-2.0

import Primitives
import Simulation
import Testing

@Suite("Pictures")
struct PictureTests {
    @Test("a frame code is read back from the picture it was drawn into", arguments: [320, 1920])
    func codeRoundTrip(width: Int) {
        var random = SeededRandom(seed: 7)
        var image = YUVImage(width: width, height: 180, fill: YUVColor(y: 90))
        for _ in 0..<20 {
            let code = FrameCode(
                frame: UInt16(truncatingIfNeeded: random.next()),
                camera: UInt8(truncatingIfNeeded: random.next()))
            code.draw(into: &image)
            #expect(FrameCode.read(luma: image.luma, stride: width) == code)
        }
    }

    @Test("a picture without a code, or too small for one, gives none")
    func noCode() {
        for level: UInt8 in [16, 90, 235] {
            let image = YUVImage(width: 320, height: 180, fill: YUVColor(y: level))
            #expect(FrameCode.read(luma: image.luma, stride: 320) == nil)
            #expect(FrameCode.read(luma: image.luma.prefix(5000), stride: 320) == nil)
        }
        #expect(FrameCode.read(luma: [UInt8](), stride: 0) == nil)
        #expect(FrameCode.read(luma: [UInt8](), stride: -320) == nil)
    }

    @Test("a code survives noise as strong as a poor encoder's")
    func noisyCode() {
        let code = FrameCode(frame: 499, camera: 9)
        var image = YUVImage(width: 320, height: 180)
        code.draw(into: &image)
        var random = SeededRandom(seed: 3)
        let noisy = image.luma.map { UInt8(clamping: Int($0) + Int(random.next() % 81) - 40) }
        #expect(FrameCode.read(luma: noisy, stride: 320) == code)
    }

    @Test("a scene moves, differs by camera, and carries its frame's number", arguments: [1, 3])
    func sceneMoves(camera: Int) {
        let renderer = SceneRenderer(
            camera: camera, width: 320, height: 180, frameCount: 100, framesPerSecond: 5)
        let other = SceneRenderer(
            camera: camera + 1, width: 320, height: 180, frameCount: 100, framesPerSecond: 5)
        let (first, later) = (renderer.frame(0), renderer.frame(10))
        func differing(_ a: YUVImage, _ b: YUVImage) -> Int {
            // Below the code, above the caption.
            let rows = (320 * 40)..<(320 * 160)
            return zip(a.luma[rows], b.luma[rows]).filter { $0 != $1 }.count
        }
        #expect(differing(first, later) > 200)
        #expect(differing(first, other.frame(0)) > 2000)
        #expect(renderer.frame(100).bytes == first.bytes)
        #expect(first.bytes.count == 320 * 180 * 3 / 2)
        #expect(
            FrameCode.read(luma: later.luma, stride: 320)
                == FrameCode(frame: 10, camera: UInt8(camera)))
    }

    @Test("a scene of any size, however small, is drawn without a fault")
    func oddSizes() {
        for (width, height) in [(2, 2), (33, 17), (256, 144), (640, 2)] {
            let renderer = SceneRenderer(
                camera: 2, width: width, height: height, frameCount: 3, framesPerSecond: 1)
            #expect(!renderer.frame(2).bytes.isEmpty)
        }
    }
}
