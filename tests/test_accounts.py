"""Accounts withstand crowds, races, nonsense and curious eyes, in running services."""

import asyncio
import itertools
import json
import os
import re
import secrets
import select
import socket
import sys
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2
import pexpect
import pytest

from tools.render import ENGINES, Answers, render

from .conftest import MakeService
from .support.accounts import (
    CHEAP,
    HOSTILE,
    PASSWORD,
    UNTHROTTLED,
    Answer,
    accounts,
    create_administrator,
    log_in,
    sign_up,
    token_of,
)
from .support.certificates import make_certificate
from .support.databases import Database, session
from .support.migrating import MIGRATE
from .support.network import Proxy, wait_for
from .support.schemathesis_runs import run_schemathesis
from .support.services import DEADLINE, Server, Service, free_port
from .support.smtp import mailbox
from .support.sockets import connect

MEMORY_LIMIT = 200_000  # kilobytes
REDIS = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/0")


def at_once(
    server: Server, path: str, bodies: list[dict[str, str]], *, as_form: bool = False
) -> Counter[int]:
    """Post all bodies at the same time, and count the statuses."""

    async def post_all() -> list[Answer]:
        limits = httpx2.Limits(max_connections=len(bodies))
        async with httpx2.AsyncClient(
            base_url=server.url, limits=limits, timeout=DEADLINE
        ) as client:
            return await asyncio.gather(
                *(
                    client.post(path, data=body) if as_form else client.post(path, json=body)
                    for body in bodies
                )
            )

    return Counter(answer.status_code for answer in asyncio.run(post_all()))


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
def test_without_accounts_nothing_is_left_of_them(
    engine: str, *, more: bool, template: Path, tmp_path: Path
) -> None:
    deployment = "kubernetes" if more and engine != "sqlite" else "none"
    kit: Answers = {"observability": more, "devcontainer": more, "deployment": deployment}
    answers = {**kit, "database": engine, "accounts": False}
    folder = render(template, tmp_path / "service", answers)

    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert not {path for path in files if re.search(r"auth|users|(?<!open)api|people", path)}
    words = r"accounts?\b(?!: false)|sessions|smtp|mail(?!to)|redis|argon|zxcvbn"
    words += "|multipart|throttle"
    for path in files - {"LICENSE"}:
        text = (folder / path).read_text(encoding="utf-8")
        found = {match[0] for match in re.finditer(words, text)}
        known = {"mail"} if re.search(r"author_email|email|e-mail", text) else set()
        known |= {"sessions"} if "/database/" in path else set()  # of a database
        assert found <= known, path
    models = (folder / "src/database/models.py").read_text(encoding="utf-8")
    assert models.count("fields.") == 4


def test_of_many_sign_ups_one_succeeds(service: Service) -> None:
    with accounts(service, **CHEAP, **UNTHROTTLED) as server:
        for shared, same in ("username", "ada"), ("email", "Ada@example.com"):
            for count in 8, 32:
                key = f"{shared[0]}{count}"
                bodies = [
                    {
                        "username": f"{key}u{n}",
                        "email": f"{key}-{n}@example.com",
                        "password": PASSWORD,
                        shared: f"{key}{same}",
                    }
                    for n in range(count)
                ]
                assert at_once(server, "/users", bodies) == {201: 1, 409: count - 1}
    assert service.database.query("SELECT count(*) FROM users") == [(4,)]


def test_crowds_do_not_lock_each_other_out(service: Service) -> None:
    """Rows of new users lie side by side, where MySQL also locks the gaps between them."""
    people = [
        {"username": f"u{n}", "email": f"u{n}@example.com", "password": PASSWORD} for n in range(16)
    ]
    with accounts(service, **CHEAP, **UNTHROTTLED) as server:
        assert at_once(server, "/users", people) == {201: 16}
        logins = [{"username": p["username"], "password": PASSWORD} for p in people]
        for _ in range(3):
            assert at_once(server, "/auth/token", logins, as_form=True) == {200: 16}
        mails = [{"email": person["email"]} for person in people * 3]
        assert at_once(server, "/auth/password-reset", mails) == {202: 48}
    assert len(re.findall(r"/reset-password#token=", server.output)) == 48
    assert "could not be sent" not in server.output


def test_addresses_that_no_mail_reaches_are_refused_in_words(make_service: MakeService) -> None:
    with accounts(make_service("sqlite"), **CHEAP) as server:
        for domain in (
            "office.local",
            "example.test",
            "localhost",
            "[127.0.0.1]",
            "a..b",
            "-a.com",
        ):
            answer = sign_up(server, email=f"ada@{domain}")
            assert answer.status_code == 422
            (error,) = answer.json()["errors"]
            assert error["location"] == ["body", "email"]
            assert re.search("domain|address|@-sign|IP", error["message"]), error
            assert "Value error" not in error["message"]


def test_of_many_resets_with_one_token_one_succeeds(service: Service) -> None:
    with accounts(service, **CHEAP, **UNTHROTTLED) as server:
        sign_up(server)
        httpx2.post(f"{server.url}/auth/password-reset", json={"email": "ada@example.com"})
        # the answer to a second request comes after the first one's mail
        httpx2.post(f"{server.url}/auth/password-reset", json={"email": "nobody@example.com"})
        server.stop()
    tokens = re.findall(r"/reset-password#token=([\w-]+)", server.output)
    with service.serve(**CHEAP, **UNTHROTTLED) as server:
        bodies = [{"token": tokens[-1], "password": f"new password {n}"} for n in range(8)]
        assert at_once(server, "/auth/password-reset/confirm", bodies) == {204: 1, 409: 7}
        statuses = [log_in(server, password=body["password"]).status_code for body in bodies]
        assert sorted(statuses) == [200] + [401] * 7


