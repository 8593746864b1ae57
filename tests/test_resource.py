"""A resource from a line of fields: its migration is verified, its tests pass, it is clean."""

import ast
import json
import re
import runpy
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pexpect
import pytest
import yaml
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.exceptions import FilterArgumentError
from jinja2.sandbox import SandboxedEnvironment
from tortoise.fields import CharField, DecimalField

from tools.render import ENGINES, REPOSITORY, Answers, git, render, update
from tools.tables import is_of_service, load_questions

from .conftest import MakeService
from .support.accounts import CHEAP, UNTHROTTLED
from .support.resources import ALL_KINDS, CUSTOMER, add, remove, wire
from .support.schemathesis_runs import run_schemathesis
from .support.services import Service
from .updates.folders import commit, conflicts, files

# ten different ones: name, fields, answers
TEN: list[tuple[str, str, dict[str, str]]] = [
    ("customer", "name:str(50)! born:date?", {}),
    ("category", "name:str(50)! rank:int#=0 parent:ref(category,set_null)?", {"access": "public"}),
    (
        "product",
        "title:str(100)# price:decimal(12,2)# category:ref(category) second:ref(category)?",
        {"access": "public"},
    ),
    ("order", ALL_KINDS, {}),
    ("order_item", "order:ref(order,cascade) product:ref(product) count:int=1", {}),
    ("box", "size:int# product:ref(product,set_null)?", {"access": "administrators"}),
    ("note", "owner:user text:text order:ref(order,cascade)?", {}),
    ("person", "name:str(80) email:str(100)!", {"plural": "people", "access": "administrators"}),
    ("post", "owner:user title:str(100) is_draft:bool#=true", {"access": "public"}),
    ("membership", "owner:user person:ref(person/people) since:date#", {"access": "signed-in"}),
]


def check(service: Service, *plurals: str) -> None:
    """Check the code of a service, its migrations, and the tests of its resources."""
    service.run("ruff", "check", "--no-cache")
    service.run("ruff", "format", "--check", "--no-cache")
    service.run("mypy")
    service.run("python", "-m", f"{service.package}.database.migrate", "check")
    paths = [f"tests/test_{plural}.py" for plural in plurals]
    service.run("pytest", "-q", *paths, "tests/test_main.py")


def create_tables(service: Service, name: str) -> None:
    output = service.run("python", "-m", service.package, "migrate", "new", name).stdout
    assert "Verified" in output
    service.upgrade()


def test_ten_resources_one_regenerated_and_one_removed(
    template: Path, make_service: MakeService
) -> None:
    service = make_service("sqlite")
    service.upgrade()
    before = files(service.folder)
    plurals = []
    for resource, fields, answers in TEN:
        add(template, service.folder, resource, fields, **answers)
        package = next(
            path.parent
            for path in (service.folder / "src").glob("*/.copier-answers.yml")
            if path.parent.name not in plurals
        )
        plurals.append(package.name)

    after = files(service.folder)
    assert {path: after[path] for path in before} == before  # nothing else is touched
    assert after.keys() - before.keys() == {
        path
        for plural in plurals
        for path in (
            *(f"src/{plural}/{name}.py" for name in MODULES),
            f"src/{plural}/.copier-answers.yml",
            f"tests/test_{plural}.py",
        )
    }
    wire(service, *plurals)
    create_tables(service, "add_ten")
    check(service, *plurals)

    git(service.folder, "init", "--quiet")
    service.edit("src/products/router.py", '"""List products', '"""List what is sold')
    commit(service.folder)
    (fields,) = [fields for resource, fields, _ in TEN if resource == "product"]
    change: Answers = {"fields": f"{fields} weight:decimal(6,3)?"}
    update(service.folder, change, answers_file="src/products/.copier-answers.yml")
    assert conflicts(service.folder) == []
    assert "List what is sold" in (service.folder / "src/products/router.py").read_text()
    create_tables(service, "add_weight")
    service.run("pytest", "-q", "tests/test_products.py", "tests/test_order_items.py")

    service.edit("src/boxes/service.py", "**changes, ", "")
    service.run("pytest", "-q", "tests/test_boxes.py", "-k", "changed", status=1)
    service.edit("src/boxes/service.py", ".update(", ".update(**changes, ")

    remove(service, "notes")
    plurals.remove("notes")
    service.run("python", "-m", "src", "migrate", "new", "remove_notes", "--drop", "notes")
    service.upgrade()

    assert "notes" not in service.database.tables()
    check(service, *plurals)


MODULES = ("__init__", "models", "schemas", "service", "router")


def test_all_kinds_of_fields(engine: str, template: Path, make_service: MakeService) -> None:
    check_all_kinds(make_service, template, engine, accounts=True)


