"""Metrics, traces, dashboard and alerts of a service with observability."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx2
import pytest
import yaml
from jinja2 import Environment, StrictUndefined
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tools.render import REPOSITORY

from .conftest import MakeService
from .support import databases
from .support.collector import collector
from .support.network import Proxy, wait_for
from .support.services import DEADLINE, Server, Service, free_port, install
from .support.sockets import connect

SERVER, CLIENT = 2, 3  # kinds of spans
TRACE = "0af7651916cd43dd8448eb211c80319c"
ROUTES = """
    from secrets import token_hex

    from fastapi import APIRouter
    from tortoise.transactions import in_transaction

    from .database.models import User

    things = APIRouter()

    @things.get("/things/{name}")
    async def thing(name: str) -> None:
        structlog.get_logger("things").warning("seen")
        await User.filter(username=name).first()
        async with in_transaction():
            await User.create(username=name, email=name, hashed_password="hidden")
            await User.filter(username=name).update(email=token_hex(8))
            people = [User(username=token_hex(8), email=token_hex(8), hashed_password="hidden")]
            await User.bulk_create(people)

    app.include_router(things, prefix="/v1")
    return app
"""


@pytest.fixture
def observed(engine: str, make_service: MakeService) -> Service:
    """A service of each engine with observability and a route that reads and writes."""
    service = make_service(engine, answers={"observability": True})
    service.commands = install(service.folder, f"{engine}-observability")
    service.upgrade()
    return service


def with_routes(service: Service) -> Service:
    service.edit("src/main.py", "\n    return app\n", ROUTES)
    service.edit("src/main.py", "import gc\n", "import gc, structlog\n")
    return service


def scrape(server: Server) -> dict[str, Metric]:
    answer = server.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {metric.name: metric for metric in text_string_to_metric_families(answer.text)}


def value(metric: Metric, **labels: str) -> float:
    suffixes = ("", "_total", "_count")
    (found,) = [
        sample.value
        for sample in metric.samples
        if sample.labels == labels and sample.name.removeprefix(metric.name) in suffixes
    ]
    return float(found)


@pytest.mark.in_turn
def test_own_checks_pass(observed: Service) -> None:
    # what developers set to collect traces is not used
    suite = observed.run(
        *("pytest", "-p", "no:cacheprovider"), OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1"
    )
    assert re.search(r"\d+ passed", suite.stdout)
    assert "Success" in observed.run("mypy").stdout


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_checks_pass_without_accounts(engine: str, make_service: MakeService) -> None:
    service = make_service(engine, answers={"observability": True, "accounts": False})
    service.commands = install(service.folder, f"{engine}-observability-plain")
    test_own_checks_pass(service)


@pytest.mark.in_turn
def test_metrics_report_the_state_of_the_service(observed: Service) -> None:
    with with_routes(observed).serve() as server:
        for path in ("/v1/things/secret", "/v1/things/secret", "/secret"):
            server.get(path)
        httpx2.request("PROPFIND", f"{server.url}/v1/things/secret", timeout=DEADLINE)
        with connect(server) as client:
            client.sendall(b"POST /users HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            wait_for(lambda: value(scrape(server)["http_requests_in_flight"]) == 1)
        wait_for(lambda: value(scrape(server)["http_requests_in_flight"]) == 0)
        found = scrape(server)
        text = server.get("/metrics").text

    route = {"method": "GET", "route": "/v1/things/{name}"}
    assert value(found["http_requests"], **route, status="200") == 1
    assert value(found["http_requests"], **route, status="409") == 1
    assert value(found["http_requests"], method="GET", route="", status="404") == 1
    other = {"method": "_OTHER", "route": "/v1/things/{name}"}
    assert value(found["http_requests"], **other, status="405") == 1
    assert value(found["http_request_duration_seconds"], **route) == 2
    assert value(found["database_up"]) == 1
    assert value(found["database_migrations"], state="applied") == 1
    assert value(found["database_migrations"], state="pending") == 0
    assert value(found["database_migrations"], state="unknown") == 0
    size, idle, most = (value(found[f"database_pool_{name}"]) for name in ("size", "idle", "max"))
    assert 0 < idle <= size <= most == (1 if observed.database.engine == "sqlite" else 10)
    assert value(found["process_resident_memory_bytes"]) > 0
    assert "secret" not in text.lower()


@pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
def test_metrics_work_without_the_database(observed: Service) -> None:
    with Proxy(observed.database.url) as proxy, observed.serve(DATABASE_URL=proxy.url) as server:
        assert value(scrape(server)["database_up"]) == 1
        proxy.close()
        found = scrape(server)
        assert value(found["database_up"]) == 0
        assert found["database_migrations"].samples == []  # not those of before
        proxy.open()
        wait_for(lambda: value(scrape(server)["database_up"]) == 1)


def test_traces_have_requests_with_their_statements_and_logs(observed: Service) -> None:
    with collector() as received:
        with with_routes(observed).serve(
            ENVIRONMENT="production",
            OTEL_EXPORTER_OTLP_ENDPOINT=received.url,
            OTEL_SERVICE_NAME="observed",
        ) as server:
            for _ in range(2):
                httpx2.get(
                    f"{server.url}/v1/things/secret?token=secret",
                    headers={"traceparent": f"00-{TRACE}-{'b' * 16}-01"},
                    timeout=DEADLINE,
                )
        output = server.output

    assert received.paths == {"/v1/traces"}  # metrics and logs go elsewhere
    assert any(b"observed" in body for body in received.bodies)
    good, bad = (s for s in received.spans if s.kind == SERVER and s.trace == TRACE)
    assert good.name == "GET /v1/things/{name}"
    assert good.parent == "b" * 16
    assert good.attributes["http.route"] == "/v1/things/{name}"
    assert good.attributes["http.response.status_code"] == 200
    assert bad.attributes["http.response.status_code"] == 409
    statements = [s for s in received.spans if s.kind == CLIENT and s.parent == good.id]
    assert statements[0].name == "SELECT"
    # the transaction's statements; on MySQL, Tortoise reads a new row's defaults in between
    written = [s.name for s in statements if s.name != "SELECT"]
    assert written == ["INSERT", "UPDATE", "INSERT"]
    assert {s.attributes["db.system.name"] for s in statements} == {observed.database.engine}
    assert all("users" in str(s.attributes["db.query.text"]) for s in statements)
    refused = [s for s in received.spans if s.kind == CLIENT and s.parent == bad.id]
    assert [s.failed for s in refused] == [False, True]
    assert refused[1].attributes["error.type"] == "IntegrityError"
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    logged = [line for line in lines if line.get("span_id") == good.id]
    assert [line["logger"] for line in logged] == ["things", "src.access"]
    assert {line["trace_id"] for line in logged} == {TRACE}
    everything = b"".join(received.bodies) + output.encode()
    assert not re.search(b"secret|hidden", everything)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_service_works_without_a_collector(observed: Service) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    with observed.serve(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as server:
        assert server.get("/readyz").status_code == 200
    assert server.process.returncode == 0
    assert "Traceback" not in server.output


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_dashboard_and_alerts_use_existing_metrics(observed: Service) -> None:
    with observed.serve() as server:
        server.get("/livez")
        names = {s.name for metric in scrape(server).values() for s in metric.samples} | {"up"}
    folder = observed.folder / "observability"
    dashboard = json.loads((folder / "dashboard.json").read_text(encoding="utf-8"))
    alerts = yaml.safe_load((folder / "alerts.yml").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]

    for query in [*queries, *rules]:
        used = set(re.findall(r"\b([a-z][a-z_]*)\{", query))
        assert used, query
        assert used <= names, query
    used_alone = re.findall(r"[a-z_]+_[a-z_]+", " ".join(queries))
    assert {name for name in names if name.startswith(("http_", "database_"))} <= {
        *used_alone,
        *(f"http_request_duration_seconds_{part}" for part in ("count", "sum", "created")),
        "http_requests_created",
    }
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


PROMTOOL = shutil.which("promtool")


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_promtool_accepts_metrics_rules_and_queries(observed: Service, tmp_path: Path) -> None:
    if not PROMTOOL:
        message = "promtool is not installed: Debian's package prometheus has it"
        if databases.REQUIRED:
            pytest.fail(message)
        pytest.skip(message)
    with observed.serve() as server:
        server.get("/livez")
        text = server.get("/metrics").text
    folder = observed.folder / "observability"
    dashboard = json.loads((folder / "dashboard.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries)
    ]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))

    for rule_file in (folder / "alerts.yml", file):
        subprocess.run(
            [PROMTOOL, "check", "rules", str(rule_file)], check=True, capture_output=True
        )
    lint = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=text, check=False, capture_output=True, text=True
    )
    assert lint.returncode == 0, lint.stderr


UP = {"up": "1x90", "jobs_delay_seconds": "0x90"}
FAILED, DONE, KILLED = (
    f'job_attempts_total{{name="send_link", status="{status}"}}'
    for status in ("failed", "done", "killed")
)
# Series by the minute, and the alerts that fire from a minute on but not in the one before
ALERTS: list[tuple[dict[str, str], int, set[str]]] = [
    (UP, 90, set()),
    ({"up": "1x90"}, 5, {"JobsLate"}),
    ({}, 5, {"ServiceAbsent", "JobsLate"}),
    ({**UP, "up": "1x9 0x80"}, 11, {"ServiceDown"}),
    ({**UP, "up": "1x9 0 1x80"}, 90, set()),
    # requests
    (
        {
            **UP,
            'http_requests_total{route="/", status="200"}': "0+90x90",
            'http_requests_total{route="/", status="500"}': "0+10x90",
        },
        6,
        {"ManyErrors"},
    ),
    (
        {
            **UP,
            'http_requests_total{route="/", status="200"}': "0+96x90",
            'http_requests_total{route="/", status="500"}': "0+4x90",
        },
        90,
        set(),
    ),
    ({**UP, 'http_requests_total{route="/", status="500"}': "0+1x90"}, 90, set()),
    ({**UP, 'http_requests_total{route="/readyz", status="503"}': "0+60x90"}, 90, set()),
    (
        {
            **UP,
            'http_request_duration_seconds_bucket{le="1.0"}': "0+95x90",
            'http_request_duration_seconds_bucket{le="5.0"}': "0+100x90",
            'http_request_duration_seconds_bucket{le="+Inf"}': "0+100x90",
        },
        11,
        {"SlowRequests"},
    ),
    (
        {
            **UP,
            'http_request_duration_seconds_bucket{le="1.0"}': "0+99x90",
            'http_request_duration_seconds_bucket{le="+Inf"}': "0+100x90",
        },
        90,
        set(),
    ),
    # the database
    ({**UP, "database_up": "1x9 0x80"}, 11, {"DatabaseDown"}),
    (
        {
            **UP,
            "database_pool_max": "10x90",
            "database_pool_size": "5x9 10x80",
            "database_pool_idle": "0x90",
        },
        15,
        {"PoolExhausted"},
    ),
    ({**UP, 'database_migrations{state="pending"}': "0x9 1x80"}, 15, {"MigrationsPending"}),
    ({**UP, 'database_migrations{state="unknown"}': "0x9 1x80"}, 70, {"MigrationsUnknown"}),
    ({**UP, 'database_migrations{state="applied"}': "3x90"}, 90, set()),
    # jobs
    ({**UP, 'jobs{state="dead"}': "0x9 2x80"}, 11, {"JobsDead"}),
    ({**UP, 'jobs{state="queued"}': "500x90"}, 90, set()),
    ({**UP, "jobs_delay_seconds": "0x9 301x80"}, 15, {"JobsLate"}),
    ({**UP, "jobs_delay_seconds": "300x90"}, 90, set()),
    ({**UP, "jobs_delay_seconds": " ".join(["NaN"] * 90)}, 90, set()),  # DatabaseDown fires
    ({**UP, FAILED: "0+3x90", DONE: "0+2x90"}, 7, {"JobsFailing"}),
    ({**UP, FAILED: "0+2x90", DONE: "0+3x90"}, 90, set()),
    ({**UP, FAILED: "0x9 5x80"}, 90, set()),
    ({**UP, KILLED: "0+3x90", DONE: "0+2x90"}, 7, {"JobsFailing"}),
]


@pytest.mark.skipif(not PROMTOOL and not databases.REQUIRED, reason="promtool is not installed")
def test_alerts_fire_for_what_they_say(tmp_path: Path) -> None:
    """Each alert fires in time, alone, and not for less than it says."""
    (source,) = (REPOSITORY / "template").glob("*/alerts.yml.jinja")
    environment = Environment(undefined=StrictUndefined, autoescape=False)
    template = environment.from_string(source.read_text(encoding="utf-8"))
    rules = template.render(project_slug="desk", jobs="postgresql")
    (tmp_path / "alerts.yml").write_text(rules, encoding="utf-8")

    tests = [
        {
            "interval": "1m",
            "input_series": [
                {"series": with_job(name), "values": values} for name, values in series.items()
            ],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": f"{minute}m",
                    "exp_samples": [
                        {"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts
                    ],
                }
                for minute, alerts in ((first - 1, set[str]()), (first, firing), (80, firing))
            ],
        }
        for series, first, firing in ALERTS
    ]
    file = tmp_path / "tests.yml"
    file.write_text(json.dumps({"rule_files": ["alerts.yml"], "tests": tests}))
    assert PROMTOOL
    done = subprocess.run(
        [PROMTOOL, "test", "rules", str(file)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    names = {rule["alert"] for group in yaml.safe_load(rules)["groups"] for rule in group["rules"]}
    assert names == set().union(*(firing for _, _, firing in ALERTS))


def with_job(series: str) -> str:
    """Add the label that Prometheus gives all series of the service."""
    name, _, labels = series.partition("{")
    return f'{name}{{job="desk", {labels or "}"}'