def resident(server: Server) -> int:
    """Read the most memory that a server has had so far, in kilobytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
def test_bad_logins_do_not_fill_the_memory(make_service: MakeService) -> None:
    """With the hashes of production, and no throttling to help."""
    with accounts(make_service("sqlite"), **UNTHROTTLED) as server:
        assert sign_up(server).status_code == 201
        Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # forget the peak
        before = resident(server)

        async def log_in_all() -> list[Answer]:
            limits = httpx2.Limits(max_connections=40)
            async with httpx2.AsyncClient(
                base_url=server.url, limits=limits, timeout=DEADLINE
            ) as client:
                forms = [
                    {"username": "ada" if n % 2 else f"u{n}", "password": f"wrong {n}"}
                    for n in range(40)
                ]
                posts = (client.post("/auth/token", data=form) for form in forms)
                return await asyncio.gather(*posts)

        answers = asyncio.run(log_in_all())
        assert {answer.status_code for answer in answers} == {401}
        assert resident(server) - before < MEMORY_LIMIT


def test_owner_logs_in_after_a_reset_during_an_attack(service: Service) -> None:
    """Many addresses lock the account, but not where the owner has just set a new password."""
    environment = {**CHEAP, "THROTTLE_LOGIN": "5/hour", "TRUSTED_PROXIES": "127.0.0.1"}
    owner, stranger = ({"X-Forwarded-For": f"203.0.113.{number}"} for number in (1, 2))
    with mailbox() as box, accounts(service, SMTP_URL=box.url, **environment) as server:
        sign_up(server)
        box.wait()
        for name, number in itertools.product(("ada", "ada@example.com"), range(26)):
            log_in(server, name, "guess", {"X-Forwarded-For": f"198.51.100.{number}"})
        assert log_in(server, headers=stranger).status_code == 429

        asked = {"email": "ada@example.com"}
        httpx2.post(f"{server.url}/auth/password-reset", json=asked, headers=owner)
        body = {"token": box.token(), "password": "another horse"}
        url = f"{server.url}/auth/password-reset/confirm"
        assert httpx2.post(url, json=body, headers=owner).status_code == 204

        for name in ("ada", "ada@example.com"):
            assert log_in(server, name, "another horse", owner).status_code == 200
            assert log_in(server, name, "another horse", stranger).status_code == 429


def processor_ticks(server: Server) -> int:
    """Read how long a server has used the processor, in ticks of 10 ms."""
    status = Path(f"/proc/{server.process.pid}/stat").read_text(encoding="utf-8")
    user, system = status.rpartition(")")[2].split()[11:13]
    return int(user) + int(system)


@pytest.mark.skipif(sys.platform != "linux", reason="the time is read from /proc")
def test_password_of_many_symbols_costs_little(make_service: MakeService) -> None:
    """It is estimated in the event loop, where 200 of them once stopped all others for seconds."""
    costs: list[int] = []
    with accounts(make_service("sqlite"), **CHEAP, **UNTHROTTLED) as server:
        for password in ("unremarkable sentence", "i%d6741b54@{|[4$!<9(4+4f") * 2:
            before = processor_ticks(server)
            for number in range(40):
                assert sign_up(server, f"u{len(costs)}x{number}", password=password).is_success
            costs.append(processor_ticks(server) - before)
    _, _, plain, symbols = costs  # the first ones load modules
    assert symbols < 5 * plain, costs


def test_flood_of_logins_from_a_network_does_not_delay_another(make_service: MakeService) -> None:
    """With the hashes of production. Half of the flood comes from one address."""
    addresses = ["198.51.100.1"] * 40 + [f"198.51.100.{number}" for number in range(2, 42)]
    service = make_service("sqlite")
    with accounts(service, **UNTHROTTLED, TRUSTED_PROXIES="127.0.0.1") as server, ExitStack() as s:
        sign_up(server)
        flood = [s.enter_context(connect(server)) for _ in addresses]
        for client, address in zip(flood, addresses, strict=True):
            client.sendall(
                b"POST /auth/token HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %b\r\nContent-Length: 27\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\n\r\nusername=eve&password=guess"
                % address.encode()
            )

        assert log_in(server).status_code == 200

        answered = select.select(flood, [], [], 0)[0]
        server.process.kill()  # it would go on with the flood before it ends
        assert len(answered) < 30  # if only addresses took turns, 40 would be answered


def test_revocation_reaches_every_replica(service: Service) -> None:
    environment = {**CHEAP, **UNTHROTTLED}
    with (
        mailbox() as box,
        accounts(service, SMTP_URL=box.url, **environment) as one,
        service.serve(**environment) as two,
    ):

        def join(name: str) -> tuple[dict[str, str], dict[str, str]]:
            """Sign up, log in on two devices, and use both on the other replica."""
            sign_up(one, name)
            box.wait()
            devices = token_of(log_in(one, name)), token_of(log_in(one, name))
            assert [seen(headers) for headers in devices] == [200, 200]
            return devices

        def seen(headers: dict[str, str]) -> int:
            return httpx2.get(f"{two.url}/users/me", headers=headers).status_code

        def ask(method: str, path: str, headers: dict[str, str], body: object = None) -> int:
            url = f"{one.url}{path}"
            return httpx2.request(method, url, json=body, headers=headers).status_code

        ada, other = join("ada")
        change = {"current_password": PASSWORD, "new_password": "a new password"}
        answer = httpx2.put(f"{one.url}/users/me/password", json=change, headers=ada)
        assert answer.status_code == 200
        assert [seen(ada), seen(other)] == [401, 401]
        ada = token_of(answer)
        assert seen(ada) == 200
        assert box.wait()["Subject"] == "Your password was changed"
        assert ask("POST", "/auth/logout", ada) == 204
        assert seen(ada) == 401

        eve, other = join("eve")
        (second,) = (
            session["id"]
            for session in httpx2.get(f"{one.url}/auth/sessions", headers=eve).json()["items"]
            if not session["is_current"]
        )
        assert ask("DELETE", f"/auth/sessions/{second}", eve) == 204
        assert [seen(eve), seen(other)] == [200, 401]
        assert ask("DELETE", "/auth/sessions", eve) == 204
        assert seen(eve) == 401

        bob, other = join("bob")
        assert ask("POST", "/auth/password-reset", {}, {"email": "bob@example.com"}) == 202
        reset = {"token": box.token(), "password": "a new password"}
        assert ask("POST", "/auth/password-reset/confirm", {}, reset) == 204
        assert box.wait()["Subject"] == "Your password was changed"
        assert [seen(bob), seen(other)] == [401, 401]

        ben, _ = join("ben")
        assert ask("DELETE", "/users/me", ben, {"password": PASSWORD}) == 204
        assert seen(ben) == 401

        mia, _ = join("mia")
        boss, _ = join("boss")
        service.database.query("UPDATE users SET is_admin = true WHERE username = 'boss'")
        id_ = httpx2.get(f"{one.url}/users/me", headers=mia).json()["id"]
        assert ask("PATCH", f"/users/{id_}", boss, {"is_active": False}) == 200
        assert seen(mia) == 401
        assert log_in(two, "mia").status_code == 401

        tom, _ = join("tom")
        id_ = httpx2.get(f"{one.url}/users/me", headers=tom).json()["id"]
        assert ask("PATCH", f"/users/{id_}", boss, {"is_admin": True}) == 200
        assert httpx2.get(f"{two.url}/users", headers=tom).status_code == 200
        assert ask("PATCH", f"/users/{id_}", boss, {"is_admin": False}) == 200
        assert httpx2.get(f"{two.url}/users", headers=tom).status_code == 403
        assert ask("DELETE", f"/users/{id_}", boss) == 204
        assert seen(tom) == 401


IDS = ["0", "-1", "1.5", "1e3", "9223372036854775807", "9223372036854775808", "1" * 400]
IDS += [
    "%00",
    "%ff",
    "%ED%A0%80",
    "x",
    "%2e%2e",
    "%20",
    "\N{ARABIC-INDIC DIGIT THREE}",
    "null",
    "NaN",
]


def test_no_input_makes_a_500(service: Service) -> None:
    """Each field, parameter and header of each operation gets each hostile value, once."""
    with accounts(service, **CHEAP, **UNTHROTTLED) as server:
        sign_up(server, "boss")
        service.database.query("UPDATE users SET is_admin = true")
        boss = token_of(log_in(server, "boss"))
        document = server.get("/openapi.json").json()
        as_json = {"Content-Type": "application/json"}
        with httpx2.Client(base_url=server.url, headers=boss, timeout=DEADLINE) as client:

            def tried(method: str, path: str, **request: Any) -> int:
                answer = client.request(method, path, **request)
                said = (
                    method,
                    path[:80],
                    str(request)[:200],
                    answer.status_code,
                    answer.text[:300],
                )
                assert answer.status_code < 500, said
                if answer.status_code >= 400:
                    assert answer.headers["content-type"] == "application/problem+json", said
                return answer.status_code

            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    some = re.sub(r"\{\w+\}", "999", path)
                    for value in IDS if "{" in path else ():
                        tried(method, re.sub(r"\{\w+\}", value, path))
                    for parameter in operation.get("parameters", ()):
                        for value in IDS if parameter["in"] == "query" else ():
                            tried(method, f"{some}?{parameter['name']}={value}")
                    body = operation.get("requestBody", {}).get("content", {})
                    if "application/json" in body:
                        name = body["application/json"]["schema"]["$ref"].rpartition("/")[2]
                        fields = document["components"]["schemas"][name]["properties"]
                        for field, value in itertools.product([*fields, "x"], HOSTILE):
                            text = f'{{"{field}": {value}, "password": "{PASSWORD}"}}'
                            tried(method, some, content=text.encode(), headers=as_json)
                        for raw in (b"\xff", b"", b"[" * 100_000, *(v.encode() for v in HOSTILE)):
                            status = tried(method, some, content=raw, headers=as_json)
                            assert status >= 400 or (method, raw) == ("patch", b"{}")
                        for kind in (
                            "",
                            "text/plain",
                            "multipart/form-data",
                            'application/json;x="',
                        ):
                            tried(method, some, content=b"{}", headers={"Content-Type": kind})
                        large = b" " * (2**20 + 1)
                        assert tried(method, some, content=large, headers=as_json) == 413
            for value in (
                "Bearer",
                "Bearer x",
                "Bearer session_",
                "Basic eA==",
                "Bearer \xff",
                "x" * 4000,
            ):
                bad = {"Authorization": value.encode("latin-1")}
                assert tried("GET", "/users/me", headers=bad) == 401
            # nothing of all this has hurt the one who sent it
            assert tried("GET", "/users/me") == 200


def require_redis() -> None:
    parts = urlsplit(REDIS)
    try:
        socket.create_connection((parts.hostname, parts.port or 6379)).close()
    except OSError:
        (pytest.fail if os.environ.get("REQUIRE_ENGINES") else pytest.skip)(
            f"no Redis answers at {REDIS}; TEST_REDIS_URL names another server"
        )


SHARED = {"REDIS_URL": REDIS, "TRUSTED_PROXIES": "127.0.0.1"}


def somebody_new() -> tuple[str, dict[str, str]]:
    """Make up a name and an address, of which Redis holds no attempts from an earlier run."""
    address = f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"
    return f"ada{secrets.token_hex(4)}", {"X-Forwarded-For": address}


LAST_MOMENTS = """
import asyncio, sys