@pytest.mark.in_turn
def test_all_kinds_of_fields_without_accounts(
    engine: str, template: Path, make_service: MakeService
) -> None:
    check_all_kinds(make_service, template, engine, accounts=False)


def check_all_kinds(
    make_service: MakeService, template: Path, engine: str, *, accounts: bool
) -> None:
    answers: Answers = {"accounts": accounts, "package_name": "desk"}
    service = make_service(engine, answers=answers)
    service.upgrade()
    fields = ALL_KINDS if accounts else ALL_KINDS.removeprefix("owner:user ")

    add(template, service.folder, "customer", CUSTOMER)
    add(template, service.folder, "order", fields)
    wire(service, "customers", "orders")
    create_tables(service, "add_orders")

    check(service, "customers", "orders")


HOSTILE = """\
from base64 import urlsafe_b64encode

import pytest
from httpx2 import AsyncClient

from .test_customers import new as new_customer
from .test_orders import new


async def test_long_cascade_is_no_server_error(client: AsyncClient) -> None:
    ids = [None]
    for number in range(20):
        customer = new_customer() | {"name": f"{number}", "parent_id": ids[-1]}
        ids.append((await client.post("/customers", json=customer)).json()["id"])
    deleted = await client.delete(f"/customers/{ids[1]}")
    assert deleted.status_code in {204, 409}, deleted.text
    left = len((await client.get("/customers?limit=100")).json()["items"])
    assert left == (0 if deleted.status_code == 204 else 20)


@pytest.mark.parametrize(
    "position",
    [
        '{"sku": "\\\\u0000", "id": 1}',
        '{"sku": "longer than its column", "id": 1}',
        '{"sku": "x", "id": 99999999999999999999}',
        '{"sku": 1, "id": "x"}',
        "[]",
        "[" * 2000,
    ],
)
async def test_forged_cursor_is_refused(client: AsyncClient, position: str) -> None:
    cursor = urlsafe_b64encode(position.encode()).decode()
    for text in (cursor, "\\0", "\u00e9", "="):
        response = await client.get("/orders", params={"sort": "sku", "cursor": text})
        assert response.status_code == 404, response.text


async def test_limits_are_documented(client: AsyncClient) -> None:
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    limits = schemas["NewOrder"]["properties"]["customer_id"]
    assert (limits["minimum"], str(limits["exclusiveMaximum"])) == (1, "9223372036854775808")
    assert {name for name in schemas if "Json" in name} == {"Json", "JsonValue"}


async def test_offset_of_a_time_is_kept(client: AsyncClient) -> None:
    placed = {"placed": "2026-01-01T00:00:00+05:30"}
    created = (await client.post("/orders", json=await new() | placed)).json()
    path = f"/orders/{created['id']}"
    changed = (await client.patch(path, json={"version": 1, **placed})).json()
    (listed,) = (await client.get("/orders", params=placed)).json()["items"]
    read = (await client.get(path)).json()
    answers = [answer["placed"] for answer in (created, changed, listed, read)]
    assert answers == 4 * ["2025-12-31T18:30:00Z"]


async def test_decimal_is_answered_as_it_is_stored(client: AsyncClient) -> None:
    body = await new() | {"price": "-0", "weight": "7"}
    created = (await client.post("/orders", json=body)).json()
    path = f"/orders/{created['id']}"
    (listed,) = (await client.get("/orders?weight=7.0")).json()["items"]
    read = (await client.get(path)).json()
    changed = (await client.patch(path, json={"version": 1, "price": read["price"]})).json()
    answers = [(answer["price"], answer["weight"]) for answer in (created, listed, read, changed)]
    assert answers == 4 * [("0.00", "7.000")]


async def test_default_of_a_decimal_is_answered_as_it_is_stored(client: AsyncClient) -> None:
    body = await new()
    del body["price"]
    created = (await client.post("/orders", json=body)).json()
    read = (await client.get(f"/orders/{created['id']}")).json()
    assert created["price"] == read["price"] == "0.00"


async def test_reference_to_nothing_is_a_conflict(client: AsyncClient) -> None:
    created = (await client.post("/orders", json=await new())).json()
    change = {"version": 1, "parent_id": 12345}
    refused = await client.patch(f"/orders/{created['id']}", json=change)
    assert refused.status_code == 409
    assert refused.json()["detail"] == "parent_id refers to a row that does not exist."


async def test_cursor_of_another_order_is_refused(client: AsyncClient) -> None:
    for number in (1, 2):
        body = await new(number)
        assert (await client.post("/orders", json=body)).status_code == 201
    first = (await client.get("/orders?sort=sku&limit=1")).json()
    answers = [
        await client.get("/orders", params={"sort": sort, "cursor": first["next"]})
        for sort in ("id", "count", "sku")
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 200]


@pytest.mark.parametrize("sort", ["count", "size", "placed", "day", "token"])
async def test_forged_value_is_refused(client: AsyncClient, sort: str) -> None:
    for value in ("1" + "0" * 30, '"0001-01-01T00:00:00+14:00"', '"\\\\ud800"', "1e999", "null"):
        position = '{"%s": %s, "id": 1}' % (sort, value)
        cursor = urlsafe_b64encode(position.encode()).decode()
        response = await client.get("/orders", params={"sort": sort, "cursor": cursor})
        assert response.status_code in {200, 404, 422}, response.text


@pytest.mark.parametrize(
    "change",
    [
        b'"tags": null',
        b'"tags": "text"',
        b'"tags": 5',
        b'"tags": ["\\\\u0000"]',
        b'"tags": [{"\\\\ud800": 1}]',
        b'"tags": [1e999]',
        b'"tags": [1e19]',  # PostgreSQL stores an integer
        b'"tags": [1' + b"0" * 400 + b"]",
        b'"tags": ' + b"[" * 30 + b"]" * 30,
        b'"title": "\\\\u0000"',
        b'"title": null',
        b'"count": 3000000000',
        b'"size": 1' + b"0" * 30,
        b'"ratio": 1e999',
        b'"price": "NaN"',
        b'"price": 1e400',
        b'"price": 1.5',
        b'"price": ""',
        b'"price": "1e2"',
        b'"price": " 1"',
        b'"price": "0.001"',
        b'"price": "12345678901"',
        b'"placed": "0001-01-01T00:00:00+14:00"',
        b'"placed": "9999-12-31T23:59:59-14:00"',
        b'"placed": 0',
        b'"due": 0',
        b'"due": "0"',
        b'"count": true',
        b'"ratio": false',
        b'"ratio": 1' + b"0" * 400,
        b'"version": true',
        b'"customer_id": 99999999999999999999',
        b'"unknown": 1',
    ],
)
async def test_unstorable_value_is_refused(client: AsyncClient, change: bytes) -> None:
    created = await client.post("/orders", json=await new())
    path = f"/orders/{created.json()['id']}"
    body = b'{"version": 1, ' + change + b"}"
    headers = {"Content-Type": "application/json"}
    response = await client.patch(path, content=body, headers=headers)
    assert response.status_code == 422, response.text
"""


