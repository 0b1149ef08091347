// All words of the page, in both languages, and how times are written.
// SPDX-License-Identifier: Apache-2.0

const WORDS = {
  en: { title:'Marsad', other:'العربية', find:'Find a camera', cols:'Columns', auto:'Auto',
    live:'Live', webrtc:'WebRTC', hls:'HLS', recordings:'Recordings', close:'Close', back:'− 10 s', forth:'+ 10 s', m10:'10 min',
    h1:'1 hour', h24:'24 hours', play:'Play', pause:'Pause', timeline:'Recording timeline',
    online:(a, b) => `${a} of ${b} online`, lost:'The server does not answer. Trying again…',
    empty:'No cameras yet', last:'Last frame', unknown:'at an unknown time', ago:'', noFrame:'No picture yet',
    noRec:'Nothing is recorded in this time.', end:'End of the recordings', stalled:'NO VIDEO',
    noMSE:'This browser cannot play the stream.', failed:'Playback failed', loading:'Loading…',
    speed:'Speed', rec:'Recording', gap:'Gap', refused:'NO SEAT FREE',
    login:'Sign in', user:'User name', password:'Password', logout:'Sign out', seats:'Cameras being watched live',
    RESTART:'the server was not running', SOURCE_LOST:'the camera was lost', DISK_FULL:'the disk was full',
    STORAGE_SLOW:'the disk was too slow', CLOCK:'the clock was set', DAMAGED:'the recording is damaged',
    CONNECTING:'CONNECTING', ONLINE:'LIVE', OFFLINE:'OFFLINE', ERROR:'ERROR', CIRCUIT_OPEN:'WAITING TO RETRY' },
  ar: { title:'مرصد', other:'English', find:'ابحث عن كاميرا', cols:'الأعمدة', auto:'تلقائي',
    live:'مباشر', webrtc:'WebRTC', hls:'HLS', recordings:'التسجيلات', close:'إغلاق', back:'− 10 ث', forth:'+ 10 ث', m10:'10 دقائق',
    h1:'ساعة', h24:'24 ساعة', play:'تشغيل', pause:'إيقاف مؤقت', timeline:'خط زمن التسجيلات',
    online:(a, b) => `${a} من ${b} متصلة`, lost:'الخادم لا يستجيب. تجري إعادة المحاولة…',
    empty:'لا توجد كاميرات بعد', last:'آخر صورة', unknown:'في وقت غير معروف', ago:'', noFrame:'لا توجد صورة بعد',
    noRec:'لا يوجد تسجيل في هذا الوقت.', end:'نهاية التسجيلات', stalled:'لا يوجد فيديو',
    noMSE:'هذا المتصفح لا يستطيع تشغيل البث.', failed:'فشل التشغيل', loading:'جارٍ التحميل…',
    speed:'السرعة', rec:'قيد التسجيل', gap:'انقطاع', refused:'لا يوجد مقعد متاح',
    login:'تسجيل الدخول', user:'اسم المستخدم', password:'كلمة المرور', logout:'تسجيل الخروج', seats:'الكاميرات المشاهدة مباشرة',
    RESTART:'الخادم كان متوقفًا', SOURCE_LOST:'فُقد الاتصال بالكاميرا', DISK_FULL:'كان القرص ممتلئًا',
    STORAGE_SLOW:'كان القرص بطيئًا', CLOCK:'تغيّرت الساعة', DAMAGED:'التسجيل تالف',
    CONNECTING:'جارٍ الاتصال', ONLINE:'مباشر', OFFLINE:'غير متصلة', ERROR:'خطأ', CIRCUIT_OPEN:'بانتظار إعادة المحاولة' } };
export const $ = id => document.getElementById(id);
/** Reads, or with a second argument writes, what this browser keeps. */
export const remember = (k, v) => { try { return v === undefined ? localStorage.getItem(k) : localStorage.setItem(k, v); } catch { return null; } };
export let lang = remember('marsad.lang') === 'ar' ? 'ar' : 'en';
export const t = key => WORDS[lang][key] ?? key;
export const locale = () => lang === 'ar' ? 'ar-AE-u-nu-latn' : 'en-GB';
export const clockText = (ms, withDate) => new Intl.DateTimeFormat(locale(), { hour:'2-digit', minute:'2-digit',
  second:'2-digit', hourCycle:'h23', ...(withDate ? { month:'short', day:'numeric' } : {}) }).format(ms);
export function ageText(ms) {
  const s = Math.max(0, Math.round((Date.now() - ms) / 1000)), f = new Intl.RelativeTimeFormat(locale());
  return s < 90 ? f.format(-s, 'second') : s < 5400 ? f.format(-Math.round(s / 60), 'minute')
    : s < 129600 ? f.format(-Math.round(s / 3600), 'hour') : f.format(-Math.round(s / 86400), 'day');
}
export const nameOf = c => (lang === 'ar' && c.name_ar) || c.name || c.id;
export const iso = ms => new Date(ms).toISOString();
export function setLanguage(next) { lang = next; remember('marsad.lang', next); }