from redis.asyncio import Redis
from src.auth.counters import Limit, RedisCounters


async def main(url, key):
    counters, client, left = RedisCounters(url, "test"), Redis.from_url(url), 0
    assert await counters.hit(key, Limit(1, 60)) == 0
    while not 0 < left <= 400:  # again if the counter ended in between
        await client.pexpire(f"test:{key}", 400)
        wait = await counters.hit(key, Limit(1, 60))
        left = await client.pttl(f"test:{key}")
    await client.delete(f"test:{key}")
    assert 0 < wait <= 0.4, wait


asyncio.run(main(*sys.argv[1:]))
"""


def test_limit_in_redis_lasts_to_the_end_of_its_time(make_service: MakeService) -> None:
    """Redis rounds what is left to seconds: a limit ended up to half a second early."""
    require_redis()
    make_service("sqlite").run("python", "-c", LAST_MOMENTS, REDIS, secrets.token_hex(8))


CROWD = """
import asyncio, sys

from redis.asyncio import Redis
from src.auth.counters import Limit, RedisCounters


async def main(url, name):
    counters = RedisCounters(f"{url}?client_name={name}", name)
    await asyncio.gather(*(counters.hit("crowd", Limit(1000, 60)) for _ in range(500)))
    async with Redis.from_url(url, decode_responses=True) as client:
        assert await client.get(f"{name}:crowd") == "500"
        names = [each["name"] for each in await client.client_list()]
        await client.delete(f"{name}:crowd")
    assert 0 < names.count(name) <= 50, names.count(name)