def test_no_input_is_a_server_error(engine: str, template: Path, make_service: MakeService) -> None:
    service = make_service(engine, answers={"accounts": False})
    service.upgrade()
    add(template, service.folder, "customer", f"{CUSTOMER} parent:ref(customer,cascade)?")
    add(template, service.folder, "order", ALL_KINDS.removeprefix("owner:user "))
    wire(service, "customers", "orders")
    create_tables(service, "add_orders")
    (service.folder / "tests" / "test_hostile.py").write_text(HOSTILE, encoding="utf-8")

    service.run("pytest", "-q", "tests/test_hostile.py")


@pytest.mark.in_turn
@pytest.mark.parametrize("accounts", [True, False], ids=["accounts", "plain"])
def test_schemathesis_finds_nothing(
    engine: str, accounts: bool, template: Path, make_service: MakeService, tmp_path: Path
) -> None:
    """The document says of every kind of field what is accepted: no valid request is a 422."""
    service = make_service(engine, answers={"accounts": accounts})
    service.upgrade()
    fields = ALL_KINDS if accounts else ALL_KINDS.removeprefix("owner:user ")
    add(
        template, service.folder, "customer", CUSTOMER, **({"access": "public"} if accounts else {})
    )
    add(template, service.folder, "order", fields)
    wire(service, "customers", "orders")
    create_tables(service, "add_orders")
    service.database.query(
        "INSERT INTO customers (name, born, level, version, created_at) "
        "VALUES ('Ada', '1815-12-10', 'new', 1, '2026-01-01 00:00:00')"
    )
    options = ("--include-path-regex", "^/(customers|orders)", "--max-examples", "10")

    with service.serve(LOG_LEVEL="ERROR", **CHEAP, **UNTHROTTLED) as server:
        report = tmp_path / "report.ndjson"
        process = run_schemathesis(service, server, report, "--seed", "1", *options)

    assert process.returncode == 0, process.stdout
    assert "Tested: 10" in process.stdout
    assert "Traceback" not in server.output


