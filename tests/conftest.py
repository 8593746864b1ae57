import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from copier._main import Worker
from copier._template import Template, load_template_config
from copier._vcs import clone
from httpx2 import create_ssl_context
from jinja2 import Environment

from tools.render import ENGINES, Answers, git, render, snapshot

from .support import databases
from .support.services import Service, compile_modules, install


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("random changes of models")
    group.addoption(
        "--long", action="store_true", help="run for a long time, and go on after failures"
    )
    group.addoption("--minutes", type=float, default=60, help="how long, on each engine")
    group.addoption("--random-seed", type=int, help="begin with the sequence of this seed")
    group.addoption("--shrink", action="store_true", help="look for a smaller sequence that fails")
    parser.addoption(
        "--all-turns",
        action="store_true",
        help="run each case of tests marked `in_turn` on every engine or release, not on only one",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run each case of the tests marked `in_turn` on one engine only, and the next on the next.

    The test's name says where they begin. The mark may name another parameter than the engine,
    such as the release.
    """
    if config.getoption("all_turns"):
        return
    tests: dict[str, dict[str, list[pytest.Item]]] = {}
    for item in items:
        mark = item.get_closest_marker("in_turn")
        if mark and isinstance(item, pytest.Function):
            (turning,) = mark.args or ("engine",)
            case = {name: value for name, value in item.callspec.params.items() if name != turning}
            test = tests.setdefault(item.nodeid.partition("[")[0], {})
            test.setdefault(repr(case), []).append(item)
    left_out = set()
    for name, cases in tests.items():
        # tests without other parameters take turns as well
        for turn, same in enumerate(cases.values(), start=crc32(name.encode())):
            left_out |= {*same} - {same[turn % len(same)]}
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=[*left_out])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once, not once a test, why tests were skipped."""
    reports: list[pytest.TestReport] = terminalreporter.stats.get("skipped", [])
    reasons = Counter(
        report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple)
    )
    for reason, count in reasons.items():
        terminalreporter.write_line(f"{reason} ({count} tests)")