asyncio.run(main(*sys.argv[1:]))
"""


def test_crowd_shares_a_few_connections_to_redis(make_service: MakeService) -> None:
    """Attempts above the number of connections were answered with 503."""
    require_redis()
    make_service("sqlite").run("python", "-c", CROWD, REDIS, secrets.token_hex(8))


@pytest.mark.in_turn
def test_replicas_share_their_counts_in_redis(service: Service) -> None:
    require_redis()
    name, headers = somebody_new()
    environment = {**CHEAP, **SHARED, "THROTTLE_LOGIN": "3/hour"}
    with accounts(service, **environment) as one, service.serve(**environment) as two:
        statuses = [
            log_in(server, name, "wrong", headers).status_code for server in (one, two, one, two)
        ]
        assert statuses == [401, 401, 401, 429]


def test_services_do_not_share_their_counts_in_redis(make_service: MakeService) -> None:
    require_redis()
    name, headers = somebody_new()
    environment = {**CHEAP, **SHARED, "THROTTLE_LOGIN": "1/hour"}
    for slug in ("one", "two"):
        service = make_service("sqlite", slug, {"project_slug": slug})
        with accounts(service, **environment) as server:
            statuses = [log_in(server, name, "wrong", headers).status_code for _ in range(2)]
        assert statuses == [401, 429]


def test_redis_that_fails_is_named_in_the_log(make_service: MakeService) -> None:
    require_redis()
    service = make_service("sqlite")
    plain = REDIS.partition("//")[2]
    for url, cause in (
        (f"redis://:redis-secret@127.0.0.1:{free_port()}/0", "connecting to 127.0.0.1"),
        (f"redis://nobody:redis-secret@{plain}", "invalid username-password"),
        (f"rediss://:redis-secret@{plain}", "connect"),
    ):
        with accounts(service, REDIS_URL=url, **CHEAP) as server:
            assert log_in(server).status_code == 503
        [line] = [line for line in server.output.splitlines() if "cannot be counted" in line]
        assert "warning" in line
        assert cause in line
        assert "Traceback" not in server.output
        assert "redis-secret" not in server.output


def test_only_trusted_proxies_say_whose_address_it_is(make_service: MakeService) -> None:
    service = make_service("sqlite")
    for trusted, last in (("", 429), ("192.0.2.0/24", 429), ("127.0.0.1, 192.0.2.0/24", 401)):
        environment = {**CHEAP, "THROTTLE_LOGIN": "1/hour", "TRUSTED_PROXIES": trusted}
        with accounts(service, **environment) as server:
            statuses = [
                log_in(server, f"u{n}", "x", {"X-Forwarded-For": f"198.51.100.{n}"}).status_code
                for n in range(11)
            ]
        assert statuses == [401] * 10 + [last]


def forward(server: Server, header: str) -> None:
    """Send a request with one header over a socket, and read the whole answer."""
    parts = urlsplit(server.url)
    request = f"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=DEADLINE) as connection:
        connection.sendall(request.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        while connection.recv(65536):
            pass


FORWARDED = (
    "X-Forwarded-For: 198.51.100.1",
    "x-forwarded-for: 198.51.100.1:5678",  # with a port, as some gateways send it
    "X-Forwarded-Proto: https",
    "Forwarded: for=198.51.100.1",
)


@pytest.mark.parametrize(
    ("header", "trusted"),
    [*((header, "") for header in FORWARDED), (FORWARDED[0], "192.0.2.0/24")],
)
def test_forwarded_headers_from_a_stranger_are_warned_of_once(
    header: str, trusted: str, make_service: MakeService
) -> None:
    with accounts(make_service("sqlite"), TRUSTED_PROXIES=trusted) as server:
        forward(server, "X-Request-ID: none")
        assert "TRUSTED_PROXIES" not in server.output
        for _ in range(3):
            forward(server, header)
    (line,) = [line for line in server.output.splitlines() if "TRUSTED_PROXIES" in line]
    assert "Forwarded headers from 127.0.0.1 are ignored" in line
    assert "warning" in line
    assert "198.51.100.1" not in server.output


def test_forwarded_headers_from_a_trusted_proxy_are_not_warned_of(
    make_service: MakeService,
) -> None:
    with accounts(make_service("sqlite"), TRUSTED_PROXIES="127.0.0.0/8") as server:
        for header in FORWARDED:
            forward(server, header)
    assert "TRUSTED_PROXIES" not in server.output


@pytest.mark.in_turn
def test_mail_goes_out_by_smtp(service: Service) -> None:
    with mailbox() as box:
        environment = {"SMTP_URL": box.url, "MAIL_FROM": "desk@example.com", **CHEAP}
        with accounts(service, FRONTEND_URL="https://app.example.com/", **environment) as server:
            sign_up(server)
            mail = box.wait()
        assert mail["From"] == "desk@example.com"
        assert mail["To"] == "ada@example.com"
        age = datetime.now(UTC) - mail["Date"].datetime
        assert timedelta(0) <= age < timedelta(minutes=2)
        assert re.fullmatch(r"<[^@<>]+@example\.com>", mail["Message-ID"])
        assert mail["Subject"] == "Confirm your email address"
        assert "https://app.example.com/verify-email#token=" in mail.get_content()
        assert "token=" not in server.output


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_lost_database_is_one_line_when_a_link_is_asked_for(service: Service) -> None:
    service.upgrade()
    with Proxy(service.database.url) as proxy, service.serve(DATABASE_URL=proxy.url) as server:
        proxy.close()
        answer = httpx2.post(f"{server.url}/auth/password-reset", json={"email": "a@example.com"})
        assert answer.status_code == 202
        wait_for(lambda: "A link could not be created" in server.output)
    (line,) = [line for line in server.output.splitlines() if "could not be created" in line]
    assert "warning" in line
    assert "links.py" not in server.output  # no traceback; the pool's own errors have theirs


@pytest.mark.in_turn
def test_lost_mail_server_is_logged_and_not_felt(service: Service) -> None:
    url = f"smtp://user:smtp-secret@127.0.0.1:{free_port()}"
    with accounts(service, SMTP_URL=url, **CHEAP) as server:
        assert sign_up(server).status_code == 201
        assert log_in(server).status_code == 200
    assert "An email could not be sent" in server.output
    assert "Traceback" not in server.output
    assert "smtp-secret" not in server.output
    assert "#token=" not in server.output


@pytest.mark.in_turn
def test_email_that_is_refused_for_good_is_not_sent_again(service: Service) -> None:
    with mailbox() as box, accounts(service, SMTP_URL=box.url, **CHEAP) as server:
        box.verdict = "550 no such user"
        assert sign_up(server).status_code == 201
        box.wait()
        wait_for(lambda: "An email was refused" in server.output)
    assert "retry_in" not in server.output
    assert "Traceback" not in server.output


def test_mail_server_gets_the_password_by_tls_only(
    make_service: MakeService, tmp_path: Path
) -> None:
    service = make_service("sqlite")
    certificate, key = make_certificate(tmp_path)
    environment = {"SSL_CERT_FILE": str(certificate), **CHEAP}

    with mailbox((certificate, key)) as box:
        url = box.url.replace("//", "//user:smtp-secret@")
        with accounts(service, SMTP_URL=url, **environment) as server:
            sign_up(server)
            assert box.wait()["To"] == "ada@example.com"
        assert box.logins == ["\0user\0smtp-secret"]

    with mailbox() as box:  # as if someone on the way had taken STARTTLS out of its answer
        url = box.url.replace("//", "//user:smtp-secret@")
        with accounts(service, SMTP_URL=url, **environment) as server:
            assert sign_up(server, "eve").status_code == 201
        assert not box.logins
        assert box.mails.empty()
    [line] = [line for line in server.output.splitlines() if "could not be sent" in line]
    assert "STARTTLS" in line
    assert "Traceback" not in server.output
    assert "smtp-secret" not in server.output


@pytest.mark.in_turn
def test_refused_mail_is_logged_without_its_link(service: Service) -> None:
    """Not even where the mail server's answer ends in the log, at the level DEBUG."""
    environment = {"LOG_LEVEL": "DEBUG", **CHEAP, **UNTHROTTLED}
    with mailbox() as box, accounts(service, SMTP_URL=box.url, **environment) as server:
        box.verdict = "554 this looks like spam"
        assert sign_up(server).status_code == 201
        tokens = [box.token()]
        body = {"email": "ada@example.com"}
        for _ in range(2):
            answer = httpx2.post(f"{server.url}/auth/password-reset", json=body)
            assert answer.status_code == 202
            tokens.append(box.token())
    assert server.output.count("this looks like spam") >= len(tokens)
    for secret in (*tokens, PASSWORD, "#token="):
        assert secret not in server.output