def test_names_that_the_linter_reports_are_allowed(
    template: Path, make_service: MakeService
) -> None:
    service = make_service("sqlite")
    service.upgrade()
    fields = (
        "hash:str(64)! any:bool# type:enum(i,o,l,token)#=i list:json secret:str(20)=none "
        "line_2:int# line_10:int# user_name:str(20)# username:str(20)# "
        "a_long_name_of_the_token:str(80)=a-default-that-does-not-fit-into-the-line-of-the-field"
    )
    add(template, service.folder, "api_token", fields)
    add(template, service.folder, "link", "parent:ref(link)?")  # nothing has to be sent
    wire(service, "api_tokens", "links")
    create_tables(service, "add_api_tokens")

    check(service, "api_tokens", "links")


def test_imports_are_in_the_order_of_the_linter(tmp_path: Path) -> None:
    macros = vars(JINJA.get_template("includes/resource/python.jinja").module)
    numbers = ["", "1", "2", "10", "01", "02", "010", "2A", "10A"]
    classes = [f"{name}{number}" for name in ("Line", "LineName", "L") for number in numbers]
    names = [*classes, "LINE", "UserName", "Username", "max_size", "max_10", "max_2"]
    packages = [f"..{name}{number}" for name in ("lines", "line_names") for number in numbers]
    modules = [f"{package.lower()}.models Line" for package in packages]
    ordered = macros["in_order"](modules[::-1]).split(", ")
    lines = [
        f"from {module.replace(' ', ' import ')} as _line_{n}" for n, module in enumerate(ordered)
    ]
    imported = macros["import_line"]("..schemas", names[::-1] + names)
    path = tmp_path / "imports.py"
    path.write_text("\n".join([*lines, imported.strip(), ""]), encoding="utf-8")

    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=I", str(path)]
    sorted_ = subprocess.run(command, capture_output=True, text=True, check=False)

    assert sorted_.returncode == 0, sorted_.stdout
    assert all(re.search(rf"\b{name}\b", imported) for name in names)


def test_rows_to_refer_to_have_short_unique_values(template: Path) -> None:
    path = template / "template/tests/support/rows.py"
    value_of = runpy.run_path(str(path))["_value_of"]

    for field, possible in (
        (CharField(max_length=2), 16**2),
        (DecimalField(max_digits=2, decimal_places=1), 10**2),
    ):
        values = {value_of(field, number) for number in range(32_000, 32_000 + possible)}
        assert len(values) == possible


def test_resource_that_is_not_wired_is_reported(template: Path, make_service: MakeService) -> None:
    service = make_service("sqlite")
    add(template, service.folder, "note", "text:text")

    checked = service.run("python", "-m", "src", "migrate", "check", status=None)
    assert checked.returncode
    assert "add 'src.notes.models' to MODELS" in checked.stdout + checked.stderr

    service.edit("src/database/config.py", '.models",\n]', '.models",\n    "src.notes.models",\n]')
    create_tables(service, "add_notes")
    tested = service.run("pytest", "-q", "tests/test_notes.py", status=1).stdout
    assert "main.py lacks: app.include_router(notes, prefix=settings.api_prefix)" in tested


def test_answers_of_a_resource_are_its_own(template: Path, make_service: MakeService) -> None:
    service = make_service("sqlite", answers={"package_name": "desk"})
    own = service.folder / ".copier-answers.yml"
    before = own.read_bytes()

    add(template, service.folder, "order", "title:str(100)#")

    answers = yaml.safe_load((service.folder / "desk/orders/.copier-answers.yml").read_text())
    assert own.read_bytes() == before
    assert b"kind" not in before
    assert {name for name in answers if not name.startswith("_")} == {
        *("package_name", "database", "accounts", "resource", "plural", "fields", "access")
    }


