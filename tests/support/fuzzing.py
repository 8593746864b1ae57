"""How Schemathesis logs in: as one administrator after the other, since it removes them too.

It is a process of its own, which imports this module.
"""

import os
import secrets
from typing import Any

import httpx2
import schemathesis
from hypothesis.strategies import emails
from schemathesis import GenerationMode

from .databases import Database

PASSWORD = "correct horse"
STRONG = {
    "/users": "password",
    "/users/me/password": "new_password",
    "/auth/password-reset/confirm": "password",
}


# `emails` also makes addresses in domains that are kept for tests and private networks
RESERVED = (".arpa", ".invalid", ".local", ".localhost", ".onion", ".test")
schemathesis.openapi.format("email", emails().filter(lambda email: not email.endswith(RESERVED)))


@schemathesis.hook
def before_load_schema(_: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """Declare that a session of the list can be ended, which Schemathesis does not infer."""
    listed = raw_schema["paths"]["/auth/sessions"]["get"]["responses"]["200"]
    ended = raw_schema["paths"]["/auth/sessions/{session_id}"]["delete"]
    listed["links"] = {
        "GET /auth/sessions -> DELETE /auth/sessions/{session_id}": {
            "operationId": ended["operationId"],
            "parameters": {"session_id": "$response.body#/items/0/id"},
        }
    }


@schemathesis.hook
def before_call(
    _: schemathesis.HookContext, case: schemathesis.Case[Any], __: dict[str, Any]
) -> None:
    """Make valid new passwords hard to guess, which no schema can describe."""
    if not case.meta or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if isinstance(case.body, dict) and case.path in STRONG:
        password = case.body.get(STRONG[case.path])
        if isinstance(password, str):
            case.body[STRONG[case.path]] = f"{PASSWORD} {password}"[:128]


@schemathesis.auth(refresh_interval=None)
class Administrator:
    """What is tried may well log the administrator out, or remove them: then comes the next."""

    def __init__(self) -> None:
        self.client = httpx2.Client(base_url=os.environ["FUZZED_URL"])
        self.token = ""

    def get(self, case: schemathesis.Case[Any], _: schemathesis.AuthContext) -> str:
        """Return the token of the administrator who is there, or of a new one."""
        if not self.token or not self._is_administrator():
            self.token = self._sign_up()
        return self.token

    def _is_administrator(self) -> bool:
        answer = self.client.get("/users/me", headers={"Authorization": f"Bearer {self.token}"})
        return bool(answer.json().get("is_admin"))

    def _sign_up(self) -> str:
        name = f"a{secrets.token_hex(8)}"
        login = {"username": name, "password": PASSWORD}
        user = self.client.post("/users", json={**login, "email": f"{name}@example.com"}).json()
        database = Database(os.environ["FUZZED_ENGINE"], os.environ["FUZZED_DATABASE"])
        database.query(f"UPDATE users SET is_admin = true WHERE id = {user['id']}")
        return str(self.client.post("/auth/token", data=login).json()["access_token"])

    def set(self, case: schemathesis.Case[Any], data: str, _: schemathesis.AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {data}"
