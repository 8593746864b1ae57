"""How Schemathesis logs in: as ever new administrators, since it logs out and removes them too.

It is a process of its own, which imports this module.
"""

import os
import secrets
from typing import Any

import httpx2
import schemathesis

from .databases import Database

PASSWORD = "correct horse"
REFRESH = 1  # seconds


@schemathesis.auth(refresh_interval=REFRESH)
class Administrator:
    def get(self, case: schemathesis.Case[Any], _: schemathesis.AuthContext) -> str:
        """Make an administrator and return the token."""
        name = f"a{secrets.token_hex(8)}"
        login = {"username": name, "password": PASSWORD}
        with httpx2.Client(base_url=os.environ["FUZZED_URL"]) as client:
            user = client.post("/users", json={**login, "email": f"{name}@example.com"}).json()
            database = Database(os.environ["FUZZED_ENGINE"], os.environ["FUZZED_DATABASE"])
            database.query(f"UPDATE users SET is_admin = true WHERE id = {user['id']}")
            return str(client.post("/auth/token", data=login).json()["access_token"])

    def set(self, case: schemathesis.Case[Any], data: str, _: schemathesis.AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {data}"
