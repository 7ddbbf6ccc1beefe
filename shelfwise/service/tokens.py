"""Authentication by the tokens of a file, each with a name and a role."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path

from shelfwise.indexer.errors import InputError

READ, WRITE = "read", "write"
SHORTEST = 16  # characters of a token
TOKEN_LINES = "lines of NAME read|write TOKEN"
SESSIONS = 10_000  # at most; beyond them the oldest ends


@dataclass(frozen=True, slots=True)
class Visitor:
    """An authenticated client: its name, and its role (read or write)."""

    name: str
    role: str

    @property
    def writes(self) -> bool:
        """True if the visitor may change the store."""
        return self.role == WRITE


LOCAL = Visitor("local", WRITE)  # any client of a service without tokens, which only this machine can reach


class Tokens:
    """The valid tokens, and the sessions of browsers. Tokens are compared by digest, all of them, in constant time."""

    def __init__(self, visitors: dict[str, Visitor]) -> None:
        self._visitors = [(_digest(token), visitor) for token, visitor in visitors.items()]
        self._sessions: dict[str, Visitor] = {}

    @classmethod
    def read(cls, file: Path) -> "Tokens":
        """Read a file with lines of NAME ROLE TOKEN, where ROLE is read or write. Skip empty lines and # comments.

        Raise InputError when the file is unreadable, a line is wrong, a token is too short, or there is no token.
        """
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise InputError(
                "bad_token_file", f"cannot read tokens from {file} ({reason})", TOKEN_LINES, "name another file"
            ) from None
        visitors = dict[str, Visitor]()
        for number, line in enumerate(lines, 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) != 3 or words[1] not in (READ, WRITE):
                raise InputError(
                    "bad_token_file",
                    f"{file}, line {number}: not valid ({len(words)} words)",
                    TOKEN_LINES,
                    "correct the line",
                )
            if len(words[2]) < SHORTEST:
                raise InputError(
                    "short_token",
                    f"{file}, line {number}: the token has {len(words[2])} characters",
                    f"at least {SHORTEST} characters",
                    "create one with python -c 'import secrets; print(secrets.token_urlsafe())'",
                )
            visitors[words[2]] = Visitor(words[0], words[1])
        if not visitors:
            raise InputError("bad_token_file", f"{file} has no token", TOKEN_LINES, "add a line")
        return cls(visitors)

    def visitor(self, token: str) -> Visitor | None:
        """Return the visitor of a token (None if it is unknown)."""
        given, found = _digest(token), None
        for digest, visitor in self._visitors:
            if hmac.compare_digest(given, digest):
                found = visitor
        return found

    def begin_session(self, visitor: Visitor) -> str:
        """Start a session of a visitor. Return its secret, valid until the service ends."""
        session = secrets.token_urlsafe()
        while len(self._sessions) >= SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[_digest(session).hex()] = visitor
        return session

    def session(self, secret: str) -> Visitor | None:
        """Return the visitor of a session (None if it is unknown)."""
        return self._sessions.get(_digest(secret).hex())

    def end_session(self, secret: str) -> None:
        """End a session."""
        self._sessions.pop(_digest(secret).hex(), None)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
