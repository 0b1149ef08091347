// Who is signed in here: the tokens of this window, kept over its reloads and forgotten when it is closed.
// SPDX-License-Identifier: Apache-2.0

const KEY = 'marsad.session';
/** {id, access, refresh, until}; nothing of it reaches other windows or the disk's lasting store. */
export function kept() { try { return JSON.parse(sessionStorage.getItem(KEY)) ?? {}; } catch { return {}; } }
/** Keeps what the server granted; without a grant the window forgets. */
export function keep(grant) {
  if (!grant) { sessionStorage.removeItem(KEY); return; }
  const id = kept().id ?? Math.random().toString(36).slice(2);
  sessionStorage.setItem(KEY, JSON.stringify({ id, access: grant.access_token, refresh: grant.refresh_token, until: Date.now() + grant.expires_in * 1000 }));
  claim(id);
}
export const isSignedIn = () => !!kept().access;

let claimed = null, claiming = null;
/** A browser copies a window with what it keeps. A refresh token serves once, so of two windows with the same one only the first uses it. */
function claim(id) {
  if (claimed === id) return claiming;
  claimed = id;
  if (!navigator.locks) return claiming = Promise.resolve(true);
  return claiming = new Promise(ok => {
    const held = () => { ok(true); return new Promise(() => {}); };
    // A reloaded page has to wait until the one before it is gone.
    navigator.locks.request(`${KEY}.${id}`, { signal: AbortSignal.timeout(3000) }, held).catch(() => ok(false));
  });
}
export async function isOwner() { const { id } = kept(); return !!id && claim(id); }
if (kept().id) claim(kept().id);
