// Fragmented MP4, read only as far as the player needs.
// SPDX-License-Identifier: Apache-2.0

function* boxes(view, from, to) {
  while (from + 8 <= to) {
    let size = view.getUint32(from), head = 8;
    if (size === 1 && from + 16 <= to) { size = Number(view.getBigUint64(from + 8)); head = 16; }
    if (size === 0) size = to - from;
    if (size < head || from + size > to) return;
    const kind = String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + from + 4, 4));
    yield { kind, start: from + head, end: from + size };
    from += size;
  }
}
function findBox(view, path, from = 0, to = view.byteLength) {
  for (const b of boxes(view, from, to)) if (b.kind === path[0])
    return path.length === 1 ? b : findBox(view, path.slice(1), b.start, b.end);
  return null;
}
export function readInit(buffer) {
  const view = new DataView(buffer), bytes = new Uint8Array(buffer);
  const mdhd = findBox(view, ['moov', 'trak', 'mdia', 'mdhd']);
  const timescale = mdhd ? view.getUint32(mdhd.start + (bytes[mdhd.start] === 1 ? 20 : 12)) : 90000;
  let codec = null;
  for (let i = 4; i + 8 < bytes.length; i++) // "avcC": the profile bytes follow its version byte
    if (bytes[i] === 0x61 && bytes[i + 1] === 0x76 && bytes[i + 2] === 0x63 && bytes[i + 3] === 0x43) {
      codec = 'avc1.' + [5, 6, 7].map(n => bytes[i + n].toString(16).padStart(2, '0')).join('').toUpperCase();
      break;
    }
  return { timescale: timescale || 90000, codec };
}
export function readDecodeTime(buffer, timescale) {
  const view = new DataView(buffer), b = findBox(view, ['moof', 'traf', 'tfdt']);
  if (!b) return null;
  const ticks = view.getUint8(b.start) === 1 ? Number(view.getBigUint64(b.start + 4)) : view.getUint32(b.start + 4);
  return ticks / timescale;
}
