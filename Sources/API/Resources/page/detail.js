// One camera in full: live, and its recordings on a line of time.
// SPDX-License-Identifier: Apache-2.0

import { Player } from './hls.js';
import { Picture } from './picture.js';
import { ask, errorText } from './server.js';
import { cameras, factsOf, tiles } from './wall.js';
import { $, clockText, iso, nameOf, t } from './words.js';

/** What is open; `null` while the wall is shown. */
export let big = null;
const bigPicture = new Picture($('stage'), $('bigShot'), $('bigVideo'), $('bigState'), $('bigNote'));
export function openBig(id) {
  const camera = cameras.find(c => c.id === id);
  if (!camera) return;
  big = { camera, mode: null, span: 3600, coverage: [], gaps: [] };
  for (const tile of tiles.values()) tile.picture.show(false); // the grid rests under the big view
  $('big').showModal(); setMode('live');
}
$('big').addEventListener('close', () => {
  const id = big?.camera.id;
  stopRecording(); bigPicture.clear(); big = null;
  for (const tile of tiles.values()) tile.picture.show(tile.picture.inView);
  tiles.get(id)?.focus();
});
export function setMode(mode) {
  if (!big || big.mode === mode) return;
  big.mode = mode; say(null); stopRecording(); bigPicture.clear();
  $('toLive').setAttribute('aria-pressed', mode === 'live'); $('toRec').setAttribute('aria-pressed', mode === 'rec');
  $('recPanel').hidden = mode !== 'rec'; $('stage').dataset.mode = mode; $('stage').dataset.frames = 0; $('stage').dataset.shown = 'none';
  $('bigNote').replaceChildren(); $('clock').textContent = '';
  drawBig();
  if (mode === 'live') { bigPicture.update(big.camera); bigPicture.show(true); }
  else openRecordings(big);
}
export function drawBig() {
  $('bigName').textContent = nameOf(big.camera); $('bigFacts').textContent = factsOf(big.camera);
  $('bigState').hidden = big.mode === 'rec';
  $('line').setAttribute('aria-label', t('timeline'));
  if (big.mode === 'live' && bigPicture.camera) bigPicture.update(big.camera);
}
export function setSpan(seconds) { big.span = seconds; }
function say(text) { $('message').hidden = !text; $('message').textContent = text ?? ''; }
export function tickBig() {
  if (!big) return;
  if (big.mode === 'live') {
    bigPicture.refresh();
    const wall = bigPicture.player?.isFresh ? bigPicture.player.wall : null;
    $('clock').textContent = wall ? clockText(wall, true) : '';
    return;
  }
  const player = big.player, wall = player?.wall ?? big.at ?? null;
  $('play').textContent = t(player && !$('bigVideo').paused ? 'pause' : 'play');
  if (player) { $('stage').dataset.frames = player.frames; if (player.frames > 0) { $('stage').dataset.shown = 'recorded'; $('bigNote').replaceChildren(); } }
  $('clock').textContent = wall ? clockText(wall, true) : '';
  if (!big.dragging && wall) placeHead(wall);
  if (performance.now() - big.loaded > 5000) { big.loaded = performance.now(); loadTimeline(); }
}

