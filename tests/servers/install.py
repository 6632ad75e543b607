"""Make sure of everything that the tests with real servers need: ``python tests/servers/install.py``.

1. Debian's packages: with root's rights they are installed and no service is started; without, the missing ones are
   named.
2. The authority's packages from npm, exactly those of the lock file.
3. Courier and Exim, whose packages cannot stand beside Dovecot's and Postfix': unpacked into directories of their own,
   in the virtual environment, so that ``make clean`` removes them. No rights are needed for that.

With ``CI`` in the environment something missing is a failure. It uses the standard library only, and when nothing is
missing it starts no other program.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

AUTHORITY = Path(__file__).resolve().parent / "authority"
LOCK = AUTHORITY / "package-lock.json"
INSTALLED = AUTHORITY / "node_modules" / ".package-lock.json"  # npm writes it last

COURIER = Path(sys.prefix) / "courier"
COURIER_PACKAGES = (
    "courier-authlib",
    "courier-authlib-userdb",
    "courier-base",
    "courier-imap",
    "courier-pop",
    "gamin",
    "libcourier-unicode4",
    "libgamin0",
    "libgdbm6",
    "libidn12",
    "libltdl7",
    "libpcre3",
)
COURIER_PLACES = (b"/etc/courier/", b"/run/courier/aut")  # the latter also stands in two halves
COURIER_FIXED = (
    "usr/lib/courier/courier-authlib/authdaemond",
    "usr/lib/courier-authlib/libauthuserdb.so.0.0.0",
    "usr/lib/libcourierauth.so.0.0.0",
)

EXIM = Path(sys.prefix) / "exim"
EXIM_PACKAGES = (
    "exim4-daemon-light",
    "libcom-err2",
    "libevent-2.1-7",
    "libgnutls-dane0",
    "libgssapi-krb5-2",
    "libidn12",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "libnsl2",
    "libtirpc3",
    "libunbound8",
)

STATE = "installed.json"  # written last into what was unpacked: of what it was made, and how it was changed

ANSWERS = b"postfix postfix/main_mailer_type select No configuration\n"  # to what Debian's packages ask

POLICY = Path("/usr/sbin/policy-rc.d")


@dataclass(frozen=True)
class Part:
    """Something that the tests need."""

    name: str
    package: str  # in Debian
    proof: tuple[str, ...]  # one of these files or programs is there when it is installed


DEBIAN = (
    Part("Dovecot", "dovecot-core", ("dovecot",)),
    Part("Dovecot IMAP", "dovecot-imapd", ("/usr/lib/dovecot/imap", "/usr/libexec/dovecot/imap")),
    Part("Dovecot POP3", "dovecot-pop3d", ("/usr/lib/dovecot/pop3", "/usr/libexec/dovecot/pop3")),
    Part("Dovecot LMTP", "dovecot-lmtpd", ("/usr/lib/dovecot/lmtp", "/usr/libexec/dovecot/lmtp")),
    Part("Postfix", "postfix", ("/usr/lib/postfix/sbin/master",)),
    Part("isync", "isync", ("mbsync",)),
    Part("getmail6", "getmail6", ("getmail",)),
    Part("microsocks", "microsocks", ("microsocks",)),
    Part("tinyproxy", "tinyproxy-bin", ("tinyproxy",)),
    Part("nss_wrapper", "libnss-wrapper", ("/usr/lib/*/libnss_wrapper.so",)),
    Part("mpop", "mpop", ("mpop",)),
    Part("Chromium", "chromium", ("chromium",)),
    Part("DejaVu fonts", "fonts-dejavu-core", ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",)),
)


def program(name: str) -> str | None:
    """Where a program is; Debian keeps servers off an ordinary user's PATH."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def missing() -> list[Part]:
    """The parts from Debian that are not there."""
    return [part for part in DEBIAN if not any(map(_there, part.proof))]


def _there(proof: str) -> bool:
    return any(Path("/").glob(proof[1:])) if proof.startswith("/") else program(proof) is not None


def beside_python(name: str) -> str | None:
    """A program that came with the development dependencies, else the one on the PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def authority_missing() -> bool:
    """Whether the authority's packages are not there, or are others than the lock file's."""
    return not INSTALLED.exists() or _hashes(INSTALLED) != _hashes(LOCK)


def _hashes(lock: Path) -> dict[str, str]:
    """Package directories and the hashes of what belongs there."""
    packages = json.loads(lock.read_text())["packages"]
    return {path: entry["integrity"] for path, entry in packages.items() if path}


def courier_missing() -> bool:
    """Whether Courier is not there, or is made otherwise than today."""
    return _state(COURIER) != _courier_state()


def _courier_state() -> list[list[str]]:
    return [list(COURIER_PACKAGES), list(COURIER_FIXED), [place.decode() for place in COURIER_PLACES]]


def exim_missing() -> bool:
    """Whether Exim is not there, or is of other packages than today's."""
    return _state(EXIM) != [list(EXIM_PACKAGES)]