# what is written, and what the message shows instead
WRONG = {
    "title": "title:str(100)",
    "title:": "title:str(100)",
    "title:string(50)": "title:str(50)",
    "title:varchar": "title:str(100)",
    "Title:str": "title:str",
    "dueDate:date": "due_date:date",
    "due-date:date": "due_date:date",
    "größe:int": "groesse:int",
    "日本:int": "name:int",
    "2nd:int": "nd:int",
    "a__b:int": "a_b:int",
    "class:str(5)": "order_class:str(5)",
    "None:int a:int": "order_none:int a:int",
    "true:str": "order_true:str",
    "administrator:str(50)# name:str(20)": "order_administrator:str(50)# name:str(20)",
    "current_user:int!": "order_current_user:int!",
    "page:int#": "order_page:int#",
    "warning:text": "order_warning:text",
    "query:str#": "order_query:str#",
    "filters:bool#": "order_filters:bool#",
    "answer_list:date#": "order_answer_list:date#",
    "u_u_i_d:str": "order_u_u_i_d:str",
    "order_change:text": "order_change_2:text",
    "id:int title:str": "title:str",
    "version:int title:str": "title:str",
    "created_at:datetime title:str": "title:str",
    "save:bool": "order_save:bool",
    "o:int l:enum(a,b) i:bool": "order_o:int order_l:enum(a,b) i:bool",
    "self:str cls:int": "order_self:str order_cls:int",
    "json:json": "order_json:json",
    "model_name:str": "order_name:str",
    "date:date": "order_date:date",
    "order:int": "order_order:int",
    "order:ref(order)?": "parent:ref(order)?",
    "limit:int": "order_limit:int",
    "title:str title:str": "title:str title_2:str",
    "customer:ref(customer) customer_id:int": "customer:ref(customer) customer_id_2:int",
    "line1:int line_1:int": "line1:int line_1_2:int",
    "status:enum(a,b)# order_status:str(10)#": "status:enum(a,b)# order_status_2:str(10)#",
    "order_status:str status:enum(a,b)": "order_status:str status_kind:enum(a,b)",
    "read:enum(a,b)": "read_kind:enum(a,b)",
    "change:enum(a,b)#=a": "change_kind:enum(a,b)#=a",
    "status:enum(a) x:ref(order_status)": "status_kind:enum(a) x:ref(order_status)",
    "x:ref( order_status/y ) status:enum(a)": "x:ref(order_status/y) status_kind:enum(a)",
    "author:ref(user) title:str": "owner:user title:str",
    "owner:user author:ref(user) title:str": "owner:user title:str",
    "aaaaaaaaaaaaaaaaaaaaaaaa:int aaaaaaaaaaaaaaaaaaaaaaaa:int": "aaaaaaaaaaaaaaaaaaaaaaaa:int aaaaaaaaaaaaaaaaaaaaaa_2:int",
    "near:ref(a)": "near:ref(a_item)",
    "near:ref(x/class)": "near:ref(x_item)",
    "near:ref(page,cascade)?": "near:ref(page_item,cascade)?",
    "title:str(0)": "title:str(100)",
    "title:str(1000)": "title:str(100)",
    "title:str(x)": "title:str(100)",
    "title:str(300)!": "title:str(255)!",
    "title:str(100": "title:str(100)",
    "title?": "title:str(100)?",
    "sku!#": "sku:str(100)!#",
    "sku:!": "sku:str(100)!",
    "sku:str(20!": "sku:str(100)!",
    "title:str(100)!!": "title:str(100)!",
    "title:str(100)$": "title:str(100)",
    "note:text#": "note:text",
    "note:text=x": "note:text",
    "count:int(3)": "count:int",
    "count:int=many": "count:int=0",
    "count:int=1.5": "count:int=0",
    "count:int=99999999999": "count:int=0",
    "price:decimal": "price:decimal(12,2)",
    "price:decimal(2,3)": "price:decimal(12,2)",
    "price:decimal(29,2)": "price:decimal(12,2)",
    "price:decimal(12,7)": "price:decimal(12,2)",
    "price:money=0": "price:decimal(12,2)=0",
    "price:decimal(4,2)=123": "price:decimal(4,2)=0",
    "price:decimal(4,2)=1.234": "price:decimal(4,2)=0",
    "ok:bool=yes": "ok:bool=true",
    "ok:bool#=False": "ok:bool#=false",
    "ok:bool=True": "ok:bool=true",
    "due:Date?": "due:date?",
    "title:String(50)!": "title:str(50)!",
    "total:Decimal(12,2)=0": "total:decimal(12,2)=0",
    "ok:boolean": "ok:bool",
    "ok:bool!": "ok:bool",
    "due:date=today": "due:date",
    "due:date?=x": "due:date?",
    "title:str?=x": "title:str=x",
    "title:str(3)=long": "title:str(4)=long",
    "status:enum": "status:enum(draft,paid)",
    "status:enum(A,B)": "status:enum(a,b)",
    "status:enum(a,a)": "status:enum(a)",
    "status:enum(Open,In-Progress)#=Open": "status:enum(open,in_progress)#=open",
    "status:enum(a,)": "status:enum(a)",
    "status:enum(1,2)": "status:enum(draft,paid)",
    "status:enum(a,b)=c": "status:enum(a,b,c)=c",
    "status:choice(a,b)": "status:enum(a,b)",
    "customer:customer": "customer:ref(customer)",
    "customer:ref": "customer:ref(customer)",
    "customer:fk(customer)": "customer:ref(customer)",
    "customer_id:ref(customer)": "customer:ref(customer)",
    "customer:ref(customer,delete)": "customer:ref(customer)",
    "customer:ref(customer,set_null)": "customer:ref(customer,set_null)?",
    "parent:ref(order)": "parent:ref(order)?",
    "author:user title:str": "owner:user title:str",
    "author:user editor:user title:str": "owner:user title:str",
    "owner:user": "owner:user title:str(100)",
    "owner:user? title:str": "owner:user title:str",
    "title:str(100); price:int": "title:str(100) price:int",
}


