"""Accounts under fuzz: mutated requests, and crowds that do everything at once. Seeds are printed."""

import asyncio
import json
import os
import random
import re
from collections import Counter
from typing import Any

import httpx2

from .conftest import MakeService
from .support.accounts import (
    CHEAP,
    HOSTILE,
    PASSWORD,
    UNTHROTTLED,
    accounts,
    log_in,
    sign_up,
    token_of,
)
from .support.databases import Database
from .support.services import DEADLINE, Server, Service, uv

# over the three engines together
MUTATIONS = int(os.environ.get("FUZZED_REQUESTS", "20000")) // 3
OPERATIONS = int(os.environ.get("FUZZED_OPERATIONS", "6000")) // 3
CLIENTS = 32
SEED = int(os.environ.get("FUZZ_SEED", "1"))  # the weekly job takes another each time

INVARIANTS = {
    "a session without a user": "SELECT count(*) FROM sessions s LEFT JOIN users u ON u.id = s.user_id"
    " WHERE u.id IS NULL",
    "a link without a user": "SELECT count(*) FROM link_tokens t LEFT JOIN users u ON u.id = t.user_id"
    " WHERE u.id IS NULL",
    "a session of an inactive user": "SELECT count(*) FROM sessions s JOIN users u ON u.id = s.user_id"
    " WHERE NOT u.is_active",
    "a link of an inactive user": "SELECT count(*) FROM link_tokens t JOIN users u ON u.id = t.user_id"
    " WHERE NOT u.is_active AND t.purpose <> 'known_address'",
}


def broken(database: Database) -> dict[str, int]:
    """Count what must not be in a database, and whether no administrator is left."""
    counts = {what: int(database.query(sql)[0][0]) for what, sql in INVARIANTS.items()}
    left = database.query("SELECT count(*) FROM users WHERE is_admin AND is_active")
    counts["no administrator"] = int(left[0][0] == 0)
    return {what: count for what, count in counts.items() if count}


