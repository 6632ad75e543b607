// Where the authority keeps everything: one map for the process's life.
//
// oidc-provider's own memory adapter forgets beyond 1,000 entries, and it could neither count nor revoke by account.

const entries = new Map(); // "Model:id" -> payload
const owners = new Map(); // every refresh token that ever was -> its account, also after its end

// When false, a refresh token that was exchanged for a new one stays good, as Microsoft keeps it.
export const rotation = { consumes: true };

export class Memory {
  constructor(model) {
    this.model = model;
  }

  #key(id) {
    return `${this.model}:${id}`;
  }

  async upsert(id, payload) {
    entries.set(this.#key(id), payload);
    if (this.model === 'RefreshToken') owners.set(id, payload.accountId);
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
    if (this.model === 'RefreshToken' && !rotation.consumes) return;
    entries.get(this.#key(id)).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    entries.delete(this.#key(id));
  }

  async revokeByGrantId(grantId) {
    remove(() => true, (payload) => payload.grantId === grantId);
  }
}

export function ownerOf(refreshToken) {
  return owners.get(refreshToken) ?? null;
}

// Lets a token's hour be over, as if the time had passed.
export function expire(model, id) {
  entries.get(`${model}:${id}`).exp = Math.floor(Date.now() / 1000) - 1;
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