JINJA = SandboxedEnvironment(
    loader=FileSystemLoader(REPOSITORY),
    extensions=["jinja2_ansible_filters.AnsibleCoreFiltersExtension"],
    undefined=StrictUndefined,
)


def mistake(fields: str, engine: str = "sqlite") -> str:
    """Return the message of the validator for the fields of an order; nothing if they are right."""
    macros = JINJA.get_template("includes/resource/fields.jinja").module
    message: str = vars(macros)["mistake"](fields, "order", True, engine)
    return message.strip()


FIRST_LINE = re.compile(r"(Write|Remove) \S.*|Correct field \d+(: .+)?")


@pytest.mark.parametrize(("fields", "corrected"), WRONG.items(), ids=WRONG)
def test_wrong_field_is_refused_with_the_corrected_line(fields: str, corrected: str) -> None:
    shown = fields
    for _ in range(3):  # one mistake at a time
        message = mistake(shown)
        first = message.splitlines()[0]
        assert FIRST_LINE.fullmatch(first)
        assert len(f"Validation error for question 'fields': {first}") <= 80
        assert max(map(len, message.splitlines())) <= 80
        explained, _, line = message.rpartition("\nWith this correction:\n")
        assert re.search(" -- |Reason: ", explained or message)
        shown = line if explained else first.removeprefix("Write ")
        if shown == corrected:
            break

    assert shown == corrected
    assert mistake(corrected) == ""


def test_unique_field_is_not_called_like_the_primary_key_of_mysql() -> None:
    assert mistake("primary:int!", "mysql").startswith("Write order_primary:int!\n")
    for fields, engine in (("primary:int!", "postgresql"), ("primary:int#", "mysql")):
        assert mistake(fields, engine) == ""


def test_message_lists_what_a_resource_refers_to() -> None:
    fields = "title:str customer:ref(customer) seller:ref(person/people) parent:ref(order)?"
    macros = JINJA.get_template("includes/resource/fields.jinja").module
    columns = json.loads(vars(macros)["parse"](fields, "order", True, "sqlite"))
    message = JINJA.get_template("includes/resource/message.jinja")
    names = {"package_name": "src", "resource": "order", "plural": "orders"}

    shown = message.render(columns=columns, **names)

    assert re.findall(r"^ +(\w+) in (\S+)$", shown, re.MULTILINE) == [
        ("Customer", "src/customers/models.py"),
        ("Person", "src/people/models.py"),
    ]
    assert max(map(len, shown.splitlines())) <= 80
    assert "refers to" not in message.render(columns=columns[:1], **names)


def test_fields_may_be_separated_by_commas() -> None:
    assert mistake("title:str(100), price:decimal(12, 2), status:enum(draft, paid)") == ""


def test_corrected_line_of_many_fields_is_short() -> None:
    fields = " ".join(f"a_field_with_a_name_{n}:int" for n in range(25)) + " b:string"

    assert mistake(fields).startswith("Write b:str(100)\n")
    assert mistake(fields).endswith("\nWith this correction:\nb:str(100)")


def test_corrected_line_of_long_fields_is_wrapped_where_it_may_be() -> None:
    values = ",".join(f"value_{n}" for n in range(20))
    fields = f"title:string status:enum({values}) note:str=in-progress"

    lines = mistake(fields).splitlines()

    assert max(map(len, lines)) <= 80
    assert mistake(" ".join(lines[lines.index("With this correction:") + 1 :])) == ""