def _state(directory: Path) -> object:
    file = directory / STATE
    return json.loads(file.read_text()) if file.exists() else None


def complaints() -> list[str]:
    """One line for each thing that is missing, with the remedy; empty when all is there."""
    lines = [f"{part.name} missing (apt-get install {part.package})" for part in missing()]
    if beside_python("node") is None:
        lines.append('Node.js missing (pip install "postroom[dev]")')
    if authority_missing():
        lines.append(f"oidc-provider missing (python {os.path.relpath(__file__)})")
    if courier_missing():
        lines.append(f"Courier missing (apt-get update, python {os.path.relpath(__file__)})")
    if exim_missing():
        lines.append(f"Exim missing (apt-get update, python {os.path.relpath(__file__)})")
    return lines


@contextlib.contextmanager
def no_service_starts() -> Iterator[None]:
    """Keep Debian's packages from starting their services; a policy that stands already is left alone."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def refresh_lists() -> None:
    """Fetch the lists of Debian's packages."""
    subprocess.run(["apt-get", "update"], stdin=subprocess.DEVNULL, check=True)


def install_debian(parts: list[Part]) -> None:
    """Install the packages of ``parts``."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # A machine that has another mail server keeps it: Debian's conflict with each other.
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "--no-remove", *(part.package for part in parts)]
    with no_service_starts():
        subprocess.run(["debconf-set-selections"], input=ANSWERS, check=True)
        subprocess.run(install, env=environment, stdin=subprocess.DEVNULL, check=True)


def unpack(packages: tuple[str, ...], into: Path) -> None:
    """Fetch Debian's packages and unpack them there, none of them touching the system."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    with tempfile.TemporaryDirectory(dir=into.parent) as directory:
        download = ["apt-get", "-o", "APT::Sandbox::User=", "--quiet", "download", *packages]
        subprocess.run(download, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
        for package in sorted(Path(directory).glob("*.deb")):
            subprocess.run(["dpkg", "-x", package, into], check=True)


def install_courier() -> None:
    """Unpack Courier with its libraries.

    Its programs look for their configuration and for the socket of the authentication daemon at two places below the
    root. The first octet of these names, a slash, is made a dot: so they are looked for in the directory that a
    program is started in, and any number of Couriers run side by side, of any user.
    """
    unpack(COURIER_PACKAGES, COURIER)
    for name in COURIER_FIXED:
        octets = (COURIER / name).read_bytes()
        for place in COURIER_PLACES:
            octets = octets.replace(place, b"." + place[1:])
        (COURIER / name).write_bytes(octets)
    (COURIER / STATE).write_text(json.dumps(_courier_state()))


def install_exim() -> None:
    """Unpack Exim with its libraries; it loses the right to become root, which nobody here should get from it."""
    unpack(EXIM_PACKAGES, EXIM)
    (EXIM / "usr/sbin/exim4").chmod(0o755)
    (EXIM / STATE).write_text(json.dumps([list(EXIM_PACKAGES)]))


def install_authority() -> None:
    """Install the authority's packages as the lock file says, each checked against its hash."""
    npm = beside_python("npm")
    if npm is None:
        return
    # npm is a program for Node.js and must find the same one that will run the authority.
    path = os.pathsep.join([str(Path(npm).parent), os.environ.get("PATH", "")])
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(command, cwd=AUTHORITY, env={**os.environ, "PATH": path}, check=True)


def main() -> int:
    """Install what can be installed, print what is still missing, and say by the exit status whether that is bad."""
    try:
        parts = missing()
        if (parts or courier_missing() or exim_missing()) and os.geteuid() == 0 and program("apt-get"):
            refresh_lists()
            if parts:
                install_debian(parts)
        if courier_missing() and program("apt-get"):
            install_courier()
        if exim_missing() and program("apt-get"):
            install_exim()
        if authority_missing():
            install_authority()
    except subprocess.CalledProcessError as error:
        print(error)
    still = complaints()
    for line in still:
        print(line)
    return 1 if still and os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main())