@pytest.mark.in_turn
@pytest.mark.parametrize("where", ["development", "production"])
def test_nothing_secret_is_logged(where: str, service: Service) -> None:
    """Not even at the level DEBUG, and not when something breaks."""
    environment = {"ENVIRONMENT": where, "LOG_LEVEL": "DEBUG", **CHEAP, **UNTHROTTLED}
    environment |= {"FRONTEND_URL": "https://example.com", "MAIL_FROM": "desk@example.com"}
    with (
        mailbox() as box,
        accounts(service, SMTP_URL=box.url, **environment) as server,
    ):
        secret_words = [PASSWORD, "wrong-secret", "new-secret-password"]
        assert sign_up(server).status_code == 201
        verification = box.token()
        log_in(server, password="wrong-secret")
        ada = token_of(log_in(server))
        url = server.url
        change = {"current_password": PASSWORD, "new_password": "new-secret-password"}
        ada = token_of(httpx2.put(f"{url}/users/me/password", json=change, headers=ada))
        box.wait()
        httpx2.post(f"{url}/auth/password-reset", json={"email": "ada@example.com"})
        reset = box.token()
        httpx2.post(f"{url}/auth/password-reset/confirm", json={"token": reset, "password": "x"})
        httpx2.post(f"{url}/auth/email-verification/confirm", json={"token": verification})
        refused = [
            httpx2.post(
                f"{url}/users", json={"password": "wrong-secret", "secret": "wrong-secret"}
            ),
            httpx2.post(f"{url}/users", content=b'{"password": "wrong-secret", '),
            httpx2.put(f"{url}/users/me/password", json=["wrong-secret"], headers=ada),
            httpx2.request("DELETE", f"{url}/users/me", json="wrong-secret", headers=ada),
            httpx2.post(f"{url}/auth/token", data={"password": "wrong-secret", "scope": "\0"}),
            httpx2.post(f"{url}/auth/password-reset/confirm", json={"token": [reset]}),
            httpx2.get(f"{url}/auth/sessions?cursor={reset}", headers=ada),
            httpx2.get(f"{url}/users/{reset}", headers=ada),
        ]
        assert [answer.status_code for answer in refused] == [422] * 7 + [403]
        hashes = service.database.query("SELECT hashed_password FROM users")
        hashes += service.database.query("SELECT token_hash FROM sessions")
        hashes += service.database.query("SELECT token_hash FROM link_tokens")
        service.database.query("DROP TABLE link_tokens")
        service.database.query("DROP TABLE sessions")
        answers = [
            httpx2.get(f"{url}/users/me", headers=ada),
            log_in(server, password="new-secret-password"),
            httpx2.post(f"{url}/auth/password-reset", json={"email": "ada@example.com"}),
        ]
        assert [answer.status_code for answer in answers] == [500, 500, 202]
    secret_words += [verification, reset, ada["Authorization"].partition(" ")[2]]
    secret_words += [str(hashed) for (hashed,) in hashes]
    assert len(secret_words) > 7
    written = server.output + "".join(answer.text for answer in refused + answers)
    assert "Traceback" in written or "exc_type" in written
    assert "argon2id" not in written
    for secret in secret_words:
        assert secret not in written, secret