@pytest.mark.parametrize(
    ("answers", "fix"),
    [
        ({"fields": ""}, "Write title:str"),
        ({"fields": " ".join(f"a{n}:int" for n in range(31))}, "Use at most 30 fields"),
        ({"fields": "a" * 3000}, "Use at most 2000 characters"),
        ({"fields": "a:int{{ 7 * 7 }}"}, "Write "),
        ({"resource": ""}, "Enter a name"),
        ({"resource": "Order"}, "Try order"),
        ({"resource": "orderItem"}, "Try order_item"),
        ({"resource": "class"}, "Try class_item"),
        ({"resource": "user"}, "Try user_item"),
        ({"resource": "administrator"}, "Try administrator_item"),
        ({"resource": "link_token"}, "Try link_token_item"),
        ({"resource": "aerich"}, "Try aerich_item"),
        ({"resource": "none"}, "Try none_item"),
        ({"resource": "exception"}, "Try exception_item"),
        ({"resource": "größe"}, "Try groesse"),
        ({"resource": "profile"}, "Try user_profile"),
        ({"resource": "item", "plural": "created_at"}, "Try created_at_list"),
        ({"resource": "item", "plural": "any"}, "Try any_list"),
        ({"resource": "item", "plural": "con"}, "Try con_list: Windows refuses it"),
        ({"resource": "item", "plural": "verify_email"}, "Try verify_email_list"),
        ({"resource": "item", "plural": "administration"}, "Try administration_list"),
        ({"resource": "item", "plural": "email"}, "Try email_list"),
        ({"resource": "orders_of", "plural": "orders"}, "Try orders_list"),
        ({"resource": "x" * 25}, "Use at most 24"),
        ({"resource": "event"}, "Try events_list"),
        ({"resource": "log"}, "Try logs_list"),
        ({"resource": "l"}, "Try l_item"),
        ({"resource": "doc"}, "Try docs_list: the path is taken"),
        ({"resource": "sqlite_thing"}, "Try things: SQLite reserves sqlite_"),
        ({"resource": "sheep", "plural": "sheep"}, "Try sheep_list"),
        ({"resource": "a", "plural": "../a"}, "Try a"),
        ({"access": "owner"}, "Use signed-in, or the field owner:user"),
        ({"access": "nobody"}, "Invalid choice for 'access'"),
        ({"kind": "thing"}, "Invalid choice for 'kind'"),
    ],
    ids=str,
)
def test_wrong_answer_is_refused(
    answers: dict[str, str], fix: str, service_folder: Path, template: Path
) -> None:
    before = files(service_folder)

    with pytest.raises(ValueError, match=re.escape(fix)) as error:
        add(template, service_folder, **{"resource": "order", "fields": "title:str", **answers})

    assert files(service_folder) == before
    if "Invalid choice" not in fix:  # Copier's own, which lists the choices
        assert max(map(len, str(error.value).splitlines())) <= 80  # a terminal shows the first


def test_reserved_names_cover_the_service(template: Path, tmp_path: Path) -> None:
    folder = render(template, tmp_path / "service", {"observability": True, "sentry": True})

    modules = {path.stem for path in (folder / "src").glob("[a-z]*")}
    tests = {path.stem.removeprefix("test_") for path in (folder / "tests").glob("test_*")}
    assert modules <= {*NAMES["of_the_service"]}
    assert tests <= {*NAMES["of_the_service"], *NAMES["of_its_tests"]}


NAMES = vars(JINJA.get_template("includes/resource/names.jinja").module)
# Every kind of field; all names from them, and those of the resource, contain zq
ZQ = re.sub(r"\b(?!owner)(\w+):", r"zq_\1:", ALL_KINDS).replace("ref(", "ref(zq_")


@pytest.mark.parametrize("access", ["owner", "signed-in", "administrators", "public", None])
@pytest.mark.parametrize("fields", [ZQ, "owner:user zq_is_open:bool#"], ids=["all", "unsorted"])
def test_reserved_names_cover_what_a_resource_imports(
    access: str | None, fields: str, template: Path, service_folder: Path
) -> None:
    """A field that took the place of an import could open a route to everybody."""
    answers = {"plural": "zqs"} | ({"access": access} if access else {})
    if access is None:
        known = service_folder / ".copier-answers.yml"
        known.write_text(known.read_text().replace("accounts: true", "accounts: false"))
        fields = fields.removeprefix("owner:user ")
    add(template, service_folder, "zq", fields, **answers)

    modules = [ast.parse(path.read_text()) for path in (service_folder / "src/zqs").glob("*.py")]
    names = {name for module in modules for name in bound(module.body)}
    tests = ast.parse((service_folder / "tests/test_zqs.py").read_text())
    classes = {name for name in bound(tests.body) if not name.islower()}
    (parameters,) = [
        {argument.arg for argument in node.args.args + node.args.kwonlyargs} | bound(node.body)
        for module in modules
        for node in module.body
        if isinstance(node, ast.AsyncFunctionDef) and node.name == "list_zqs"
    ]
    reserved = {*NAMES["of_modules"], *NAMES["of_parameters"], "_", "_check_references"}
    assert {name for name in names | classes | parameters if "zq" not in name.lower()} <= reserved


