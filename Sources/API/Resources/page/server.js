// The server's answers, and the session they are asked for with.
// SPDX-License-Identifier: Apache-2.0

import { isOwner, keep, kept } from './session.js';
import { lang, t } from './words.js';

/** Settles on `start`'s own call or when the signal aborts; leaves no listener behind either way. */
export function within(signal, start) {
  const tidy = new AbortController();
  return new Promise((ok, no) => {
    if (signal.aborted) { no(signal.reason); return; }
    signal.addEventListener('abort', () => no(signal.reason), { once:true, signal: tidy.signal });
    start(ok, no, { once:true, signal: tidy.signal });
  }).finally(() => tidy.abort());
}
export const pause = (ms, signal) => within(signal, ok => setTimeout(ok, ms));

export class ServerError extends Error {
  constructor(status, body, retryAfter) {
    super(body?.message_en ?? `HTTP ${status}`); this.status = status; this.body = body;
    if (retryAfter) this.retryAfter = +retryAfter;
  }
  get code() { return this.body?.code; }
  get text() { return (lang === 'ar' ? this.body?.message_ar : this.body?.message_en) || this.message; }
}
export const errorText = e => e instanceof ServerError ? e.text : t('failed');

const errorOf = async answer => {
  let body = null;
  try { body = (await answer.json()).error; } catch { /* not the server's own error shape */ }
  return new ServerError(answer.status, body, answer.headers.get('Retry-After'));
};
const posting = body => ({ method: 'POST', cache: 'no-store', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
async function granted(url, body) {
  const answer = await fetch(url, posting(body));
  if (!answer.ok) throw await errorOf(answer);
  keep(await answer.json());
}

// ---------- Session ----------
/** Called when somebody has to sign in, with the server's reason where there is one. */
let onSignedOut = () => {};
export function whenSignedOut(action) { onSignedOut = action; }
/** A whole shift may sign in at once: who is to wait a moment does so here. */
export async function signIn(login_id, password) {
  for (let tries = 1;; tries++) {
    try { return await granted('/api/v1/auth/token', { login_id, password }); } catch (error) {
      if (!error.retryAfter || error.retryAfter > 2 || tries === 4) throw error;
      await pause(error.retryAfter * 1000 * (1 + Math.random() / 2), new AbortController().signal);
    }
  }
}
export async function signOut() {
  const { access: newest, until } = kept();
  // After a long sleep the token has run out, and the session would be ended by nobody.
  const access = Date.now() > until ? await renew(newest).catch(() => newest) : newest;
  onSignedOut(null); // gives back what is held, while that may still be asked for
  keep(null);
  await fetch('/api/v1/auth/logout', { method: 'POST', keepalive: true, headers: { Authorization: `Bearer ${access}` } }).catch(() => {});
}
let renewing = null;
/** A refresh token serves once: all who wait for a new access token wait for the same one. */
async function renew(used) {
  const { access, refresh } = kept();
  if (access !== used) return access ?? null;
  if (!refresh || !await isOwner()) return null;
  renewing ??= granted('/api/v1/auth/refresh', { refresh_token: refresh }).finally(() => { renewing = null; });
  await renewing;
  return kept().access ?? null;
}
/** Whether the server ended the session with this answer. */
const isOver = error => error.status === 401 || error.code === 'USER_DISABLED';

/** Asks once with the session's token, anew when it has run out. A header of the caller's own goes first. */
async function askOnce(url, options) {
  const own = options.headers?.Authorization;
  const send = access => fetch(url, { cache: 'no-store', ...options,
    headers: own || !access ? options.headers : { ...options.headers, Authorization: `Bearer ${access}` } });
  const { access, until } = kept();
  let token = access;
  try {
    if (!own && access && until - Date.now() < 15000) token = await renew(access) ?? access;
    let answer = await send(token);
    if (answer.status === 401 && !own && token) {
      const next = await renew(token);
      if (next) answer = await send(token = next);
    }
    if (answer.ok) return answer;
    throw await errorOf(answer);
  } catch (error) {
    // Somebody else may have signed in meanwhile: the answer is not about them.
    if (!own && isOver(error) && (kept().access ?? null) === (token ?? null)) { keep(null); onSignedOut(error); }
    throw error;
  }
}
const TRIES = 8;
/** Asks; a server that has had too many requests says when to come back, and is asked again then. */
export async function ask(url, options = {}) {
  for (let tries = 1;; tries++) {
    try { return await askOnce(url, options); } catch (error) {
      if (error.code !== 'RATE_LIMIT_EXCEEDED' || tries === TRIES) throw error;
      // Many wait for the same second: they come back one after the other.
      await pause((error.retryAfter ?? 1) * 1000 * (1 + Math.random()), options.signal ?? new AbortController().signal);
    }
  }
}
