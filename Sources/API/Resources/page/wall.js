// The wall: a tile for each camera.
// SPDX-License-Identifier: Apache-2.0

import { big, drawBig, openBig, tickBig } from './detail.js';
import { Picture } from './picture.js';
import { ask, ServerError } from './server.js';
import { $, nameOf, remember, t } from './words.js';

export const tiles = new Map();
export let cameras = [];
let columns = remember('marsad.cols') || '0';
export const columnCount = () => columns;
export function setColumns(count) { columns = count; remember('marsad.cols', count); drawGrid(); }
const inView = new IntersectionObserver(changes => {
  for (const c of changes) { c.target.picture.inView = c.isIntersecting; c.target.picture.show(c.isIntersecting && !big); }
}, { rootMargin: '80px' });
function makeTile(camera) {
  const tile = document.createElement('article');
  tile.className = 'tile'; tile.tabIndex = 0; tile.setAttribute('role', 'button');
  tile.dataset.testid = 'tile'; tile.dataset.cameraId = camera.id; tile.dataset.shown = 'none'; tile.dataset.frames = '0';
  const make = (tag, cls, parent) => { const e = document.createElement(tag); e.className = cls; parent.append(e); return e; };
  const img = make('img', 'shot', tile), video = make('video', 'vid', tile), note = make('div', 'note', tile);
  img.alt = ''; video.muted = true; video.playsInline = true;
  const top = make('div', 'top', tile), bottom = make('div', 'bottom', tile);
  tile.nameText = make('bdi', 'name', top); tile.recMark = make('span', 'rec', top); tile.recMark.textContent = '●';
  const badge = make('span', 'badge', top);
  badge.dataset.testid = 'state'; tile.facts = make('bdi', 'num', bottom);
  tile.picture = new Picture(tile, img, video, badge, note);
  tile.addEventListener('click', () => openBig(camera.id));
  inView.observe(tile); tiles.set(camera.id, tile);
  return tile;
}
export function drawGrid() {
  const words = $('find').value.trim().toLowerCase();
  const shown = cameras.filter(c => !words || `${c.name} ${c.name_ar} ${c.source}`.toLowerCase().includes(words));
  const known = new Set(cameras.map(c => c.id));
  for (const [id, tile] of tiles) if (!known.has(id)) { tile.picture.clear(); inView.unobserve(tile); tile.remove(); tiles.delete(id); }
  for (const tile of tiles.values()) tile.hidden = true;
  shown.forEach((camera, i) => {
    const tile = tiles.get(camera.id) ?? makeTile(camera);
    if ($('grid').children[i] !== tile) $('grid').insertBefore(tile, $('grid').children[i] ?? null);
    tile.hidden = false; tile.nameText.textContent = nameOf(camera);
    tile.recMark.hidden = !camera.recording; tile.recMark.title = t('rec');
    tile.facts.textContent = factsOf(camera);
    tile.picture.update(camera);
    tile.setAttribute('aria-label', `${nameOf(camera)}, ${tile.picture.badge.textContent}`);
  });
  const n = +columns || Math.min(5, Math.max(1, Math.ceil(Math.sqrt(shown.length))));
  $('grid').style.setProperty('--cols', n);
  $('grid').style.setProperty('--rows', Math.max(1, Math.min(n, Math.ceil(shown.length / n))));
  $('summary').textContent = cameras.length ? t('online')(cameras.filter(c => c.status === 'ONLINE').length, cameras.length) : t('empty');
  if (big) { const c = cameras.find(c => c.id === big.camera.id); if (c) { big.camera = c; drawBig(); } }
}
export const factsOf = c => [c.source, c.resolution, c.status === 'ONLINE' && c.bitrate_kbps ? `${c.bitrate_kbps} kb/s` : null].filter(Boolean).join(' · ');
let timer = null;
export async function poll() {
  clearTimeout(timer);
  try {
    const answer = await (await ask('/api/v1/cameras?limit=500', { signal: AbortSignal.timeout(8000) })).json();
    if ($('door').open) return; // asked for by who has left
    cameras = answer.cameras ?? [];
    $('banner').hidden = true; drawGrid();
  } catch (error) {
    if ($('door').open) return; // who comes in polls again
    $('banner').hidden = false; $('banner').textContent = error instanceof ServerError ? error.text : t('lost');
    // What was known is not known any more.
    $('summary').textContent = ''; for (const tile of tiles.values()) tile.recMark.hidden = true;
  }
  timer = setTimeout(poll, 2000);
}
/** Between two polls: the server said so by itself. */
export function cameraChanged(id, status) {
  const camera = cameras.find(c => c.id === id);
  if (camera && camera.status !== status) { camera.status = status; drawGrid(); }
}
/** Tiles that were refused a seat of this source may ask again. */
export function seatFreed(source) {
  for (const c of cameras) if (c.source === source) tiles.get(c.id)?.picture.mayAskAgain();
}
/** Nobody is signed in: no camera is known. */
export function forgetAll() { clearTimeout(timer); cameras = []; drawGrid(); $('summary').textContent = ''; }
setInterval(() => { for (const tile of tiles.values()) if (!tile.hidden) tile.picture.refresh(); tickBig(); }, 500);
document.addEventListener('visibilitychange', () => { for (const tile of tiles.values()) tile.picture.refresh(); });
$('grid').addEventListener('keydown', event => {
  const all = [...tiles.values()].filter(x => !x.hidden).sort((a, b) => a.compareDocumentPosition(b) & 4 ? -1 : 1);
  const i = all.indexOf(document.activeElement), n = +getComputedStyle($('grid')).getPropertyValue('--cols');
  const side = document.dir === 'rtl' ? -1 : 1;
  const step = { ArrowRight: side, ArrowLeft: -side, ArrowDown: n, ArrowUp: -n }[event.key];
  if (i >= 0 && step) { all[i + step]?.focus(); event.preventDefault(); }
  if (i >= 0 && (event.key === 'Enter' || event.key === ' ')) { openBig(all[i].dataset.cameraId); event.preventDefault(); }
});
