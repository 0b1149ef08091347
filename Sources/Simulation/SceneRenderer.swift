// Draws what a simulated camera sees: a street with vehicles and people, by day or by night.
// SPDX-License-Identifier: Apache-2.0

import Primitives

/// Renders the frames of one camera's loop. Everything that moves makes whole rounds in a loop, so
/// the last frame runs into the first without a jump.
package struct SceneRenderer: Sendable {
    /// The camera's number, from 1: it seeds the street, its traffic and the hour of the day.
    package let camera: Int
    package let width: Int
    package let height: Int
    /// Frames in the loop.
    package let frameCount: Int
    package let framesPerSecond: Double

    private let isNight: Bool
    private let background: YUVImage
    private let vehicles: [Mover]
    private let people: [Mover]
    private let noise: SensorNoise

    /// One thing that crosses the picture `rounds` times in a loop.
    private struct Mover: Sendable {
        var start: Double
        var rounds: Int
        var lane: Int
        var size: Int
        var color: YUVColor
    }

    package init(camera: Int, width: Int, height: Int, frameCount: Int, framesPerSecond: Double) {
        self.camera = camera
        self.width = width
        self.height = height
        self.frameCount = max(1, frameCount)
        self.framesPerSecond = framesPerSecond
        isNight = camera % 3 == 0
        var random = SeededRandom(seed: UInt64(truncatingIfNeeded: camera) &* 7919)
        background = Self.street(
            width: width, height: height, isNight: isNight, camera: camera, random: &random)
        vehicles = Self.vehicles(isNight: isNight, random: &random)
        people = Self.people(isNight: isNight, random: &random)
        noise = SensorNoise(seed: UInt64(truncatingIfNeeded: camera), amplitude: 4)
    }

    /// The picture of one frame of the loop, with name, clock and frame code.
    package func frame(_ index: Int) -> YUVImage {
        var image = background
        let position = Double(index % frameCount) / Double(frameCount)
        for person in people { drawPerson(person, at: position, frame: index, into: &image) }
        for vehicle in vehicles.sorted(by: { $0.lane < $1.lane }) {
            drawVehicle(vehicle, at: position, into: &image)
        }
        image.addSensorNoise(noise, frame: index % frameCount)
        drawCaption(index, into: &image)
        FrameCode(
            frame: UInt16(truncatingIfNeeded: index % frameCount),
            camera: UInt8(truncatingIfNeeded: camera)
        ).draw(into: &image)
        return image
    }

    // MARK: Things that move

    private func drawVehicle(_ mover: Mover, at position: Double, into image: inout YUVImage) {
        let length = width * mover.size / 100
        let tall = length * 2 / 5
        let goesRight = mover.lane % 2 == 0
        var along = mover.start + position * Double(mover.rounds)
        along -= along.rounded(.down)
        if !goesRight { along = 1 - along }
        let x = Int(along * Double(width + 2 * length)) - length
        let ground = height * (62 + 11 * mover.lane) / 100
        let body = ground - tall * 3 / 4
        let glass = YUVColor(red: 60, green: 80, blue: 100).dimmed(percent: isNight ? 50 : 100)
        image.fillRectangle(
            x: x + length / 5, y: body - tall / 3, width: length * 3 / 5, height: tall / 3 + 1,
            glass)
        image.fillRectangle(x: x, y: body, width: length, height: tall * 3 / 5, mover.color)
        let wheel = max(2, tall / 5)
        for center in [x + length / 5, x + length * 4 / 5] {
            image.fillDisc(
                centerX: center, centerY: ground - wheel, radius: wheel, YUVColor(y: 24))
        }
        let lamp = max(2, tall / 6)
        let (front, rear) = goesRight ? (x + length - lamp, x) : (x, x + length - lamp)
        image.fillRectangle(
            x: front, y: body + tall / 5, width: lamp, height: lamp,
            YUVColor(red: 255, green: 245, blue: 190))
        image.fillRectangle(
            x: rear, y: body + tall / 5, width: lamp, height: lamp,
            YUVColor(red: 220, green: 30, blue: 30))
    }

    private func drawPerson(
        _ mover: Mover, at position: Double, frame: Int, into image: inout YUVImage
    ) {
        let tall = height * mover.size / 100
        var along = mover.start + position * Double(mover.rounds)
        along -= along.rounded(.down)
        if mover.lane % 2 == 1 { along = 1 - along }
        let x = Int(along * Double(width + tall)) - tall / 2
        let ground = height * 54 / 100 + mover.lane * height / 90
        let wide = max(2, tall / 4)
        let stride = frame / 6 % 2 == 0 ? wide / 2 : 0
        image.fillRectangle(
            x: x - wide / 2 - stride / 2, y: ground - tall * 2 / 5, width: max(1, wide / 3),
            height: tall * 2 / 5, YUVColor(y: 40))
        image.fillRectangle(
            x: x + wide / 6 + stride / 2, y: ground - tall * 2 / 5, width: max(1, wide / 3),
            height: tall * 2 / 5, YUVColor(y: 40))
        image.fillRectangle(
            x: x - wide / 2, y: ground - tall * 4 / 5, width: wide, height: tall * 2 / 5,
            mover.color)
        image.fillDisc(
            centerX: x, centerY: ground - tall * 9 / 10, radius: max(1, tall / 10),
            YUVColor(red: 200, green: 160, blue: 130).dimmed(percent: isNight ? 55 : 100))
    }

    private func drawCaption(_ index: Int, into image: inout YUVImage) {
        let scale = max(1, width / 320)
        let name = "CAMERA \(padded(camera, 2)) \(isNight ? "NIGHT" : "DAY")"
        let hundredths = Int(Double(index % frameCount) * 100 / max(1, framesPerSecond))
        // Seconds modulo the loop: the loop divides a minute, so these are the wall clock's.
        let clock = "S \(padded(hundredths / 100, 2)).\(padded(hundredths % 100, 2))"
        let line = BitmapFont.glyphHeight * scale
        let top = height - line - 3 * scale
        image.fillRectangle(
            x: 0, y: height - line - 6 * scale, width: width, height: line + 6 * scale,
            YUVColor(y: 20))
        BitmapFont.draw(
            name, x: 4 * scale, y: top, scale: scale, color: YUVColor(y: 225), into: &image)
        let right = width - BitmapFont.width(of: clock, scale: scale) - 4 * scale
        BitmapFont.draw(
            clock, x: right, y: top, scale: scale, color: YUVColor(y: 225), into: &image)
    }

    // MARK: Things that stay

    private static func street(
        width: Int, height: Int, isNight: Bool, camera: Int, random: inout SeededRandom
    ) -> YUVImage {
        let percent = isNight ? 35 : 100
        let sky =
            isNight
            ? YUVColor(red: 14, green: 18, blue: 44)
            : YUVColor(red: 150 - camera % 4 * 12, green: 195, blue: 235)
        var image = YUVImage(width: width, height: height, fill: sky)
        var x = 0
        while x < width {
            let wide = width / 14 + Int(random.next() % UInt64(max(1, width / 12)))
            let tall = height / 6 + Int(random.next() % UInt64(max(1, height / 5)))
            let shade = 90 + Int(random.next() % 90)
            let wall = YUVColor(red: shade + 20, green: shade + 10, blue: shade)
                .dimmed(percent: percent)
            let top = height / 2 - tall
            image.fillRectangle(x: x, y: top, width: wide, height: tall, wall)
            windows(x: x, y: top, width: wide, height: tall, isNight: isNight, &random, &image)
            x += wide + 2
        }
        let pavement = YUVColor(red: 170, green: 165, blue: 155).dimmed(percent: percent)
        let asphalt = YUVColor(red: 84, green: 84, blue: 88).dimmed(percent: percent)
        let paint = YUVColor(red: 230, green: 230, blue: 220).dimmed(percent: isNight ? 60 : 100)
        image.fillRectangle(
            x: 0, y: height / 2, width: width, height: height * 8 / 100, pavement)
        image.fillRectangle(
            x: 0, y: height * 58 / 100, width: width, height: height * 42 / 100, asphalt)
        for lane in 1..<4 {
            let y = height * (62 + 11 * lane) / 100 - height * 8 / 100
            for dash in 0..<10 {
                image.fillRectangle(
                    x: dash * width / 10, y: y, width: width / 20, height: max(2, height / 150),
                    paint)
            }
        }
        return image
    }

    private static func windows(
        x: Int, y: Int, width: Int, height: Int, isNight: Bool, _ random: inout SeededRandom,
        _ image: inout YUVImage
    ) {
        let step = max(6, width / 4)
        for row in stride(from: y + step / 2, to: y + height - step / 2, by: step) {
            for column in stride(from: x + step / 3, to: x + width - step / 2, by: step) {
                let isLit = random.next() % 3 == 0
                let color =
                    isNight
                    ? (isLit ? YUVColor(red: 235, green: 200, blue: 110) : YUVColor(y: 30))
                    : YUVColor(red: 70, green: 95, blue: isLit ? 150 : 120)
                image.fillRectangle(
                    x: column, y: row, width: step / 2, height: step / 2, color)
            }
        }
    }

    private static func vehicles(isNight: Bool, random: inout SeededRandom) -> [Mover] {
        (0..<7).map { index in
            let color = YUVColor(
                red: Int(random.next() % 200) + 40, green: Int(random.next() % 200) + 30,
                blue: Int(random.next() % 200) + 30)
            return Mover(
                start: Double(random.next() % 1000) / 1000, rounds: 2 + Int(random.next() % 3),
                lane: index % 4, size: 9 + Int(random.next() % 7) + index % 4 * 2,
                color: color.dimmed(percent: isNight ? 50 : 100))
        }
    }

    private static func people(isNight: Bool, random: inout SeededRandom) -> [Mover] {
        (0..<5).map { index in
            let color = YUVColor(
                red: Int(random.next() % 220) + 20, green: Int(random.next() % 180) + 20,
                blue: Int(random.next() % 220) + 20)
            return Mover(
                start: Double(random.next() % 1000) / 1000, rounds: 1, lane: index % 4,
                size: 13 + Int(random.next() % 4),
                color: color.dimmed(percent: isNight ? 55 : 100))
        }
    }
}
