"""Sign up and log in to a running service with accounts."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from .services import DEADLINE, Server, Service

PASSWORD = "correct horse"
CHEAP = {"PASSWORD_MEMORY": "32", "PASSWORD_ITERATIONS": "1", "PASSWORD_LANES": "1"}
UNTHROTTLED = {f"THROTTLE_{action}": "1000000/minute" for action in ("LOGIN", "SIGN_UP", "RESET")}
# Values that databases, parsers and drivers choke on, as JSON
HOSTILE = [
    "null",
    "true",
    "[]",
    "{}",
    '""',
    r'"\u0000"',
    r'"\ud800"',
    r'"\udfff\ud800"',
    '"' + "x" * 1_000_000 + '"',
    '"' + "\N{COMBINING ACUTE ACCENT}" * 1000 + '"',
    '"\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}"',  # NFKC makes 18 characters of it
    r'"\u202e\u2066@\u200b.com"',
    '"\'; DROP TABLE users; --"',
    "-1",
    "0",
    "1.5",
    "1e400",
    "-1e400",
    "NaN",
    "9223372036854775808",
    "1" + "0" * 5000,
]

Answer = httpx2.Response


@contextmanager
def accounts(service: Service, **environment: str) -> Iterator[Server]:
    """Serve a migrated service."""
    service.upgrade()
    with service.serve(**environment) as server:
        yield server


def create_administrator(service: Service, name: str = "ada") -> None:
    """Create an administrator with PASSWORD by the service's command."""
    command = ("python", "-m", "src", "create-admin", name, f"{name}@example.com")
    service.run(*command, input=f"{PASSWORD}\n")


def sign_up(server: Server, name: str = "ada", **changes: str) -> Answer:
    body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD, **changes}
    return httpx2.post(f"{server.url}/users", json=body, timeout=DEADLINE)


def log_in(
    server: Server,
    name: str = "ada",
    password: str = PASSWORD,
    headers: dict[str, str] | None = None,
) -> Answer:
    form = {"username": name, "password": password}
    return httpx2.post(f"{server.url}/auth/token", data=form, headers=headers, timeout=DEADLINE)


def token_of(answer: Answer) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}