@pytest.mark.in_turn
def test_first_administrator_is_made_by_command(service: Service) -> None:
    command = ("python", "-m", "src.users.create_admin", "Boss", "boss@example.com")
    assert "migrate upgrade" in service.run(*command, status=1).stderr
    service.run("aerich", "upgrade")
    assert "write the password to its standard input" in service.run(*command, status=1).stderr

    for password, fault in (
        ("\n", "password"),
        ("short\n", "password"),
        ("boss@example.com\n", ""),
    ):
        process = service.run(*command, status=1, input=password)
        assert process.stderr.strip(), fault
        assert "Traceback" not in process.stderr
    made = service.run(*command, input=f"{PASSWORD}\n")
    again = service.run(*command)

    assert made.stdout == "boss is an administrator now.\n"
    assert "user.created" in made.stderr
    assert again.stdout == "boss is an administrator already.\n"
    other = service.run(*command[:-1], "other@example.com", status=1)
    assert "another email address" in other.stderr
    service.database.query("UPDATE users SET is_admin = false")
    refused = service.run(*command, status=1, input=f"{PASSWORD}\n")
    assert refused.stderr.startswith("Add --promote to make boss an administrator")
    assert service.database.query("SELECT 1 FROM users WHERE is_admin") == []
    with service.serve(**CHEAP) as server:
        stranger = token_of(log_in(server, "boss"))
        promoted = service.run(*command, "--promote", input="another good one\n")
        assert promoted.stdout == "boss is an administrator now.\n"
        users = httpx2.get(f"{server.url}/users", headers=stranger)
        assert users.status_code == 401
        assert log_in(server, "boss").status_code == 401
    service.run(*command, "--promote", input=f"{PASSWORD}\n")
    with service.serve() as server:
        boss = token_of(log_in(server, "boss"))
        users = httpx2.get(f"{server.url}/users", headers=boss).json()["items"]
    assert [(user["username"], user["is_admin"]) for user in users] == [("boss", True)]


WAITING = {
    "postgresql": """
        SELECT 1 FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
    """,
    "mysql": """
        SELECT 1 FROM information_schema.innodb_trx
        JOIN information_schema.processlist AS p ON p.id = trx_mysql_thread_id
        WHERE trx_state = 'LOCK WAIT' AND p.db = database()
    """,
}


async def meet(database: Database, before: str, request: httpx2.Request, after: str) -> int:
    """Send a request that has to wait in the middle of another replica's transaction."""
    async with session(database.url) as run, httpx2.AsyncClient(timeout=DEADLINE) as client:
        await run("BEGIN")
        await run(before)
        sending = asyncio.create_task(client.send(request))
        async with asyncio.timeout(DEADLINE), session(database.url) as look:
            while not await look(WAITING[database.engine]):
                await asyncio.sleep(0.2)  # MySQL keeps its answer for 0.1 s
        await run(after)
        await run("COMMIT")
        return (await sending).status_code


def test_two_administrators_on_two_replicas_cannot_remove_each_other(service: Service) -> None:
    with accounts(service, **CHEAP) as one, service.serve(**CHEAP) as two:
        people = [sign_up(one, name).json() for name in ("ada", "eve")]
        tokens = [token_of(log_in(one, name)) for name in ("ada", "eve")]

        async def demote_each_other() -> list[int]:
            async with httpx2.AsyncClient(timeout=DEADLINE) as client:
                requests = (
                    client.patch(
                        f"{server.url}/users/{victim['id']}",
                        json={"is_admin": False},
                        headers=headers,
                    )
                    for server in (one, two)
                    for victim, headers in zip(people[::-1], tokens, strict=True)
                )
                return [answer.status_code for answer in await asyncio.gather(*requests)]

        for _ in range(5):
            service.database.query("UPDATE users SET is_admin = true")
            statuses = asyncio.run(demote_each_other())
            left = service.database.query("SELECT username FROM users WHERE is_admin")
            assert len(left) == 1, statuses
            assert statuses.count(200) == 2, statuses
            assert set(statuses) <= {200, 403, 409}


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_demotion_locks_administrators_in_the_order_of_their_ids(service: Service) -> None:
    with accounts(service, **CHEAP) as server:
        ada, _ = (sign_up(server, name).json() for name in ("ada", "eve"))
        url = f"{server.url}/users/{ada['id']}"
        eve = token_of(log_in(server, "eve"))
        demotion = httpx2.Request("PATCH", url, json={"is_admin": False}, headers=eve)
        in_order = "SELECT id FROM users ORDER BY id {}FOR UPDATE"
        for administrators in (["eve"], ["eve", "ada"]):
            service.database.query("UPDATE users SET is_admin = false")
            for name in administrators:  # PostgreSQL stores ada's row after eve's
                service.database.query(
                    f"UPDATE users SET is_admin = true WHERE username = '{name}'"
                )
            before, after = in_order.format("LIMIT 1 "), in_order.format("")
            assert asyncio.run(meet(service.database, before, demotion, after)) == 200


