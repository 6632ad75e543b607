// An OAuth 2.0 authority for the tests: npm oidc-provider, with the paths of Google and of Microsoft.
//
// Started as `node server.mjs JSON` with {port, tls: {port, certificate, key} | null, clients: [{id, secret}],
// server: {id, secret}}. It ends when its standard input ends, so it never outlives the tests.
//
// provider.mjs sets oidc-provider up, names.mjs has scopes and applications, grants.mjs the grants that it lacks,
// consent.mjs and pages.mjs are what a person meets, tokens.mjs makes JWTs, microsoft.mjs and faults.mjs refuse.

import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';

import { makeConsent, makeGrantFor, readForm } from './consent.mjs';
import { answerControl, defaults, makeControl } from './control.mjs';
import { pass, recordToken } from './faults.mjs';
import { makeGrants } from './grants.mjs';
import { Memory } from './memory.mjs';
import { isMicrosoft, refusesAtOnce, reword } from './microsoft.mjs';
import { resource, scope, scopes } from './names.mjs';
import { makeProvider } from './provider.mjs';
import { claimsIn, judge, wrap } from './tokens.mjs';

const options = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${options.port}`;
const settings = defaults();

// Opaque tokens only: a JWT could neither be introspected nor revoked. tokens.mjs puts an envelope around them.
const resourceServer = () => ({
  scope, audience: resource, accessTokenFormat: 'opaque', accessTokenTTL: settings.accessTtl,
});

const provider = makeProvider(issuer, options, settings, { resourceServer });
const grantFor = makeGrantFor(provider, scopes);
const consent = makeConsent(provider, settings, { grantFor });
const grants = makeGrants(provider, {
  grantFor,
  resourceServer,
  audiences: () => [`${issuer}/token`, ...(options.tls ? [`https://localhost:${options.tls.port}/token`] : [])],
});

// The paths under which the great providers have the same endpoints.
const ALIASES = [
  [/^\/(oauth2\/v4\/token|[^/]+\/oauth2\/v2\.0\/token)$/, '/token'],
  [/^\/(o\/oauth2\/(v2\/)?auth|[^/]+\/oauth2\/v2\.0\/authorize)$/, '/authorize'],
  [/^\/[^/]+\/oauth2\/v2\.0\/devicecode$/, '/device_authorization'],
];

async function token(ctx, next) {
  const form = await readForm(ctx);
  const { asked } = ctx.state;
  await recordToken({ path: asked, form }, ctx, async () => {
    if (grants.isServiceAccount(form)) await grants.serviceAccount(ctx, form);
    else if (!refusesAtOnce(ctx, form, asked)) await next();
    reword(ctx, form, asked);
    if (ctx.body?.access_token) dress(ctx.body);
  });
}

// The last touches to an answer with tokens, as the test ordered them.
function dress(body) {
  if (settings.tokenFormat === 'jwt') body.access_token = wrap(body.access_token, issuer, settings.claims);
  if (settings.refreshExpiresIn !== null && body.refresh_token) body.refresh_token_expires_in = settings.refreshExpiresIn;
}

async function introspect(ctx, next) {
  const form = await readForm(ctx);
  const claims = claimsIn(form.get('token'));
  if (claims) form.set('token', claims.jti);
  ctx.req.body = form.toString();
  await pass('introspection', ctx, next);
  judge(ctx, claims);
}

async function deviceCode(ctx, next) {
  await next();
  if (!ctx.body?.device_code) return;
  if (settings.deviceInterval !== null) ctx.body.interval = settings.deviceInterval;
  if (!isMicrosoft(ctx.state.asked)) return;
  const { user_code: code, verification_uri: uri } = ctx.body;
  delete ctx.body.verification_uri_complete; // Microsoft has none, and a sentence for the person instead
  ctx.body.message = `To sign in, open the page ${uri} and enter the code ${code} to authenticate.`;
}

// Each consent begins afresh: who signed in before decides nothing.
function forgetSession(ctx) {
  const kept = (ctx.req.headers.cookie ?? '').split('; ').filter((one) => !one.startsWith('_session'));
  ctx.req.headers.cookie = kept.join('; ');
}

async function route(ctx, next) {
  if (ctx.path === '/token' && ctx.method === 'POST') return token(ctx, next);
  if (ctx.path === '/introspect') return introspect(ctx, next);
  if (ctx.path === '/device_authorization') return deviceCode(ctx, next);
  if (ctx.path.startsWith('/interaction/')) return consent.interaction(ctx);
  if (ctx.path === '/authorize') {
    if (consent.refusesAuthorization(ctx)) return undefined;
    forgetSession(ctx);
    // Microsoft's choice of an account is on our page of the consent; the standard gives offline_access with that alone.
    if (isMicrosoft(ctx.state.asked) && ctx.query.prompt === 'select_account') ctx.query = { ...ctx.query, prompt: 'consent' };
  }
  return next();
}

provider.use(async (ctx, next) => {
  ctx.state.asked = ctx.path;
  for (const [pattern, path] of ALIASES) if (pattern.test(ctx.state.asked)) ctx.path = path;
  await route(ctx, next);
  consent.finish(ctx);
});
provider.on('server_error', (ctx, error) => console.error(error));
provider.on('grant.error', (ctx, error) => { ctx.state.detail = error.error_detail ?? error.cause?.message ?? error.message; });

const control = makeControl(provider, settings, { grantFor, resourceServer, memory: (model) => new Memory(model) });
const standard = provider.callback();
const handle = (req, res) => (req.url.startsWith('/control/') ? answerControl(control, req, res) : standard(req, res));

function listen(server, port) {
  server.keepAliveTimeout = 600_000; // no close of ours may cross a request on a connection that was kept
  server.listen(port, '127.0.0.1');
}

listen(http.createServer(handle), options.port);
if (options.tls) {
  const files = { cert: readFileSync(options.tls.certificate), key: readFileSync(options.tls.key) };
  listen(https.createServer(files, handle), options.tls.port);
}
process.stdin.resume().on('end', () => process.exit(0));