// ---------- Recordings ----------
function stopRecording() { if (big?.player) { big.player.stop(); big.player = null; } if (big) big.turn = (big.turn ?? 0) + 1; }
export async function loadTimeline() {
  const view = big, to = Date.now(), from = to - view.span * 1000;
  view.loaded = performance.now();
  const query = new URLSearchParams({ camera_id: view.camera.id, start_time: iso(from), end_time: iso(to),
    resolution_seconds: Math.max(1, Math.round(view.span / 1440)) });
  try {
    const line = await (await ask(`/api/v1/playback/timeline?${query}`)).json();
    if (view !== big || view.mode !== 'rec') return;
    const times = x => ({ from: Date.parse(x.start_time), to: Date.parse(x.end_time), reason: x.reason });
    Object.assign(view, { from, to, coverage: (line.coverage ?? []).map(times), gaps: (line.gaps ?? []).map(times) });
    drawTimeline();
  } catch (error) { if (view === big) say(errorText(error)); }
}
const part = wall => Math.min(100, Math.max(0, (wall - big.from) / (big.to - big.from) * 100));
export function drawTimeline() {
  const add = (cls, from, to) => { const e = document.createElement('div'); e.className = cls; e.style.left = part(from) + '%';
    if (to) e.style.width = Math.max(.15, part(to) - part(from)) + '%'; $('bands').append(e); return e; };
  $('bands').replaceChildren();
  for (const c of big.coverage) add('cover', c.from, c.to).dataset.testid = 'coverage';
  for (const g of big.gaps) add('hole', g.from, g.to).dataset.testid = 'gap';
  const step = big.span / 6 * 1000;
  for (let at = Math.ceil(big.from / step) * step; at < big.to; at += step) add('tick', at).textContent = clockText(at).slice(0, 5);
  for (const b of document.querySelectorAll('[data-span]')) b.setAttribute('aria-pressed', +b.dataset.span === big.span);
}
function placeHead(wall) {
  if (!big.from) return;
  $('head').hidden = wall < big.from || wall > big.to; $('head').style.left = part(wall) + '%';
  const line = $('line');
  line.setAttribute('aria-valuemin', 0); line.setAttribute('aria-valuemax', 100);
  line.setAttribute('aria-valuenow', part(wall).toFixed(1)); line.setAttribute('aria-valuetext', clockText(wall, true));
}
async function openRecordings(view) {
  await loadTimeline();
  if (view.coverage[0]?.from > Date.now() - 540000) { view.span = 600; await loadTimeline(); } // a young recording fills the line
  if (view === big) playFrom(null);
}
/** The nearest recorded time: inside a piece, else the start of the next piece, else near the end of the last. */
function recorded(wall) {
  const pieces = big.coverage;
  if (!pieces.length) return null;
  const last = pieces.at(-1), near = Math.max(last.from, last.to - 30000);
  if (wall === null) return near;
  const piece = pieces.find(p => wall < p.to - 1000);
  return piece ? Math.max(wall, piece.from) : Math.max(last.from, last.to - 5000);
}
export async function playFrom(wall) {
  const view = big, at = view && view.mode === 'rec' ? recorded(wall) : null;
  if (!view || view.mode !== 'rec') return;
  if (at === null) { $('bigNote').textContent = t('noRec'); return; }
  say(null);
  if (view.player?.seekWall(at)) { $('bigVideo').play().catch(() => {}); return; }
  stopRecording();
  const turn = view.turn, camera_id = view.camera.id, end = Math.min(at + 600000, Math.max(at + 1000, view.coverage.at(-1).to));
  view.at = at; placeHead(at);
  if ($('stage').dataset.shown === 'none') $('bigNote').textContent = t('loading');
  try {
    const body = JSON.stringify({ camera_id, start_time: iso(at), end_time: iso(end), format: 'HLS' });
    const session = await (await ask('/api/v1/playback/prepare', { method:'POST', headers:{ 'Content-Type':'application/json' }, body })).json();
    if (view !== big || turn !== view.turn) return;
    const began = performance.now();
    view.player = new Player($('bigVideo'), { url: session.playlist_url, live: false, codec: view.camera.codec, from: at,
      onFail: error => {
        const where = view.player?.wall ?? at;
        if (view === big && performance.now() - began > 5000) playFrom(where); else say(errorText(error));
      },
      onEnd: () => loadTimeline().then(() => {
        if (view !== big || turn !== view.turn) return;
        if (view.coverage.some(p => p.to > end + 3000)) playFrom(end); else say(t('end'));
      }) });
    $('bigVideo').playbackRate = +$('rate').value;
    $('bigVideo').defaultPlaybackRate = +$('rate').value;
  } catch (error) { if (view === big && turn === view.turn) { $('bigNote').replaceChildren(); say(errorText(error)); } }
}
export const current = () => big.player?.wall ?? big.at ?? Date.now();
const pointed = event => { const r = $('line').getBoundingClientRect(); return big.from + Math.min(1, Math.max(0, (event.clientX - r.left) / r.width)) * (big.to - big.from); };
let thumbTimer, thumbAbort, thumbURL;
function hover(event) {
  if (!big?.from) return;
  const wall = pointed(event), r = $('line').getBoundingClientRect(), gap = big.gaps.find(g => g.from <= wall && wall < g.to);
  $('hover').hidden = false;
  $('hover').style.left = Math.min(r.width - 240, Math.max(0, event.clientX - r.left - 120)) + 'px';
  $('hover').lastElementChild.textContent = clockText(wall, true);
  $('gapText').textContent = gap ? `${t('gap')}: ${t(gap.reason)}` : '';
  if (big.dragging) placeHead(wall);
  clearTimeout(thumbTimer);
  thumbTimer = setTimeout(async () => {
    if (!big) return;
    thumbAbort?.abort(); thumbAbort = new AbortController();
    try {
      const query = new URLSearchParams({ camera_id: big.camera.id, at: iso(wall), width: 240 });
      const blob = await (await ask(`/api/v1/playback/thumbnail?${query}`, { signal: thumbAbort.signal })).blob();
      if (thumbURL) URL.revokeObjectURL(thumbURL);
      $('thumb').src = thumbURL = URL.createObjectURL(blob); $('thumb').hidden = false;
    } catch (error) { if (error.name !== 'AbortError') $('thumb').hidden = true; }
  }, 90);
}
const line = $('line');
line.addEventListener('pointerdown', e => { if (!big?.from) return; big.dragging = true; line.setPointerCapture(e.pointerId); hover(e); });
line.addEventListener('pointermove', hover);
line.addEventListener('pointerup', e => { if (!big?.dragging) return; big.dragging = false; playFrom(pointed(e)); });
line.addEventListener('pointercancel', () => { if (big) big.dragging = false; });
line.addEventListener('pointerleave', () => { if (!big?.dragging) { $('hover').hidden = true; $('gapText').textContent = ''; clearTimeout(thumbTimer); } });
line.addEventListener('keydown', event => {
  const step = { ArrowLeft: -10, ArrowRight: 10, PageDown: -60, PageUp: 60 }[event.key];
  if (step) { playFrom(current() + step * (event.shiftKey ? 6000 : 1000)); event.preventDefault(); }
  if (event.key === 'Home' && big.coverage[0]) playFrom(big.coverage[0].from);
  if (event.key === 'End') playFrom(null);
  if (event.key === ' ') { $('play').click(); event.preventDefault(); }
});
