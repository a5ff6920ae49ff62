"""Who may use the page: names and hashed passwords in a file, asked for by the browser (HTTP basic authentication).

A line of the file is `name:scrypt:N:r:p:salt:hash`, salt and hash in hexadecimal. Passwords are readable in transit
unless a server with encryption stands in front of the page.
"""

import base64
import hashlib
import hmac
import os
import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path

from biomedjourney_monai.errors import BiomedJourneyError
from biomedjourney_monai.files import written_atomically

COST, BLOCK, PARALLEL = 2**14, 8, 1
"""Parameters of scrypt: about 50 ms and 16 MB for a guess."""

MIN_PASSWORD = 8
KNOWN = 256
"""Logins that are kept, so that a page's requests are not each hashed again."""


@dataclass(frozen=True)
class Hashed:
    """A hashed password."""

    cost: int
    block: int
    parallel: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    def accepts(self, password: str) -> bool:
        """Whether it is the hash of this password."""
        return hmac.compare_digest(_scrypt(password, self.salt, self.cost, self.block, self.parallel), self.digest)


class Logins:
    """The users of a file.

    Raises:
        BiomedJourneyError: if the file cannot be read or has no user.
    """

    def __init__(self, file: str | Path) -> None:
        self._users = _read(Path(file))
        if not self._users:
            raise BiomedJourneyError("a password file must have a user", found="none", action="Pass --add-user NAME")
        self._key, self._known = secrets.token_bytes(32), set[bytes]()
        self._one_guess = threading.Lock()

    def accepts(self, authorization: str) -> bool:
        """Whether a request's Authorization header names a user with the right password. May take 0.1 s."""
        mark = hmac.digest(self._key, authorization.encode(), "sha256")
        if mark in self._known:
            return True
        kind, _, content = authorization.partition(" ")
        try:
            name, colon, password = base64.b64decode(content, validate=True).decode("utf-8").partition(":")
        except ValueError:
            return False
        if kind.lower() != "basic" or not colon:
            return False
        hashed = self._users.get(name) or next(iter(self._users.values()))  # an unknown name takes as long
        with self._one_guess:
            right = hashed.accepts(password) and name in self._users
        if right and len(self._known) < KNOWN:
            self._known.add(mark)
        return right


def add_user(file: str | Path, name: str, password: str) -> None:
    """Add a user to a file, or change a password.

    Raises:
        BiomedJourneyError: for an unsuitable name or a short password, or if the file cannot be used.
    """
    if not name or not name.isprintable() or ":" in name or len(name) > 64:
        raise BiomedJourneyError("a user's name must have 1 to 64 characters and no colon", found=f"{len(name)}")
    if len(password) < MIN_PASSWORD:
        raise BiomedJourneyError(f"a password must have at least {MIN_PASSWORD} characters", found=str(len(password)))
    file, salt = Path(file), secrets.token_bytes(16)
    users = _read(file) if file.exists() else {}
    users[name] = Hashed(COST, BLOCK, PARALLEL, salt, _scrypt(password, salt, COST, BLOCK, PARALLEL))
    with written_atomically(file) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.writelines(_line(name, hashed) for name, hashed in users.items())


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=cost, r=block, p=parallel, maxmem=2**26, dklen=32)


def _line(name: str, hashed: Hashed) -> str:
    numbers = (hashed.cost, hashed.block, hashed.parallel)
    return ":".join((name, "scrypt", *map(str, numbers), hashed.salt.hex(), hashed.digest.hex())) + "\n"


def _read(file: Path) -> dict[str, Hashed]:
    users = {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        for line in filter(None, lines):
            name, kind, cost, block, parallel, salt, digest = line.split(":")
            hashed = Hashed(int(cost), int(block), int(parallel), bytes.fromhex(salt), bytes.fromhex(digest))
            if kind != "scrypt" or len(hashed.digest) != 32 or not 2**13 <= hashed.cost <= 2**15 or hashed.block != 8:
                raise ValueError("another kind of line")
            users[name] = hashed
    except (OSError, ValueError) as error:
        rule, action = "a password file must be one that --add-user wrote", "Pass --add-user NAME to write one"
        raise BiomedJourneyError(rule, found=type(error).__name__, action=action) from None
    return users
