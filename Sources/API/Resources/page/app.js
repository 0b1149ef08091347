// The page's controls, its door, and its start.
// SPDX-License-Identifier: Apache-2.0

import { big, current, drawBig, drawTimeline, loadTimeline, playFrom, setMode, setSpan, tickBig } from './detail.js';
import { errorText, signIn, signOut, whenSignedOut } from './server.js';
import { isSignedIn } from './session.js';
import { drawSeats, follow, unfollow } from './updates.js';
import { columnCount, drawGrid, forgetAll, poll, setColumns } from './wall.js';
import { $, lang, setLanguage, t } from './words.js';

function applyLanguage() {
  document.documentElement.lang = lang; document.documentElement.dir = lang === 'ar' ? 'rtl' : 'ltr';
  document.title = t('title'); $('lang').textContent = $('doorLang').textContent = t('other');
  for (const e of document.querySelectorAll('[data-t]')) e.textContent = t(e.dataset.t);
  $('find').placeholder = t('find'); $('find').setAttribute('aria-label', t('find'));
  $('cols').setAttribute('aria-label', t('cols')); $('rate').setAttribute('aria-label', t('speed'));
  $('cols').replaceChildren(...['0', '1', '2', '3', '4', '5'].map(n => new Option(n === '0' ? `${t('cols')}: ${t('auto')}` : `${t('cols')}: ${n}`, n, false, n === columnCount())));
  $('doorMessage').textContent = refusal ? errorText(refusal) : '';
  drawGrid(); drawSeats(); if (big) { drawBig(); if (big.from) drawTimeline(); }
}
$('lang').onclick = $('doorLang').onclick = () => { setLanguage(lang === 'en' ? 'ar' : 'en'); applyLanguage(); };
$('cols').onchange = () => setColumns($('cols').value);
$('find').oninput = drawGrid;
$('toLive').onclick = () => setMode('live');
$('toRec').onclick = () => setMode('rec');
$('close').onclick = () => $('big').close();
$('play').onclick = () => {
  const v = $('bigVideo');
  if (!big.player) playFrom(big.at ?? null); else if (v.paused) v.play().catch(() => {}); else v.pause();
  tickBig();
};
$('back').onclick = () => playFrom(current() - 10000);
$('forth').onclick = () => playFrom(current() + 10000);
$('rate').onchange = () => { $('bigVideo').playbackRate = $('bigVideo').defaultPlaybackRate = +$('rate').value; };
for (const b of document.querySelectorAll('[data-span]')) b.onclick = () => { setSpan(+b.dataset.span); loadTimeline(); };

// ---------- The door ----------
let refusal = null;
/** Of the reasons to sign in, those that say more than that. */
const TOLD = ['SESSION_REVOKED', 'USER_DISABLED'];
function showDoor(error) {
  if ($('door').open) return; // it says already why
  refusal = TOLD.includes(error?.code) ? error : null;
  $('doorMessage').textContent = refusal ? errorText(refusal) : '';
  $('signOut').hidden = true;
  if ($('big').open) $('big').close();
  // Nothing of the last session stays on the screen.
  forgetAll(); unfollow();
  if (!$('door').open) $('door').showModal();
}
$('door').addEventListener('cancel', event => event.preventDefault());
$('doorForm').addEventListener('submit', async event => {
  event.preventDefault();
  refusal = null; $('doorMessage').textContent = '';
  try {
    await signIn($('loginID').value.trim(), $('password').value);
  } catch (error) {
    refusal = error; $('doorMessage').textContent = errorText(error);
    return;
  } finally { $('password').value = ''; }
  $('door').close(); $('signOut').hidden = false;
  poll(); follow();
});
$('signOut').onclick = () => signOut();
whenSignedOut(showDoor);

$('signOut').hidden = !isSignedIn();
applyLanguage(); poll(); follow();
