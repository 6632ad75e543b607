// What a person sees in a browser. The ids are what tests hold on to: change none.

const SAFE = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const safe = (text) => String(text).replace(/[&<>"']/g, (one) => SAFE[one]);

const STYLE = `
  body { font: 16px/1.5 "DejaVu Sans", sans-serif; background: #f4f5f7; color: #1d2330; margin: 0; }
  main { background: #fff; max-width: 30rem; margin: 3rem auto; padding: 2rem; border: 1px solid #d5d9e0; border-radius: 8px; }
  h1 { font-size: 1.3rem; margin-top: 0; }
  label { display: block; padding: .3rem 0; }
  button { font: inherit; padding: .5rem 1.2rem; margin-right: .6rem; }
  code { background: #eef0f4; padding: .3rem .5rem; overflow-wrap: anywhere; }`;

export function show(ctx, status, title, body) {
  ctx.status = status;
  ctx.type = 'html';
  ctx.body = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>${safe(title)}</title><style>${STYLE}</style></head>
<body><main><h1 id="title">${safe(title)}</h1>
${body}
</main></body></html>`;
}

function choice(account, at, chosen) {
  const checked = chosen ? ' checked' : '';
  return `<label><input type="radio" name="account" id="account-${at}" value="${safe(account)}"${checked}> ${safe(account)}</label>`;
}

function right(name) {
  return `<label><input type="checkbox" name="scope" value="${safe(name)}" checked> ${safe(name)}</label>`;
}

// Who consents, and to what; the form goes to the page's own address.
export function askConsent(ctx, { application, accounts, hint, scopes }) {
  const offered = hint && !accounts.includes(hint) ? [hint, ...accounts] : accounts;
  show(ctx, 200, `${application} wants to use a mailbox`, `
<form method="post" id="consent">
<fieldset><legend>Choose an account</legend>
${offered.map((account, at) => choice(account, at, account === hint)).join('\n')}
<label>Another: <input type="text" name="other" id="account-other" autocomplete="off"></label></fieldset>
<fieldset><legend>It may then use</legend>
${scopes.map(right).join('\n')}</fieldset>
<p><button name="decision" value="allow" id="allow">Allow</button>
<button name="decision" value="deny" id="deny">Deny</button></p>
</form>`);
}

// The end of an out-of-band consent: the person carries the code by hand.
export function showCode(ctx, given) {
  if (given.get('error')) showFault(ctx, 200, given.get('error'), given.get('error_description') ?? '');
  else show(ctx, 200, 'Copy this code', `<p>Paste it where you were asked for it:</p><p><code id="code">${safe(given.get('code'))}</code></p>`);
}

// A refusal that only the person sees: the application hears nothing of it.
export function showFault(ctx, status, error, words) {
  show(ctx, status, 'Access blocked', `
<p id="words">${safe(words)}</p><p id="error">Error ${status}: ${safe(error)}</p>`);
}

export const device = {
  userCodeInputSource(ctx, form, out, error) {
    const words = error ? `<p id="error">${safe(error.message)}</p>` : '';
    const field = '<label>Code: <input type="text" name="user_code" id="user-code" autocomplete="off"></label>';
    const secret = /name="xsrf" value="([^"]*)"/.exec(form)[1];
    show(ctx, 200, 'Enter the code that your device shows', `${words}
<form method="post" action="/device"><input type="hidden" name="xsrf" value="${safe(secret)}">
${field}<p><button id="continue">Continue</button></p></form>`);
  },
  userCodeConfirmSource(ctx, form, asking, deviceInfo, userCode) {
    show(ctx, 200, `Does your device show ${userCode}?`, `
${form}
<p><button form="op.deviceConfirmForm" id="confirm">Yes</button>
<button form="op.deviceConfirmForm" name="abort" value="yes" id="abort">No</button></p>`);
  },
  successSource(ctx) {
    show(ctx, 200, 'Done', '<p id="done">You may go back to your device.</p>');
  },
};
