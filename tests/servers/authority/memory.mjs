// Where the authority keeps everything: one map for the process's life.
//
// oidc-provider's own memory adapter forgets beyond 1,000 entries, and it could neither count nor revoke by account.

const entries = new Map(); // "Model:id" -> payload
const owners = new Map(); // every refresh and access token that ever was -> its account, also after its end

// What becomes of a refresh token that was exchanged for a new one: `ends` (a second use ends the whole consent), `last`
// (the last one may be used again until its successor was, so that a lost answer can be asked for anew), or `stays`
// (it is as good as before, as Microsoft's are).
export const rotation = { exchanged: 'ends' };

export class Memory {
  constructor(model) {
    this.model = model;
  }

  #key(id) {
    return `${this.model}:${id}`;
  }

  async upsert(id, payload) {
    entries.set(this.#key(id), payload);
    if (this.model === 'RefreshToken' || this.model === 'AccessToken') owners.set(id, payload.accountId);
  }

  async find(id) {
    return entries.get(this.#key(id));
  }

  async findByUid(uid) {
    return this.#first((payload) => payload.uid === uid);
  }

  async findByUserCode(userCode) {
    return this.#first((payload) => payload.userCode === userCode);
  }

  #first(accepts) {
    for (const [key, payload] of entries) {
      if (key.startsWith(`${this.model}:`) && accepts(payload)) return payload;
    }
    return undefined;
  }

  async consume(id) {
    const payload = entries.get(this.#key(id));
    const consumed = Math.floor(Date.now() / 1000);
    if (this.model !== 'RefreshToken' || rotation.exchanged === 'ends') payload.consumed = consumed;
    else if (rotation.exchanged === 'last') for (const older of olderThan(payload)) older.consumed = consumed;
  }

  async destroy(id) {
    entries.delete(this.#key(id));
  }

  async revokeByGrantId(grantId) {
    remove(() => true, (payload) => payload.grantId === grantId);
  }
}

const turn = (payload) => payload.rotations ?? 0;

// The refresh tokens of the same consent that came before this one.
function* olderThan(payload) {
  for (const [key, other] of entries) {
    if (key.startsWith('RefreshToken:') && other.grantId === payload.grantId && turn(other) < turn(payload)) yield other;
  }
}

// What is kept of a token, for those who must say more of it than the standard answer does.
export function kept(model, id) {
  return entries.get(`${model}:${id}`);
}

export function ownerOf(refreshToken) {
  return owners.get(refreshToken) ?? null;
}

export function tokensOf(account) {
  return [...owners].filter(([, owner]) => owner === account).map(([token]) => token);
}

// Lets a token's hour be over, as if the time had passed.
export function expire(model, id) {
  entries.get(`${model}:${id}`).exp = Math.floor(Date.now() / 1000) - 1;
}

export function expireAll(model) {
  const found = [...entries.keys()].filter((key) => key.startsWith(`${model}:`));
  for (const key of found) expire(model, key.slice(model.length + 1));
  return found.length;
}

// Removes tokens of one kind: the token named, or all of the account named. Answers how many.
export function revoke(model, { token, account }) {
  return remove(
    (key) => (token ? key === `${model}:${token}` : key.startsWith(`${model}:`)),
    (payload) => (token ? true : payload.accountId === account),
  );
}

function remove(acceptsKey, acceptsPayload) {
  let removed = 0;
  for (const [key, payload] of entries) {
    if (acceptsKey(key) && acceptsPayload(payload)) {
      entries.delete(key);
      removed += 1;
    }
  }
  return removed;
}