def test_demotions_that_wait_for_each_other_meet_no_deadlock(make_service: MakeService) -> None:
    """MySQL locks the gaps between rows as well, into which the first one's row moves."""
    service = make_service("mysql")
    with accounts(service, **CHEAP) as server:
        assert sign_up(server, "tom").status_code == 201
        [(hashed,)] = service.database.query("SELECT hashed_password FROM users")
        people = {f"u{number}": 0 for number in range(500)} | {"ada": 1, "eve": 1}
        values = (f"('{name}', '{name}@x.com', '{hashed}', {n})" for name, n in people.items())
        service.database.query(
            "INSERT INTO users (username, email, hashed_password, is_admin)"
            f" VALUES {', '.join(values)}"
        )
        service.database.query("ANALYZE TABLE users")  # which then is searched by its index
        [(eve,)] = service.database.query("SELECT id FROM users WHERE username = 'eve'")
        ada = token_of(log_in(server))
        url = f"{server.url}/users/{eve}"
        demotion = httpx2.Request("PATCH", url, json={"is_admin": False}, headers=ada)
        lock = "UPDATE users SET is_admin = true WHERE is_admin = true"
        demote_ada = "UPDATE users SET is_admin = false WHERE username = 'ada'"
        assert asyncio.run(meet(service.database, lock, demotion, demote_ada)) == 403
    assert service.database.query("SELECT username FROM users WHERE is_admin") == [("eve",)]


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_link_that_is_used_as_its_user_is_deactivated_meets_no_deadlock(service: Service) -> None:
    with accounts(service, **CHEAP) as server:
        sign_up(server)
        wait_for(lambda: "token=" in server.output)
        token = re.findall(r"#token=([\w-]+)", server.output)[-1]
        url = f"{server.url}/auth/email-verification/confirm"
        confirmation = httpx2.Request("POST", url, json={"token": token})
        deactivate = "UPDATE users SET is_active = false"
        spent = asyncio.run(
            meet(service.database, deactivate, confirmation, "DELETE FROM link_tokens")
        )
        assert spent == 409
    assert service.database.query("SELECT count(*) FROM users WHERE is_verified") == [(0,)]


CHANGED_MEANWHILE = {
    "the session was ended": "DELETE FROM sessions",
    "the password was changed": "UPDATE users SET hashed_password = '-' WHERE username = 'ada'",
    "the user was deactivated": "UPDATE users SET is_active = false WHERE username = 'ada'",
    "the user was deleted": "DELETE FROM users WHERE username = 'ada'",
}
OWN_CHANGES: list[tuple[str, str, dict[str, str]]] = [
    ("PATCH", "/users/me", {"username": "countess"}),
    ("PATCH", "/users/me", {"email": "new@example.com", "current_password": PASSWORD}),
    ("PUT", "/users/me/password", {"current_password": PASSWORD, "new_password": "a new password"}),
    ("DELETE", "/users/me", {"password": PASSWORD}),
    ("DELETE", "/auth/sessions", {}),
]


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_change_that_waits_for_a_lock_finds_what_was_changed_meanwhile(service: Service) -> None:
    """Another transaction holds the user's row until the request waits for it, in the database."""
    lock = "UPDATE users SET is_admin = is_admin WHERE username = 'ada'"
    users = "SELECT username, email, hashed_password, is_active FROM users ORDER BY id"
    with accounts(service, **CHEAP, **UNTHROTTLED) as server:
        for change, meanwhile in itertools.product(OWN_CHANGES, CHANGED_MEANWHILE.values()):
            service.database.query("DELETE FROM users")
            sent = server.output.count("#token=")
            sign_up(server)
            # afterwards the user is locked for its link
            wait_for(lambda: server.output.count("#token=") > sent)  # noqa: B023 - called at once
            ada = token_of(log_in(server))
            method, path, body = change
            url = f"{server.url}{path}"
            request = httpx2.Request(method, url, headers=ada, json=body or None)
            status = asyncio.run(meet(service.database, lock, request, meanwhile))
            left = service.database.query(users)
            assert status in {401, 409}, (change, meanwhile)
            service.database.query("DELETE FROM users")
            assert not {row[0] for row in left} - {"ada"}, (change, meanwhile)
            assert not {row[1] for row in left} - {"ada@example.com"}, (change, meanwhile)
            assert bool(left) is ("DELETE FROM users" not in meanwhile), (change, meanwhile)
            assert "hashed" not in meanwhile or left[0][2] == "-", (change, meanwhile)


def test_renames_with_a_stolen_session_undo_nothing(service: Service) -> None:
    """Sixteen at once, while the victim's new address is confirmed."""
    environment = {**CHEAP, **UNTHROTTLED}
    with mailbox() as box, accounts(service, SMTP_URL=box.url, **environment) as server:
        sign_up(server)
        box.wait()
        stolen = token_of(log_in(server))
        for number in range(5):
            email = f"new{number}@example.com"
            body = {"email": email, "current_password": PASSWORD}
            url = f"{server.url}/users/me"
            assert httpx2.patch(url, json=body, headers=stolen).status_code == 200
            token = box.token()

            async def meet_all(number: int, token: str) -> list[int]:
                async with httpx2.AsyncClient(base_url=server.url, timeout=DEADLINE) as client:
                    confirmation = client.post(
                        "/auth/email-verification/confirm", json={"token": token}
                    )
                    renames = (
                        client.patch(
                            "/users/me", json={"username": f"u{number}x{n}"}, headers=stolen
                        )
                        for n in range(16)
                    )
                    answers = await asyncio.gather(*renames, confirmation)
                    return [answer.status_code for answer in answers]

            *renamed, confirmed = asyncio.run(meet_all(number, token))
            assert set(renamed) <= {200, 409}
            assert confirmed == 204
            box.wait()
            assert service.database.query("SELECT email FROM users") == [(email,)]


