// Reads an HLS media playlist (RFC 8216).
// SPDX-License-Identifier: Apache-2.0

export function parsePlaylist(text, base) {
  const list = { target: 2, ended: false, segments: [] };
  let sequence = 0, map = null, duration = 0, jump = false, wall = null, range = null, lastEnd = 0;
  const attribute = (line, key) => line.match(new RegExp(`${key}="([^"]*)"`))?.[1];
  const byteRange = (text, start) => { const [n, at] = text.split('@').map(Number); return { from: at ?? start, to: (at ?? start) + n - 1 }; };
  for (const raw of text.split(/\r?\n/)) {
    const line = raw.trim(), value = line.slice(line.indexOf(':') + 1);
    if (line.startsWith('#EXTINF:')) duration = parseFloat(value) || 0;
    else if (line.startsWith('#EXT-X-TARGETDURATION:')) list.target = parseFloat(value) || 2;
    else if (line.startsWith('#EXT-X-MEDIA-SEQUENCE:')) sequence = parseInt(value, 10) || 0;
    else if (line.startsWith('#EXT-X-PROGRAM-DATE-TIME:')) wall = Date.parse(value);
    else if (line === '#EXT-X-DISCONTINUITY') jump = true;
    else if (line === '#EXT-X-ENDLIST') list.ended = true;
    else if (line.startsWith('#EXT-X-BYTERANGE:')) range = byteRange(value, lastEnd);
    else if (line.startsWith('#EXT-X-MAP:')) {
      const part = attribute(line, 'BYTERANGE');
      map = { url: new URL(attribute(line, 'URI') ?? '', base).href, range: part ? byteRange(part, 0) : null };
    } else if (line && !line.startsWith('#')) {
      list.segments.push({ sequence: sequence++, url: new URL(line, base).href, duration, jump, wall, range, map });
      lastEnd = range ? range.to + 1 : 0;
      if (wall !== null) wall += duration * 1000;
      jump = false; range = null;
    }
  }
  return list;
}
