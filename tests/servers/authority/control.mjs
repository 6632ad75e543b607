// The test's side door: POST /control/NAME with a JSON object, answered with JSON. Not part of any OAuth standard.

import * as faults from './faults.mjs';
import { expire, revoke, rotation } from './memory.mjs';

export const DEFAULTS = { accessTtl: 3600, rotate: false, tokenLength: 43 };

export function makeControl(provider, settings, { scope, resource, resourceServer }) {
  async function grantFor(account, client) {
    const grant = new provider.Grant({ accountId: account, clientId: client.clientId });
    grant.addOIDCScope(scope);
    grant.addResourceScope(resource, scope);
    return grant.save();
  }

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
      return endIfOver('AccessToken', token, wanted);
    },

    revoke_access: (named) => revoke('AccessToken', named),
    revoke_refresh: (named) => revoke('RefreshToken', named),
    set: (changes) => Object.assign(settings, changes),
    rotation: ({ on, reuse_detection: detects }) => {
      settings.rotate = on;
      rotation.consumes = detects;
    },
    fault: (fault) => faults.order(fault),
    requests: ({ account }) => faults.recorded.filter((entry) => account === null || entry.account === account),
    reset: () => {
      faults.forgetAll();
      Object.assign(settings, DEFAULTS);
      rotation.consumes = true;
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