@pytest.mark.parametrize("accounts", [True, False], ids=["accounts", "plain"])
def test_reserved_names_cover_main_and_the_models(
    accounts: bool, template: Path, tmp_path: Path
) -> None:
    answers = {"accounts": accounts, "observability": True}
    folder = render(template, tmp_path / "service", answers)

    main = ast.parse((folder / "src/main.py").read_text())
    functions = [node for node in main.body if isinstance(node, ast.FunctionDef)]
    names = bound(main.body) | {name for node in functions for name in bound(node.body)}
    assert {name for name in names if name.islower()} <= {
        *NAMES["of_main"],
        *NAMES["of_the_service"],
    }

    models = ast.parse((folder / "src/database/models.py").read_text())
    classes = {node.name: node for node in models.body if isinstance(node, ast.ClassDef)}
    assert classes.keys() <= {*NAMES["of_database"], *NAMES["of_modules"]}
    assert bound(classes["User"].body) <= {*NAMES["of_users"], *NAMES["of_rows"], "Meta"}


def bound(statements: list[ast.stmt]) -> set[str]:
    """List the names that statements import, define or assign."""
    names = set()
    for statement in statements:
        match statement:
            case ast.Import(aliases) | ast.ImportFrom(names=aliases):
                names |= {alias.asname or alias.name for alias in aliases}
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(statement.name)
            case ast.Assign() | ast.AnnAssign():
                nodes = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
                names |= {node.id for node in nodes if isinstance(node.ctx, ast.Store)}
    return names


SERVICE_QUESTIONS = [
    question["help"]
    for question in load_questions().values()
    if "help" in question and is_of_service(question)
]


@pytest.mark.parametrize("engine", ENGINES)
def test_resource_is_asked_for_at_a_terminal(engine: str, template: Path, tmp_path: Path) -> None:
    """It asks for what a resource needs only, and says what to do next."""
    folder = render(template, tmp_path / "service", {"database": engine})
    arguments = ["-m", "copier", "recopy", "--vcs-ref", ":current:", "--data", "kind=resource"]
    terminal = pexpect.spawn(
        sys.executable, arguments, cwd=folder, encoding="utf-8", timeout=60, dimensions=(40, 120)
    )
    terminal.logfile_read = screen = StringIO()
    for question, answer in (("singular", "order"), ("plural", ""), ("Fields", "title:string")):
        terminal.expect(question)
        terminal.send(f"{answer}\r")
    terminal.expect(r"Write title:str\(100\)")
    terminal.send("\x15owner:user title:str(50)\r")
    terminal.expect("Who may use it")
    terminal.send("\r")
    terminal.expect("Created src/orders/ and tests/test_orders.py")
    terminal.expect("main.py")
    terminal.expect("include_router")
    terminal.expect("migrate new add_orders")
    terminal.expect(pexpect.EOF)

    assert (folder / "src" / "orders" / "router.py").exists()
    assert not [question for question in SERVICE_QUESTIONS if question in screen.getvalue()]


def test_resource_with_all_answers_is_not_asked_about(template: Path, tmp_path: Path) -> None:
    folder = render(template, tmp_path / "service", {"database": "postgresql"})
    answers = ("kind=resource", "resource=order", "plural=orders", "fields=a:int", "access=public")
    arguments = ["-m", "copier", "recopy", "--vcs-ref", ":current:"]
    arguments += [argument for answer in answers for argument in ("--data", answer)]
    terminal = pexpect.spawn(
        sys.executable, arguments, cwd=folder, encoding="utf-8", timeout=60, dimensions=(40, 120)
    )
    shown = terminal.expect(["Created src/orders/", *SERVICE_QUESTIONS])

    assert shown == 0, terminal.after
    terminal.expect(pexpect.EOF)


def test_resource_needs_a_service(template: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Run this in the folder of a service"):
        add(template, tmp_path, "order", "title:str")

    assert list(tmp_path.iterdir()) == []


def test_owner_needs_accounts(template: Path, make_service: MakeService) -> None:
    service = make_service("sqlite", answers={"accounts": False})

    for fields, fix in (
        ("owner:user title:str", "Remove owner:user\nReason: the service has no accounts"),
        ("owner:str title:str", "Write order_owner:str"),
    ):
        with pytest.raises(ValueError, match=fix):
            add(template, service.folder, "order", fields)
    for access in ("owner", "administrators"):
        refused = pytest.raises((ValueError, FilterArgumentError), match=r"'access': .*no accounts")
        with refused:
            add(template, service.folder, "order", "title:str", access=access)
    add(template, service.folder, "order", "title:str")


@pytest.fixture
def service_folder(template: Path, tmp_path: Path) -> Path:
    """A folder of which Copier knows only that it is a service."""
    answers = "package_name: src\ndatabase: sqlite\naccounts: true\n"
    (tmp_path / ".copier-answers.yml").write_text(answers)
    return tmp_path
