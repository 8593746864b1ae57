"""A client that is generated from the service's OpenAPI document."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs

from .conftest import MakeService
from .support.accounts import PASSWORD

UV = (sys.executable, "-m", "uv")
PROGRAM = """\
import sys

from my_service_client import AuthenticatedClient, Client
from my_service_client.api.auth import log_in
from my_service_client.api.users import read_me
from my_service_client.models import AccessToken, Login, UserRead

url, username, password = sys.argv[1:]
token = log_in.sync(client=Client(url), body=Login(username=username, password=password))
assert isinstance(token, AccessToken), token
me = read_me.sync(client=AuthenticatedClient(url, token=token.access_token))
assert isinstance(me, UserRead), me
print(me.email)
"""


def checked_examples(document: dict[str, Any]) -> int:
    """Check that the examples in a document are valid, and count them."""
    resolver = {"components": document["components"]}
    found: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        if isinstance(node, list):
            for part in node:
                collect(part)
        elif isinstance(node, dict):
            if isinstance(node.get("examples"), list):
                found.extend((node, example) for example in node["examples"])
            if "schema" in node and "example" in node:
                found.append((node["schema"], node["example"]))
            for part in node.values():
                collect(part)

    collect(document)
    for schema, example in found:
        jsonschema_rs.validate({**schema, **resolver}, example)
    return len(found)


def test_typed_client_logs_in(make_service: MakeService, tmp_path: Path) -> None:
    service = make_service("sqlite")
    plain = """
    app.add_route("/plain", lambda _: PlainTextResponse("plain"))
    app.get("/other", operation_id="livez")(greet)
    return app
"""
    service.edit("src/main.py", "\n    return app\n", plain)
    importing = "from starlette.responses import PlainTextResponse\n"
    middleware = "from starlette.middleware import Middleware\n"
    service.edit("src/main.py", middleware, middleware + importing)
    service.upgrade()
    document, client = tmp_path / "openapi.json", tmp_path / "my-service-client"
    service.run("python", "-m", "src", "openapi", str(document))
    ids = re.findall('"operationId": "(.*)"', document.read_text(encoding="utf-8"))
    assert len(ids) == len(set(ids)) > 10

    assert checked_examples(json.loads(document.read_text(encoding="utf-8"))) > 20

    def run(*command: str) -> str:
        return subprocess.run(
            [*UV, *command], cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    run("tool", "run", "openapi-python-client", "generate", "--path", document.name)
    (tmp_path / "program.py").write_text(PROGRAM)
    in_client = ("run", "--no-project", "--with-editable", str(client), "--with", "mypy")
    run(*in_client, "mypy", "--strict", "--follow-untyped-imports", "program.py", str(client))
    with service.serve() as server:
        body = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
        assert httpx2.post(f"{server.url}/users", json=body).status_code == 201
        output = run(*in_client, "python", "program.py", server.url, "ada", PASSWORD)

    assert output == "ada@example.com\n"