class Crowd:
    """Clients that share some accounts, and do to them whatever the API can."""

    def __init__(self, server: Server, seed: int) -> None:
        self.random = random.Random(seed)
        self.http = httpx2.AsyncClient(
            base_url=server.url,
            limits=httpx2.Limits(max_connections=CLIENTS),
            timeout=DEADLINE,
        )
        self.tokens: list[str] = []
        self.statuses: Counter[int] = Counter()

    async def send(self, method: str, path: str, **request: Any) -> httpx2.Response:
        token = self.random.choice(self.tokens) if self.tokens else ""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = await self.http.request(method, path, headers=headers, **request)
        if answer.status_code == 401 and token in self.tokens and path != "/auth/token":
            self.tokens.remove(token)
        self.statuses[answer.status_code] += 1
        assert answer.status_code < 500 or answer.status_code == 503, (method, path, answer.text)
        return answer

    async def operate(self) -> None:
        """Do one thing."""
        name = f"u{self.random.randrange(12)}"
        other = f"u{self.random.randrange(12)}"
        password = self.random.choice([PASSWORD, "another good one"])
        match self.random.randrange(14):
            case 0 | 1:
                body = {"username": name, "email": f"{other}@example.com", "password": password}
                await self.send("POST", "/users", json=body)
            case 2 | 3 | 4:
                form = {"username": name, "password": password}
                answer = await self.send("POST", "/auth/token", data=form)
                if answer.status_code == 200:
                    self.tokens = [*self.tokens[-20:], answer.json()["access_token"]]
            case 5:
                await self.send("PATCH", "/users/me", json={"username": name})
            case 6:
                body = {"email": f"{name}@example.com", "current_password": password}
                await self.send("PATCH", "/users/me", json=body)
            case 7:
                body = {"current_password": password, "new_password": "another good one"}
                answer = await self.send("PUT", "/users/me/password", json=body)
                if answer.status_code == 200:
                    self.tokens.append(answer.json()["access_token"])
            case 8:
                await self.send("DELETE", "/users/me", json={"password": password})
            case 9:
                body = {"email": f"{name}@example.com"}
                await self.send("POST", "/auth/password-reset", json=body)
            case 10:
                path = self.random.choice(["/auth/sessions", "/auth/logout"])
                await self.send("POST" if "logout" in path else "DELETE", path)
            case 11 | 12:
                change = {self.random.choice(["is_admin", "is_active"]): self.random.random() < 0.6}
                await self.send("PATCH", f"/users/{await self.anybody()}", json=change)
            case _:
                await self.send("DELETE", f"/users/{await self.anybody()}")

    async def anybody(self) -> int:
        answer = await self.send("GET", "/users?limit=20")
        items = answer.json().get("items") if answer.status_code == 200 else None
        return int(self.random.choice(items)["id"]) if items else 1

    async def run(self, count: int) -> None:
        async def client() -> None:
            for _ in range(count // CLIENTS):
                await self.operate()

        async with self.http:
            await asyncio.gather(*(client() for _ in range(CLIENTS)))


def prepare(service: Service, server: Server) -> str:
    """Sign up an administrator, and return a token."""
    sign_up(server, "u0")
    service.database.query("UPDATE users SET is_admin = true")
    return str(log_in(server, "u0").json()["access_token"])


def test_crowd_leaves_accounts_whole(service: Service) -> None:
    print(f"FUZZ_SEED={SEED}")
    environment = {**CHEAP, **UNTHROTTLED, "LOG_LEVEL": "WARNING", "SESSIONS_PER_USER": "5"}
    with accounts(service, **environment) as server:
        crowd = Crowd(server, SEED)
        crowd.tokens.append(prepare(service, server))
        asyncio.run(crowd.run(OPERATIONS))
    print(dict(sorted(crowd.statuses.items())))
    assert "Traceback" not in server.output, server.output[:3000]
    assert crowd.statuses[200]
    assert broken(service.database) == {}
    most = "SELECT count(*) FROM sessions GROUP BY user_id ORDER BY 1 DESC LIMIT 1"
    assert all(count <= 5 for (count,) in service.database.query(most))


SHORT = [value for value in HOSTILE if len(value) < 10_000]  # others take most of the time


def mutate(chance: random.Random, body: dict[str, Any]) -> bytes:
    """Change a body's fields, or its bytes."""
    fields = [
        f'"{name}": {chance.choice(SHORT) if chance.random() < 0.4 else json.dumps(value)}'
        for name, value in body.items()
        if chance.random() < 0.9
    ]
    if chance.random() < 0.2:
        fields.append(f'"{chance.choice(["id", "is_admin", "x", "email"])}": true')
    text = bytearray(f"{{{', '.join(fields)}}}".encode())
    for _ in range(chance.choice([0, 0, 0, 1, 3])):
        place = chance.randrange(len(text) + 1)
        text[place : place + chance.randrange(2)] = chance.randbytes(chance.randrange(3))
    return bytes(text)


def some_value(chance: random.Random, name: str) -> object:
    """Make up a value that a field of this name may have."""
    text = "".join(chance.choices("aeé\u0301\u200dß.-_ @\u212a\ufb01\U0001d518\u0000", k=8))
    values: dict[str, list[object]] = {
        "username": [f"m{chance.randrange(99)}", text],
        "email": [f"m{chance.randrange(99)}@example.com", f"{text}@example.com"],
        "is_admin": [False, text],
        "is_active": [True, text],
    }
    return chance.choice(values.get(name, [PASSWORD, text]))


async def fuzz(server: Server, seed: int, count: int, tokens: list[str]) -> Counter[int]:
    chance = random.Random(seed)
    document = server.get("/openapi.json").json()
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if (method, path) != ("delete", "/auth/sessions")
    ]
    statuses: Counter[int] = Counter()
    limits = httpx2.Limits(max_connections=8)

    async def one(client: httpx2.AsyncClient) -> None:
        method, path, operation = chance.choice(operations)
        target = re.sub(r"\{\w+\}", chance.choice(["1", "2", "999", "0", "x", "%00"]), path)
        names = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"]
        if names and chance.random() < 0.5:
            target += f"?{chance.choice(names)}={chance.choice(['', '1', 'x', '%ff', '9' * 30])}"
        request: dict[str, Any] = {}
        content = operation.get("requestBody", {}).get("content", {})
        if content:
            [(kind, described)] = content.items()
            schema = document["components"]["schemas"][described["schema"]["$ref"].split("/")[-1]]
            body = {name: some_value(chance, name) for name in schema["properties"]}
            if kind == "application/json":
                request["content"] = mutate(chance, body)
            else:
                request["content"] = "&".join(f"{k}={v}" for k, v in body.items()).encode()
            request["headers"] = {"Content-Type": kind}
        place = chance.randrange(len(tokens))
        authorization = {"Authorization": f"Bearer {tokens[place]}"}
        headers = {**request.pop("headers", {}), **authorization}
        answer = await client.request(method, target, headers=headers, **request)
        said = (seed, method, target, request, answer.status_code, answer.text[:300])
        assert answer.status_code < 500, said
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json", said
        statuses[answer.status_code] += 1
        if answer.status_code == 401:  # the session was ended, as some requests do
            form = {"username": f"u{chance.randrange(20)}", "password": PASSWORD}
            again = await client.post("/auth/token", data=form)
            tokens[place] = again.json().get("access_token", tokens[place])

    async with httpx2.AsyncClient(base_url=server.url, limits=limits, timeout=DEADLINE) as client:

        async def several() -> None:
            for _ in range(count // 8):
                await one(client)

        await asyncio.gather(*(several() for _ in range(8)))
    return statuses


def test_no_mutated_request_makes_a_500(service: Service) -> None:
    """As administrators and as others, whose sessions and accounts come and go."""
    print(f"FUZZ_SEED={SEED}")
    environment = {**CHEAP, **UNTHROTTLED, "LOG_LEVEL": "ERROR"}
    with accounts(service, **environment) as server:
        names = [f"u{number}" for number in range(20)]
        for name in names:
            sign_up(server, name)
        service.database.query("UPDATE users SET is_admin = true WHERE id % 2 = 0")
        tokens = [str(log_in(server, name).json()["access_token"]) for name in names]
        statuses = asyncio.run(fuzz(server, SEED, MUTATIONS, tokens))
        print(dict(sorted(statuses.items())))
    assert "Traceback" not in server.output
    assert broken(service.database) == {}


PROPERTY = """
from hypothesis import given, settings, strategies as st
from unicodedata import is_normalized
from src.auth.identity import normalise

TRICKY = "aKſßİıΣςﬁ\\u0345\\u034f\\u0301\\u0327\\u1160\\u3164\\ufe0f\\u212a\\u1e9e\\u03b1\\u1fb3"


@settings(max_examples=5000, derandomize=True, deadline=None, database=None)
@given(st.text() | st.text(TRICKY))
def test_normal_form_is_one(text: str) -> None:
    form = normalise(text)
    assert normalise(form) == form
    assert is_normalized("NFKC", form)
    assert form == form.casefold()


def test_each_character_has_one_normal_form() -> None:
    for number in [*range(0xD800), *range(0xE000, 0x110000)]:
        form = normalise(chr(number))
        assert normalise(form) == form
"""


def test_normal_form_of_names_is_one(make_service: MakeService) -> None:
    service = make_service("sqlite")
    test = service.folder / "tests" / "test_normal_form.py"
    test.write_text(PROPERTY, encoding="utf-8")
    uv(
        service.folder,
        *("run", "--quiet", "--with", "hypothesis", "pytest", "-q", str(test)),
        *("-p", "no:cacheprovider"),
        UV_PROJECT_ENVIRONMENT=str(service.commands.parent),
    )


def test_internationalised_address_logs_in_as_typed(make_service: MakeService) -> None:
    with accounts(make_service("sqlite"), **CHEAP) as server:
        assert sign_up(server, email="Ada@BÜCHER.example").status_code == 201
        for typed in (
            "ada@bücher.example",
            "ADA@xn--bcher-kva.example",
            "ada@Bu\u0308cher.example",
        ):
            assert log_in(server, typed).status_code == 200, typed
        assert "Authorization" in token_of(log_in(server))
        # fass.example is another domain, whose owner gets none of the emails
        sharp = sign_up(server, "eve", email="Eve@FAß.example")
        assert sharp.json()["email"] == "eve@xn--fa-hia.example"
        assert sign_up(server, "mia", email="eve@fass.example").status_code == 201
        assert log_in(server, "eve@faß.example").status_code == 200


def test_security_events_are_documented_and_used(make_service: MakeService) -> None:
    folder = make_service("sqlite").folder
    source = (folder / "src" / "auth" / "events.py").read_text(encoding="utf-8")
    members = dict(re.findall(r'^    ([A-Z_]+) = "([a-z._]+)"', source, re.MULTILINE))
    page = (folder / "docs" / "accounts.md").read_text(encoding="utf-8")

    listed = re.findall(r"^\| `((?:auth|user)\.[a-z_]+)` \|", page, re.MULTILINE)

    assert sorted(listed) == sorted(members.values())
    files = [*(folder / "src").rglob("*.py")]
    text = "".join(file.read_text(encoding="utf-8") for file in files if file.name != "events.py")
    assert set(re.findall(r"\bEvent\.([A-Z_]+)", text)) == set(members)