def in_terminal(service: Service, command: list[str]) -> "pexpect.spawn[str]":
    return pexpect.spawn(
        str(service.commands / "python"),
        command,
        cwd=str(service.folder),
        env=cast("os._Environ[str]", service.variables()),
        encoding="utf-8",
        timeout=DEADLINE,
    )


@pytest.mark.in_turn
@pytest.mark.parametrize("prompt", ["Password: ", "Password again: "])
@pytest.mark.parametrize("key", ["c", "d"])
def test_prompt_ends_with_control(key: str, prompt: str, service: Service) -> None:
    service.upgrade()
    terminal = in_terminal(service, ["-m", "src.users.create_admin", "boss", "boss@example.com"])
    terminal.expect_exact("Password: ")
    if prompt != "Password: ":
        terminal.sendline(PASSWORD)
        terminal.expect_exact(prompt)
    terminal.sendcontrol(key)
    terminal.expect(pexpect.EOF)
    terminal.close()

    assert (terminal.exitstatus, terminal.signalstatus) == (1, None)
    assert str(terminal.before).strip() == "Interrupted."
    assert service.database.query("SELECT * FROM users") == []


def test_password_is_asked_for_twice_and_not_shown(make_service: MakeService) -> None:
    service = make_service("sqlite")
    service.upgrade()
    command = ["-m", "src.users.create_admin", "boss", "boss@example.com"]
    for again, message in (
        ("another one", "The passwords differ: run the command again."),
        (PASSWORD, "now."),
    ):
        terminal = in_terminal(service, command)
        output = ""
        for prompt, password in (("Password: ", PASSWORD), ("Password again: ", again)):
            terminal.expect_exact(prompt)
            output += str(terminal.before)
            terminal.sendline(password)
        terminal.expect(pexpect.EOF)
        output += str(terminal.before)
        terminal.close()
        assert message in output
        assert PASSWORD not in output
        assert terminal.exitstatus == (0 if again == PASSWORD else 1)
    assert output.index("boss is an administrator now.") < output.index("user.created")


def followed_links(report: Path) -> Counter[tuple[str, int]]:
    """Count by name and status the links that Schemathesis followed from answer to request."""
    events = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    scenarios = [event.get("ScenarioFinished", {}) for event in events]
    return Counter(
        (case["transition"]["id"], record["interactions"][id_]["response"]["status_code"])
        for record in (s["recorder"] for s in scenarios if s.get("phase") == "stateful")
        for id_, case in record.get("cases", {}).items()
        if case["is_transition_applied"]
    )


@pytest.mark.in_turn
def test_schemathesis_finds_no_fault(service: Service, tmp_path: Path) -> None:
    """With all its checks over the whole document, as administrators, following its links.

    It infers the links from the document, but that of a list's items, which a hook declares. That
    a token logs in, OpenAPI's links cannot say: another hook does it. Which links it comes across
    is chance: it goes on following some until those that are asked for were among them.
    """
    links: Counter[tuple[str, int]] = Counter()
    wanted = {"DELETE /users/{user_id}", "DELETE /auth/sessions/{session_id}"}
    with accounts(service, LOG_LEVEL="ERROR", **CHEAP, **UNTHROTTLED) as server:
        for seed in ("1", "2", "3", "4", "5"):
            report = tmp_path / f"{seed}.ndjson"
            phases = ("--phases", "stateful") if links else ()
            process = run_schemathesis(service, server, report, "--seed", seed, *phases)
            assert process.returncode == 0, process.stdout
            assert phases or "Tested: 21" in process.stdout
            links += followed_links(report)
            followed = (name for name, status in links.elements() if status < 300)
            done = Counter(name.rpartition("-> ")[2] for name in followed)
            if wanted <= done.keys() and done.total() >= 5:
                break
        else:
            pytest.fail(f"not followed: {links}")
    assert "Traceback" not in server.output


def test_search_uses_the_index_of_the_documentation(make_service: MakeService) -> None:
    service = make_service("postgresql")
    page = (service.folder / "docs" / "accounts.md").read_text(encoding="utf-8")
    section = page.partition("\n## Search many users\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (command,) = re.findall(r"`uv run ([^`]*)`", section)
    service.run(*command.split())
    (file,) = service.folder.glob("migrations/models/*_search_users.py")
    head, _, rest = file.read_text(encoding="utf-8").partition("RUN_IN_TRANSACTION")
    models = rest[rest.index("MODELS_STATE") :]
    file.write_text(f"{head}{code}\n\n{models}", encoding="utf-8")

    service.run("ruff", "format", "--check", str(file))
    service.upgrade()
    difference = service.run(*MIGRATE, "verify", status=1).stderr.splitlines()[0]
    (service.folder / "migrations" / "accepted.txt").write_text(difference, encoding="utf-8")
    service.run(*MIGRATE, "verify")
    service.database.query(
        "INSERT INTO users (username, email, hashed_password)"
        " SELECT 'u' || i, 'u' || i || '@example.com', '-' FROM generate_series(1, 20000) i"
    )
    service.database.query("VACUUM (ANALYZE) users")
    create_administrator(service)

    with service.serve() as server:
        url = f"{server.url}/users?search=19999&limit=100"
        answer = httpx2.get(url, headers=token_of(log_in(server)), timeout=DEADLINE).json()

    assert [user["username"] for user in answer["items"]] == ["u19999"]
    uses = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'search_users'"
    wait_for(lambda: service.database.query(uses) != [(0,)])
