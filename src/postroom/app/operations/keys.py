"""Keys of the API: made, listed, revoked. A key is shown once; only its SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Iterator, Sequence

from postroom.app.core import Core
from postroom.app.operations.pull import find_application
from postroom.app.operations.roles import MEANINGS, Role
from postroom.app.operations.shown import moment
from postroom.errors import ConfigError
from postroom.secret import Secret
from postroom.store.apikeys import ApiKey

PER_MINUTE = 6000  # requests of a key, unless it says otherwise

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM, _CHECK = 43, 6  # digits that 256 bits and a CRC-32 need
_FORM = re.compile(rf"pr_([0-9A-Za-z]{{{_RANDOM}}})([0-9A-Za-z]{{{_CHECK}}})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def new_key() -> Secret:
    """A key: ``pr_``, 256 random bits, and a checksum by which a scanner for leaked secrets knows it offline."""
    random = _written(int.from_bytes(secrets.token_bytes(32)), _RANDOM)
    return Secret(f"pr_{random}{_checksum(random)}")


def digest_of(key: str) -> bytes | None:
    """What a key is kept as; None for what cannot be one."""
    match = _FORM.fullmatch(key)
    if match is None or not hmac.compare_digest(_checksum(match[1]), match[2]):
        return None
    return hashlib.sha256(key.encode()).digest()


def _checksum(random: str) -> str:
    return _written(zlib.crc32(random.encode()), _CHECK)


def _written(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


async def create_key(
    core: Core, name: str, role: Role, clients: Sequence[str], per_minute: int, applications: Sequence[str] = ()
) -> tuple[ApiKey, Secret]:
    """Make a key, for some clients and applications or all. Raises ``ConfigError``."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"'{name}' is no name for a key", value=name, valid="up to 64 letters, digits, dots, hyphens, underscores"
        )
    key = new_key()
    digest = digest_of(key.reveal())
    assert digest is not None
    sections = tuple(dict.fromkeys(core.live.find_client(client) for client in clients))
    reads = tuple(dict.fromkeys(find_application(core.live, application).section for application in applications))
    return await core.store.api_keys.add(name, role.value, digest, sections, per_minute, reads), key


async def revoke_key(core: Core, name: str) -> None:
    """End a key by its name or id. Raises ``ConfigError`` where there is none."""
    if not await core.store.api_keys.revoke(name):
        raise ConfigError(f"no key is named '{name}', or it is revoked already", value=name, valid="a name of postroom keys list")


def key_dict(key: ApiKey) -> dict[str, object]:
    """For programs. The key itself is not in it."""
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "clients": list(key.clients),
        "applications": list(key.applications),
        "per_minute": key.per_minute,
        "created": moment(key.created_at),
        "used": moment(key.used_at),
        "revoked": moment(key.revoked_at),
    }


def key_lines(keys: Sequence[ApiKey]) -> Iterator[str]:
    """For people."""
    if not keys:
        yield "There is no key. postroom keys create NAME --role ROLE makes one."
    width = max((len(key.name) for key in keys), default=0)
    for key in keys:
        state = f"revoked {moment(key.revoked_at)}" if key.revoked_at is not None else f"used {moment(key.used_at) or 'never'}"
        seen = f", sees {', '.join(key.clients)}" if key.clients else ""
        seen += f", reads for {', '.join(key.applications)}" if key.applications else ""
        yield f"{key.name:{width}}  {key.role:11}  {state}{seen}"


def role_lines() -> Iterator[str]:
    """The roles for people."""
    for role in Role:
        yield f"{role.value:11}  {MEANINGS[role]}"