@pytest.fixture(scope="session", autouse=True)
def _no_user_configuration(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's Copier settings and git configuration away from the tests."""
    folder = tmp_path_factory.mktemp("user")
    git = folder / "gitconfig"
    git.write_text(
        "[user]\n\tname = Test\n\temail = test@example.com\n[init]\n\tdefaultBranch = main\n"
    )
    os.environ["GIT_CONFIG_GLOBAL"] = str(git)
    os.environ["GIT_CONFIG_NOSYSTEM"] = "1"
    os.environ["COPIER_SETTINGS_PATH"] = str(folder / "copier.yml")
    (folder / "copier.yml").write_text("{}\n")


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Let Ctrl-C reach what the tests start: a shell's background jobs inherit that it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _read_certificates_once() -> Iterator[None]:
    """Read the certificates once, which httpx2 does for each request without a client, for 30 ms.

    Each start of a service sends such requests until it answers.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx2._transports.default.create_ssl_context", cache(create_ssl_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_copier() -> Iterator[None]:
    """Halve the time of renders within the tests' process, of which there are hundreds.

    Copier compiles the names and texts of all files again for each render. It also asks git for
    `core.fileMode` for each file, which matters only where that is false, as on Windows. Commands
    that tests start, such as `copier update`, do both.
    """
    compiled: dict[tuple[object, ...], Any] = {}
    compile_template = Environment.compile

    def compile_once(self: Environment, source: Any, *names: Any, **options: Any) -> Any:
        # environments with equal options share a lexer
        key = (type(self), self.lexer, *self.extensions, source, *names, *options.items())
        if key not in compiled:
            compiled[key] = compile_template(self, source, *names, **options)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "compile", compile_once)
        if os.name == "posix":
            patch.setattr(Worker, "_sync_git_index_executable_bit", lambda *_: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _combine_answers_once() -> Iterator[None]:
    """Combine the answers once for each render, where Copier does it for each part of a path."""
    known: dict[int, tuple[Path, dict[str, Any]]] = {}
    render_template = Worker._render_template
    answers_path = vars(Worker)["answers_relpath"].fget
    context = Worker._render_context

    def render_with_answers(worker: Worker) -> None:
        path = answers_path(worker)
        known[id(worker)] = path, dict(context(worker))
        try:
            render_template(worker)
        finally:
            del known[id(worker)]

    def known_path(worker: Worker) -> Path:
        path: Path = known[id(worker)][0] if id(worker) in known else answers_path(worker)
        return path

    def known_context(worker: Worker) -> Any:
        return {**known[id(worker)][1]} if id(worker) in known else context(worker)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "_render_template", render_with_answers)
        patch.setattr(Worker, "answers_relpath", property(known_path))
        patch.setattr(Worker, "_render_context", known_context)
        yield


@pytest.fixture(scope="session", autouse=True)
def _clone_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Clone each tag and commit once, where Copier clones it five times for each update."""
    known: dict[tuple[str, str], str] = {}

    def remember(url: str, ref: str, location: str) -> str:
        version = ref
        if ref == "HEAD":  # it moves, so use the commit, unless there are changes
            if not Path(url).is_dir() or git(Path(url), "status", "--porcelain"):
                return clone(url, ref, location)
            version = git(Path(url), "describe", "--tags", "--always", "--abbrev=40")
        if (url, version) not in known:
            known[url, version] = clone(url, ref, str(tmp_path_factory.mktemp("clone")))
        return known[url, version]  # Copier only reads there

    versions: dict[tuple[Path, str | None], Any] = {}

    def remember_version(template: Template) -> Any:
        key = (template.local_abspath, template.commit)
        if key not in versions:
            versions[key] = read_version(template)
        return versions[key]

    read_version = vars(Template)["version"].func
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("copier._template.clone", remember)
        patch.setattr(Template, "version", property(remember_version))
        yield


@pytest.fixture(scope="session", autouse=True)
def _read_questions_once() -> Iterator[None]:
    """Parse each text of the questions once, where Copier parses it several times for each update."""
    known: dict[tuple[bytes, ...], dict[str, Any]] = {}

    def remember(path: Path, quiet: bool = False) -> dict[str, Any]:
        included = sorted(path.parent.glob("ownership/*.yml"))
        key = tuple(file.read_bytes() for file in (path, *included))
        if key not in known:
            known[key] = load_template_config(path, quiet)
        return deepcopy(known[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("copier._template.load_template_config", remember)
        yield


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    """The working tree's template, committed in a temporary repository."""
    with snapshot() as folder:
        yield folder


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    databases.require(name)
    return name


MakeService = Callable[..., Service]


Renders = Callable[[str], tuple[Path, Path]]


@pytest.fixture(scope="session")
def _renders(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Renders:
    """Render and install each engine's default service once for the session."""
    renders: dict[str, tuple[Path, Path]] = {}

    def rendered(engine: str) -> tuple[Path, Path]:
        if engine not in renders:
            folder = render(
                template, tmp_path_factory.mktemp(engine) / engine, {"database": engine}
            )
            renders[engine] = folder, install(folder, engine)
            compile_modules(folder)
        return renders[engine]

    return rendered


@contextmanager
def new_services(renders: Renders, template: Path, tmp_path: Path) -> Iterator[MakeService]:
    """Create services, and end what they still run and drop their databases afterwards."""
    with ExitStack() as stack:

        def make(engine: str, name: str = "service", answers: Answers | None = None) -> Service:
            rendered, commands = renders(engine)
            folder = tmp_path / name
            if answers:
                render(template, folder, {"database": engine, **answers})
            else:
                shutil.copytree(rendered, folder, ignore=shutil.ignore_patterns(".venv"))
            database = stack.enter_context(databases.new_database(engine, tmp_path))
            package = str((answers or {}).get("package_name", "src"))
            service = Service(folder, commands, database, package)
            stack.callback(service.kill)  # before the database is dropped
            return service

        yield make


@pytest.fixture
def make_service(_renders: Renders, template: Path, tmp_path: Path) -> Iterator[MakeService]:
    """Create services, each in a separate folder with a separate, empty database."""
    with new_services(_renders, template, tmp_path) as make:
        yield make


@pytest.fixture
def service(engine: str, make_service: MakeService) -> Service:
    """A default service of each engine, with an empty database."""
    return make_service(engine)
