// The test's side door: POST /control/NAME with a JSON object, answered with JSON. Not part of any OAuth standard.

import * as faults from './faults.mjs';
import { delegate, forgetPeople, knowPassword, knowServiceAccount } from './grants.mjs';
import { expire, expireAll, revoke, rotation, tokensOf } from './memory.mjs';
import { knowCertificate } from './microsoft.mjs';
import { certified, resource, scope, scopes } from './names.mjs';
import { unwrap, wrap } from './tokens.mjs';

export const defaults = () => ({
  accessTtl: 3600,
  codeTtl: 600,
  deviceTtl: 900,
  deviceInterval: null,
  rotate: false,
  tokenLength: 43,
  tokenFormat: 'opaque',
  claims: {}, // of JWTs, in the place of the true ones
  refreshExpiresIn: null,
  iss: true, // false: none; a text: that one
  signedIn: [], // accounts that the consent page offers
  testers: null, // the only ones who may consent
  outOfBand: true,
});

export function makeControl(provider, settings, { grantFor, resourceServer, memory }) {
  const refreshes = new Map(); // account -> refresh grants that were processed, their answers lost or not
  provider.on('grant.success', (ctx) => {
    const account = ctx.oidc.entities.Account?.accountId;
    if (ctx.oidc.params.grant_type === 'refresh_token') refreshes.set(account, (refreshes.get(account) ?? 0) + 1);
  });
  const shaped = (value) => (settings.tokenFormat === 'jwt' ? wrap(value, provider.issuer, settings.claims) : value);

  // A token's beginnings: somebody has consented, nobody needed a browser.
  async function beginnings({ account, client_id: clientId, ttl }) {
    const client = await provider.Client.find(clientId);
    if (!client) throw new Error(`no such client: ${clientId}`);
    return {
      accountId: account,
      client,
      grantId: await grantFor(account, client),
      gty: 'authorization_code',
      scope,
      ...(ttl > 0 ? { expiresIn: ttl } : {}),
    };
  }

  function endIfOver(model, token, { ttl }) {
    if (ttl !== null && ttl <= 0) expire(model, token);
    return token;
  }

  async function deviceCode(userCode) {
    const code = await provider.DeviceCode.findByUserCode(userCode.toUpperCase().replace(/\W/g, ''));
    if (!code) throw new Error(`no such user code: ${userCode}`);
    return code;
  }

  return {
    async refresh_token(wanted) {
      const token = await new provider.RefreshToken({
        ...await beginnings(wanted),
        expiresWithSession: false,
        resource,
        claims: { rotate: wanted.rotate }, // carried over from token to token, and sent to nobody
      }).save();
      return endIfOver('RefreshToken', token, wanted);
    },

    async access_token(wanted) {
      const token = await new provider.AccessToken({
        ...await beginnings(wanted),
        resourceServer: new provider.ResourceServer(resource, resourceServer()),
      }).save();
      return shaped(endIfOver('AccessToken', token, wanted));
    },

    // As after the person's visit to the page: what was asked for is granted.
    async approve_device({ user_code: userCode, account }) {
      const code = await deviceCode(userCode);
      const client = await provider.Client.find(code.clientId);
      const asked = code.params.scope?.split(' ').filter((one) => scopes.includes(one)) ?? [];
      Object.assign(code, { accountId: account, grantId: await grantFor(account, client), resource, scope: asked.join(' ') });
      await code.save();
    },

    async deny_device({ user_code: userCode }) {
      const code = await deviceCode(userCode);
      Object.assign(code, { error: 'access_denied', errorDescription: 'The person said no' });
      await code.save();
    },

    async certificate({ client_id: id, certificate }) {
      const { metadata, thumbprint } = certified(id, certificate);
      await memory('Client').upsert(id, metadata);
      knowCertificate(id, thumbprint);
      return thumbprint;
    },

    password: knowPassword,
    service_account: knowServiceAccount,
    delegate,
    expire_codes: () => expireAll('AuthorizationCode'),
    expire_device_codes: () => expireAll('DeviceCode'),
    revoke_access: ({ token, account }) => (
      revoke('AccessToken', { token: token && unwrap(token), account }) + revoke('ClientCredentials', { token: token && unwrap(token), account })),
    tokens_of: ({ account }) => tokensOf(account),
    revoke_refresh: (named) => revoke('RefreshToken', named),
    set: (changes) => Object.assign(settings, changes),
    rotation: ({ on, exchanged }) => {
      settings.rotate = on;
      rotation.exchanged = exchanged;
    },
    fault: (fault) => faults.order(fault),
    requests: ({ account }) => faults.recorded.filter((entry) => account === null || entry.account === account),
    refreshes: ({ account }) => refreshes.get(account) ?? 0,
    reset: () => {
      faults.forgetAll();
      forgetPeople();
      refreshes.clear();
      Object.assign(settings, defaults());
      rotation.exchanged = 'ends';
    },
  };
}

export async function answerControl(control, req, res) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const name = req.url.split('/')[2];
  try {
    const result = await control[name](JSON.parse(Buffer.concat(chunks).toString()));
    res.end(JSON.stringify(result ?? null));
  } catch (error) {
    res.statusCode = 500;
    res.end(JSON.stringify(`${name}: ${error.message}`));
  }
}
