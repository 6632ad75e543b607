// Where a person decides. A browser (it accepts text/html) gets pages; anything else the decision that login_hint names.

import { OUT_OF_BAND, resource } from './names.mjs';
import { askConsent, showCode, showFault } from './pages.mjs';

const ours = (location) => location.startsWith('/');

export function makeConsent(provider, settings, { grantFor }) {
  const wantsPage = (ctx) => ctx.get('accept').includes('text/html');

  async function decide(ctx, { account, withheld = [] }) {
    const { uid, params } = await provider.interactionDetails(ctx.req, ctx.res);
    let result = { error: 'access_denied', error_description: 'The person said no' };
    if (account !== null) {
      const client = await provider.Client.find(params.client_id);
      const grantId = await grantFor(account, client, withheld);
      result = { login: { accountId: account }, consent: { grantId } };
    }
    ctx.status = 303;
    ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result), uid);
  }

  async function page(ctx) {
    const { params } = await provider.interactionDetails(ctx.req, ctx.res);
    askConsent(ctx, {
      application: params.client_id,
      accounts: settings.signedIn,
      hint: params.login_hint,
      scopes: (params.scope ?? '').split(' ').filter(Boolean),
    });
  }

  async function submitted(ctx) {
    const { params } = await provider.interactionDetails(ctx.req, ctx.res);
    const form = await readForm(ctx);
    const account = form.get('other')?.trim() || form.get('account');
    if (form.get('decision') !== 'allow') return decide(ctx, { account: null });
    if (!account) return page(ctx);
    if (settings.testers !== null && !settings.testers.includes(account)) {
      return showFault(ctx, 403, 'access_denied', 'The application is being tested and has not been verified; only its test users have access.');
    }
    const granted = form.getAll('scope');
    return decide(ctx, { account, withheld: (params.scope ?? '').split(' ').filter((one) => one && !granted.includes(one)) });
  }

  async function automatic(ctx) {
    const { params } = await provider.interactionDetails(ctx.req, ctx.res);
    const account = params.login_hint ?? 'nobody@example.test';
    await decide(ctx, { account: account === 'deny' ? null : account });
  }

  async function interaction(ctx) {
    if (ctx.method === 'POST') await submitted(ctx);
    else if (wantsPage(ctx)) await page(ctx);
    else await automatic(ctx);
  }

  // Refuses what Google refuses to applications that are published; true when it did.
  function refusesAuthorization(ctx) {
    if (settings.outOfBand || ctx.query.redirect_uri !== OUT_OF_BAND) return false;
    const words = 'The out-of-band (OOB) flow has been blocked in order to keep users secure.';
    showFault(ctx, 400, 'invalid_request', words);
    return true;
  }

  // The way back to the application: the code for the hand, and the issuer as ordered (RFC 9207 section 2).
  function finish(ctx) {
    const location = ctx.response.get('location');
    if (!location || ours(location) || location.startsWith(`http://${ctx.host}`)) return;
    const target = new URL(location);
    if (location.startsWith(OUT_OF_BAND)) {
      ctx.response.remove('location');
      showCode(ctx, target.searchParams);
    } else if (settings.iss !== true && target.searchParams.has('iss')) {
      if (settings.iss) target.searchParams.set('iss', settings.iss);
      else target.searchParams.delete('iss');
      ctx.set('location', target.href);
    }
  }

  return { interaction, refusesAuthorization, finish };
}

export async function readForm(ctx) {
  const chunks = [];
  for await (const chunk of ctx.req) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  ctx.req.body = body; // oidc-provider takes it from here
  return new URLSearchParams(body);
}

// A consent that is given: to everything asked for but what was withheld.
export function makeGrantFor(provider, scopes) {
  return async (account, client, withheld = []) => {
    const grant = new provider.Grant({ accountId: account, clientId: client.clientId });
    const given = scopes.filter((one) => !withheld.includes(one)).join(' ');
    grant.addOIDCScope(given);
    grant.addResourceScope(resource, given);
    if (withheld.length) {
      grant.rejectOIDCScope(withheld.join(' '));
      grant.rejectResourceScope(resource, withheld.join(' '));
    }
    return grant.save();
  };
}
