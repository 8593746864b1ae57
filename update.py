#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["copier>=9.19.1", "pyyaml>=6"]
# ///
"""Update services in separate clones, and report what the template changes and what is left to do.

The services themselves do not change: --push sends them the update as a branch. Run the same command
again to continue: it skips services that are done, and goes on where you resolved conflicts.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from threading import Lock
from typing import Any, Self

import yaml

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

REPOSITORY = Path(__file__).resolve().parent
NOTES = REPOSITORY / "includes" / "releases.yml"
ANSWERS = ".copier-answers.yml"
STATE = "update.json"
FORMAT_LOG = "format.log"
LOCK = "update.lock"
UNRELEASED = "Unreleased"
# Settings of git that Copier and this command rely on, which users may have changed
GIT = {
    "clone.defaultRemoteName": "origin",
    "color.ui": "auto",
    "core.autocrlf": "input",
    "status.showUntrackedFiles": "normal",
}
CONFLICT = re.compile(rb"^ *(<<<<<<< before updating|>>>>>>> after updating)\r?$", re.MULTILINE)
# Files that may configure a formatter
CONFIGURATION = re.compile(r"pyproject\.toml|\.[^/]*")
RELEASE = re.compile(r"v?\d+\.")
# What the update does to a file, in the order of the report
KINDS = {
    "conflict": "Conflicts",
    "lost": "Removed although edited",
    "merged": "Merged with your edits",
    "changed": "Changed",
    "added": "Added",
    "removed": "Removed",
    "missed": "Changed by the template, but you removed, moved or linked them",
}

# The templates that Copier has fetched in this run
FETCHED: set[str] = set()
FETCHING = Lock()


class UpdateError(Exception):
    """A service cannot be updated."""


@dataclass
class Update:
    """The update of one service, and how far it is.

    Attributes:
        source: the folder or URL of the service.
        work: where its clone and its report are.
        commit: the commit of the service that is updated.
        target: the release that was asked for.
        formatter: the command that formats the service.
        switched: the answers that an update in the service's folder changed.
        subfolder: where the service is in its repository.
        old: the release that it came from.
        new: the release that it is updated to.
        files: what happens to each file.
        status: where the update stands.
        error: why it failed.
        result: the commit of the update.
        checked: the checks that passed.
        pushed: whether the branch was pushed.
    """

    source: str
    work: Path
    commit: str = ""
    target: str | None = None
    formatter: str = ""
    switched: dict[str, Any] = field(default_factory=dict)
    subfolder: str = "."
    old: str = ""
    new: str = ""
    files: dict[str, str] = field(default_factory=dict)
    status: str = ""
    error: str = ""
    result: str = ""
    checked: list[str] = field(default_factory=list)
    pushed: bool = False

    @property
    def clone(self) -> Path:
        return self.work / "clone"

    @property
    def folder(self) -> Path:
        return self.clone / self.subfolder

    @property
    def branch(self) -> str:
        """Name the branch: services in one repository have different ones."""
        folder = re.sub(r"[^\w-]+", "-", self.subfolder).strip("-")
        return f"template-{self.new}-{folder}" if folder else f"template-{self.new}"

    def list_files(self, kind: str) -> list[str]:
        return sorted(path for path, found in self.files.items() if found == kind)

    def save(self) -> None:
        """Write the state in whole or not at all: the process may be killed, or the disk full."""
        state = {**asdict(self), "work": str(self.work)}
        self.work.mkdir(parents=True, exist_ok=True)
        new = self.work / f"{STATE}.new"
        new.write_text(json.dumps(state, indent=2), encoding="utf-8")
        new.replace(self.work / STATE)

    @classmethod
    def load(cls, source: str, work: Path) -> Self:
        """Read how far an earlier run came with a service, if there was one."""
        return cls(**{**read_state(work), "source": source, "work": work})


def read_state(work: Path) -> dict[str, Any]:
    """Read the state of an earlier run.

    Raises:
        UpdateError: the file is damaged, or from another version of this command.
    """
    file = work / STATE
    if not file.is_file():
        return {}
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        state = None
    if not isinstance(state, dict) or not state.keys() <= {known.name for known in fields(Update)}:
        raise UpdateError(f"Delete {work} to start again: its {STATE} cannot be read")
    return state


def git_environment() -> dict[str, str]:
    """Return the environment with the settings of `GIT`, after those that it has."""
    environment = dict(os.environ)
    count = int(environment.get("GIT_CONFIG_COUNT") or 0)
    for number, (key, value) in enumerate(GIT.items(), start=count):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return {**environment, "GIT_CONFIG_COUNT": str(count + len(GIT))}


def run(*command: str, folder: Path) -> str:
    """Run a command and return what it prints.

    Raises:
        UpdateError: the command failed. The reason is what git rejected, or the end of the errors.
    """
    process = subprocess.run(
        command,
        cwd=folder,
        env=git_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        close_fds=command[0] != sys.executable,  # if this is killed, Copier keeps the lock
        check=False,
    )
    if process.returncode:
        raise UpdateError(find_reason(process.stderr) or f"{command[0]} failed")
    return process.stdout


def find_reason(errors: str) -> str:
    """Find the lines of a failed command that say why; the last one alone may only give advice."""
    lines = [line for line in errors.splitlines() if line.strip() and not line.startswith("hint:")]
    rejected = [line for line in lines if line.startswith(" ! ")]
    has_traceback = any(line.startswith("Traceback ") for line in lines)
    return "\n".join(rejected[:1] or lines[-1 if has_traceback else -5 :])


def git(folder: Path, *arguments: str) -> str:
    return run("git", *arguments, folder=folder)


def copier(folder: Path, *arguments: str) -> None:
    with fetching(folder):
        run(sys.executable, "-m", "copier", *arguments, "--defaults", "--quiet", folder=folder)


@contextmanager
def fetching(folder: Path) -> Iterator[None]:
    """Let only one Copier run until the template of this service is fetched.

    All of them fetch into one clone in Copier's cache. If a branch has moved, parallel fetches fail.
    """
    template = str(read_answers(folder).get("_src_path"))
    with FETCHING:
        if template not in FETCHED:
            yield
            FETCHED.add(template)
            return
    yield


def read_answers(folder: Path, revision: str | None = None) -> dict[str, Any]:
    """Read the answers of a service, from a revision or from its files."""
    if revision:
        text = git(folder, "show", f"{revision}:./{ANSWERS}")
    elif not (folder / ANSWERS).is_file():
        raise UpdateError(f"There is no {ANSWERS}")
    else:
        text = (folder / ANSWERS).read_text(encoding="utf-8")
    answers = yaml.safe_load(text)
    if not isinstance(answers, dict) or "_commit" not in answers:
        raise UpdateError(f"{ANSWERS} has no _commit")
    return answers


def find_changes(folder: Path) -> dict[str, str]:
    """Find how the files of a folder differ from its last commit: A, M or D."""
    options = ("--name-status", "--no-renames", "--relative", "-z")
    fields = git(folder, "diff", "HEAD", *options).split("\0")
    changes = {path: kind for kind, path in zip(fields[::2], fields[1::2], strict=False)}
    new = git(folder, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
    return {
        **{path: "M" if kind == "U" else kind for path, kind in changes.items()},
        **{path: "A" for path in new if path},
    }


def locate(update: Update, at: str) -> tuple[str, str]:
    """Find what to clone, and the commit to update; set the service's subfolder."""
    url, _, update.subfolder = update.source.partition("#")
    update.subfolder = update.subfolder or "."
    folder = Path(url)
    if not folder.is_dir():
        return url, at
    folder = folder.resolve()
    if (folder / ".git").exists() or (folder / ANSWERS).exists():
        root = Path(git(folder, "rev-parse", "--show-toplevel").strip())
        update.subfolder = folder.relative_to(root.resolve()).joinpath(update.subfolder).as_posix()
        folder = root
    commit = git(folder, "rev-parse", "--verify", f"{at}^{{commit}}").strip()
    return str(folder), commit


def find_target(update: Update, root: str, commit: str) -> tuple[str | None, dict[str, Any]]:
    """Find the release and the changed answers of an update in the folder that is not committed."""
    folder = Path(root) / update.subfolder
    if update.target or not (folder / ANSWERS).is_file():
        return update.target, {}
    now, before = read_answers(folder), read_answers(folder, commit)
    names = {name for name in now if name[0] != "_" and now[name] != before.get(name)}
    switched = {name: now[name] for name in sorted(names)}
    if not switched and now["_commit"] == before["_commit"]:
        return None, {}
    return str(now["_commit"]), switched


def render_old(update: Update) -> None:
    """Render the old release alone into a second working tree, which is based on the service."""
    before = (update.work / "before").resolve()
    options = ("--quiet", "--detach", "--no-checkout")
    git(update.clone, "worktree", "add", *options, str(before), "HEAD")
    git(before, "reset", "--quiet")
    git(before, "checkout", "HEAD", "--", f"./{update.subfolder}/{ANSWERS}")
    try:
        copier(before / update.subfolder, "recopy", "--overwrite", "--vcs-ref", ":current:")
    except UpdateError as error:
        raise UpdateError(f"The old release cannot be rendered: {error}") from None


def find_edits(update: Update) -> dict[str, str]:
    """Compare the old release with the service.

    Returns:
        A for a file that the team removed or moved, T for one that is a link now, else M.
    """
    changes = find_changes(update.work / "before" / update.subfolder)
    return {path: kind for path, kind in changes.items() if kind != "D" and path != ANSWERS}


def find_missed(update: Update, edits: dict[str, str], options: list[str]) -> list[str]:
    """Render the new release over the old one, and list changes in files that the team removed."""
    folder = update.work / "before" / update.subfolder
    gone = {
        path: (folder / path).read_bytes()
        for path, kind in edits.items()
        if kind in "AT" and path not in update.files
    }
    if gone:
        copier(folder, "recopy", "--overwrite", "--vcs-ref", update.new, *options)
    return [path for path, content in gone.items() if (folder / path).read_bytes() != content]


def use_template_format(update: Update) -> None:
    """Commit the service in the template's format, since an update merges lines as they are.

    The service's formatter tells what the old release looks like in the service's format. The edits
    after that are merged into the old release, but lines that conflict stay as they are. So does a
    file if that is not what the service has, formatted, or if it may configure the formatter.
    """
    before = (update.work / "before" / update.subfolder).resolve()
    changed = [path for path, kind in find_edits(update).items() if kind == "M"]
    edited = read_files(update.folder, (p for p in changed if not CONFIGURATION.fullmatch(p)))
    ours = format_files(update, edited)
    base = format_files(update, read_files(before, edited))
    merged = {
        path: merge(update, ours[path], base[path], before / path) for path in ours if path in base
    }
    formatted = {}
    with suppress(UpdateError):  # such as of lines that do not fit together
        formatted = format_files(update, merged)
    for path, content in edited.items():
        fits = path in merged and formatted.get(path) == ours[path]
        (update.folder / path).write_bytes(merged[path] if fits else content)
    git(update.clone, "add", "--all")
    options = ("--quiet", "--no-verify", "--allow-empty")
    git(update.clone, "commit", *options, "--message", "Use the format of the template")
    git(before, "reset", "--quiet", git(update.clone, "rev-parse", "HEAD").strip())


def read_files(folder: Path, paths: Iterable[str]) -> dict[str, bytes]:
    return {path: (folder / path).read_bytes() for path in paths if (folder / path).is_file()}


def format_files(update: Update, contents: dict[str, bytes]) -> dict[str, bytes]:
    """Return what the formatter makes of contents of the service's files."""
    for path, content in contents.items():
        (update.folder / path).write_bytes(content)
    format_changes(update, contents)
    return read_files(update.folder, contents)


def merge(update: Update, ours: bytes, base: bytes, theirs: Path) -> bytes:
    """Merge two changes of a file; ours has precedence, also over a file that is not text."""
    files = [update.work.resolve() / name for name in ("ours", "base")]
    for file, content in zip(files, (ours, base), strict=True):
        file.write_bytes(content)
    with suppress(UpdateError):
        git(update.work, "merge-file", "--quiet", "--ours", *map(str, (*files, theirs)))
    return files[0].read_bytes()


def format_changes(update: Update, changed: Collection[str]) -> None:
    """Format some files. Others stay as they are in the service, also if they are not formatted.

    So do conflicts, whose markers would move. pre-commit fails if it changes files, or if its
    configuration is not staged.

    Raises:
        UpdateError: the formatter failed twice, and not because of conflicts.
    """
    conflicting = [path for path in changed if has_conflict(update.folder / path)]
    conflicts = read_files(update.folder, conflicting)
    if not conflicts:
        git(update.clone, "add", "--all")
    succeeded = any(run_in_shell(update, update.formatter, FORMAT_LOG) for _ in range(2))
    for path, kind in find_changes(update.folder).items():
        if path in changed:
            continue
        command = ("clean", "-ffd") if kind == "A" else ("checkout", "HEAD")
        git(update.folder, "--literal-pathspecs", *command, "--quiet", "--", path)
    for path, content in conflicts.items():
        (update.folder / path).write_bytes(content)
    if conflicts:
        return
    if not succeeded:
        raise UpdateError(f"`{update.formatter}` failed, see {update.work / FORMAT_LOG}")
    git(update.clone, "add", "--all")


def run_in_shell(update: Update, command: str, log: str) -> bool:
    """Run a command of the service in its clone, with its output in a file beside that.

    Returns:
        Whether it succeeded.
    """
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    with (update.work / log).open("a", encoding="utf-8") as output:
        print(f"$ {command}", file=output, flush=True)
        process = subprocess.run(
            command,
            shell=True,
            cwd=update.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    return process.returncode == 0


def keep_edits(update: Update, lost: Iterable[str]) -> None:
    """Keep the edits in removed files as a patch."""
    if paths := list(lost):
        options = ("-R", "--binary", "--no-ext-diff", "--no-prefix", "--relative")
        folder = update.work / "before" / update.subfolder
        patch = git(folder, "diff", *options, "HEAD", "--", *paths)
        (update.work / "removed-edits.diff").write_text(
            patch, encoding="utf-8", errors="surrogateescape"
        )


def has_conflict(file: Path) -> bool:
    return file.is_file() and (file.suffix == ".rej" or bool(CONFLICT.search(file.read_bytes())))


def classify(update: Update, edits: Collection[str]) -> dict[str, str]:
    """Name what the update did to each file."""
    found = {}
    for path, change in find_changes(update.folder).items():
        if path == ANSWERS:
            continue
        if change == "D":
            found[path] = "lost" if path in edits else "removed"
        elif has_conflict(update.folder / path):
            found[path] = "conflict"
        elif change == "A":
            found[path] = "added"
        else:
            found[path] = "merged" if path in edits else "changed"
    return found


def find_commit(clone: Path, at: str) -> str:
    """Find a commit or a branch of the repository that was cloned."""
    for name in (at, f"origin/{at}"):
        try:
            return git(clone, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip()
        except UpdateError:
            continue
    raise UpdateError(f"There is no commit or branch {at}")


def clear(update: Update) -> None:
    """Delete what an earlier run left, except for the state: without it, the folder is refused."""
    update.save()
    for path in update.work.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != STATE:
            path.unlink()


def start(update: Update, at: str) -> None:
    """Clone a service and update the clone."""
    root, commit = locate(update, at)
    target = update.target
    if Path(root).is_dir():
        target, update.switched = find_target(update, root, commit)
    clear(update)
    git(update.work, "clone", "--quiet", "--no-checkout", root, "clone")
    update.commit = find_commit(update.clone, commit)
    git(update.clone, "checkout", "--quiet", "--detach", update.commit)
    update.old = str(read_answers(update.folder)["_commit"])
    render_old(update)
    if update.formatter:
        use_template_format(update)
    edits = find_edits(update)
    options = []
    if update.switched:
        data = update.work.resolve() / "switched.yml"
        data.write_text(yaml.safe_dump(update.switched, allow_unicode=True), encoding="utf-8")
        options = ["--data-file", str(data)]
    copier(update.folder, "update", *(["--vcs-ref", target] if target else []), *options)
    update.new = str(read_answers(update.folder)["_commit"])
    if update.formatter:
        changed = find_changes(update.folder)
        git(update.clone, "update-ref", "--no-deref", "HEAD", update.commit)
        format_changes(update, changed)
    update.files = classify(update, edits)
    keep_edits(update, update.list_files("lost"))
    update.files |= dict.fromkeys(find_missed(update, edits, options), "missed")
    git(update.clone, "worktree", "remove", "--force", str((update.work / "before").resolve()))
    (update.work / "report.md").write_text(report(update), encoding="utf-8")
    update.status = "conflicts" if update.list_files("conflict") else "updated"
    if update.old == update.new and not update.files:
        update.status = "up to date"
    update.result = update.commit


def is_resolved(update: Update) -> bool:
    return not any(has_conflict(update.folder / path) for path in update.list_files("conflict"))


def commit(update: Update) -> None:
    """Commit the update on its branch, with the report as the message.

    A lock file is brought up to date, because pipelines refuse an old one. Checks are repeated.
    """
    git(update.clone, "add", "--all")  # a conflict that was resolved counts as one until then
    git(update.clone, "checkout", "--quiet", "-B", update.branch)
    if update.formatter:
        format_changes(update, find_changes(update.folder))
        git(update.clone, "add", "--all")
    if git(update.clone, "status", "--porcelain"):
        if "pyproject.toml" in update.files and (update.folder / "uv.lock").is_file():
            run("uv", "lock", "--quiet", folder=update.folder)
            git(update.clone, "add", "--all")
        subject = f"Update from the template: {update.old} to {update.new}\n\n"
        message = subject + (update.work / "report.md").read_text(encoding="utf-8")
        options = ("--quiet", "--no-verify", "--cleanup=verbatim")
        git(update.clone, "commit", *options, "--message", message)
        update.pushed, update.checked = False, []
    update.result = git(update.clone, "rev-parse", "HEAD").strip()


def check(update: Update, commands: list[str]) -> None:
    """Run the checks in the clone, until one fails."""
    for command in commands:
        if command in update.checked:
            continue
        if not run_in_shell(update, command, "checks.log"):
            update.status, update.error = "checks failed", command
            return
        update.checked.append(command)


def push(update: Update) -> None:
    """Push the branch, unless an earlier run pushed the same files.

    Raises:
        UpdateError: git failed, or the branch there has other files, which may be somebody's work.
    """
    branch = f"refs/heads/{update.branch}"
    try:
        git(update.clone, "push", "--quiet", "origin", f"HEAD:{branch}")
    except UpdateError as error:
        if "[rejected]" not in str(error):
            raise
        git(update.clone, "fetch", "--quiet", "origin", branch)
        if git(update.clone, "diff", "--name-only", "HEAD", "FETCH_HEAD"):
            raise UpdateError(
                f"The remote has another {update.branch}. Merge it and delete {update.work}. Or run "
                f"`git -C {update.clone} push origin --delete {update.branch}`, then this again"
            ) from None


def numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version.partition("-")[0])]


def find_notes(update: Update) -> list[dict[str, Any]]:
    """List the notes of the releases after the old one, up to the new one; the oldest first."""
    if not RELEASE.match(update.old):
        return []
    notes: list[dict[str, Any]] = yaml.safe_load(NOTES.read_text(encoding="utf-8"))
    known = max(numbers(note["release"]) for note in notes if note["release"] != UNRELEASED)
    new = numbers(update.new)
    found = [
        note
        for note in reversed(notes)
        if note["release"] != UNRELEASED and numbers(update.old) < numbers(note["release"]) <= new
    ]
    return found + [note for note in notes[:1] if note["release"] == UNRELEASED and new > known]


def list_steps(note: dict[str, Any], answers: dict[str, Any]) -> list[str]:
    """List the steps of a release that a service with these answers has to do."""
    chosen = {"all", *(name for name, value in answers.items() if value is True)}
    chosen |= {value for value in answers.values() if isinstance(value, str)}
    steps = note.get("steps", {}).items()
    return [step for answer, listed in steps if answer in chosen for step in listed]


def list_resources(folder: Path) -> list[str]:
    """List the commands that update the resources of a service, which have separate answers."""
    command = "uvx copier update --defaults --answers-file"
    paths = git(folder, "ls-files", "-z", f"*/*/{ANSWERS}").split("\0")
    return [f"{command} {path}" for path in paths if path]


def list_settings(update: Update, notes: list[dict[str, Any]]) -> list[str]:
    """List the settings that change, and those new ones that the service has."""
    example = update.folder / ".env.example"
    text = example.read_text(encoding="utf-8") if example.is_file() else ""
    return [
        f"- `{key}`: {change}"
        for note in notes
        for key, change in note.get("settings", {}).items()
        if change != "new" or f"{key}=" in text
    ]


def report(update: Update) -> str:
    """Describe an update: its files, and what is left to do."""
    answers = read_answers(update.folder)
    notes = find_notes(update)
    package = answers.get("package_name", "src")
    moved = {
        re.sub(r"^src/", f"{package}/", path): [re.sub(r"^src/", f"{package}/", p) for p in places]
        for note in notes
        for path, places in note.get("moved", {}).items()
    }
    files = {
        kind: [
            f"- `{path}`" + (f": now in {', '.join(moved[path])}" if path in moved else "")
            for path in update.list_files(kind)
        ]
        for kind in KINDS
    }
    sections = {KINDS[kind]: files[kind] for kind in ("conflict", "lost", "missed")}
    unknown = (
        f"- Read all of CHANGELOG.md: {update.old}, which the service came from, is no release."
    )
    sections["Breaking changes and manual steps"] = [
        *([] if RELEASE.match(update.old) else [unknown]),
        *(f"- {note['release']}: {step}" for note in notes for step in list_steps(note, answers)),
        *(f"- Then run `{command}`." for command in list_resources(update.folder)),
    ]
    sections["Settings"] = list_settings(update, notes)
    sections |= {title: files[kind] for kind, title in KINDS.items() if title not in sections}
    lines = [f"# {update.work.name}: {update.old} to {update.new}"]
    for title, listed in sections.items():
        lines += ["", f"## {title} ({len(listed)})", "", *listed] if listed else []
    if guides := [note["guide"] for note in notes if "guide" in note]:
        lines += ["", f"Read in the template's repository: CHANGELOG.md, {', '.join(guides)}"]
    return "\n".join(lines) + "\n"


def advance(source: str, work: Path, options: argparse.Namespace) -> Update:
    """Start the update of a service, or go on where an earlier run stopped."""
    update = Update.load(source, work)
    update.error = ""
    try:
        has_clone = update.status not in {"", "failed"} and update.clone.is_dir()
        if not has_clone or is_outdated(update, options):
            update = Update(source, work, target=options.to, formatter=options.format)
            start(update, options.at)
        if update.status != "up to date" and is_resolved(update):
            update.status = "not committed"
            commit(update)
            update.status = "updated"
            check(update, options.check)
            if options.push and not update.pushed and update.status == "updated":
                update.status = "not pushed"
                push(update)
                update.pushed, update.status = True, "updated"
    except (UpdateError, OSError, ValueError, yaml.YAMLError) as error:
        update.status = update.status or "failed"
        update.error = " ".join(str(error).split())
    try:
        update.save()
    except OSError as error:
        update.status, update.error = "failed", f"{STATE} cannot be written: {error}"
    return update


def is_outdated(update: Update, options: argparse.Namespace) -> bool:
    """Return whether to start again: for a newer commit, update or release, but never over work.

    Raises:
        UpdateError: another release was asked for, and there is work in the clone.
    """
    root, commit = locate(update, options.at)
    moved = False
    if Path(root).is_dir() and not update.pushed:
        target, switched = find_target(replace(update, target=options.to), root, commit)
        moved = commit != update.commit or switched != update.switched
        moved = moved or (options.to is None and target not in {None, update.new})
    other = (update.target, update.formatter) != (options.to, options.format)
    head = git(update.clone, "rev-parse", "HEAD").strip()
    if head != update.result or git(update.clone, "status", "--porcelain"):
        if other:
            raise UpdateError(
                f"Use the same --to and --format as before, or delete {update.work} to start again: "
                "its clone has changes that are not committed"
            )
        return False
    return moved or other or (options.to is None and has_newer_release(update.folder))


def has_newer_release(folder: Path) -> bool:
    command = [sys.executable, "-m", "copier", "check-update", "--quiet"]
    with fetching(folder):
        process = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    return process.returncode == 2


def resolve(source: str) -> str:
    """Return a service's URL or its absolute path, which is the same in each folder."""
    url, mark, subfolder = source.partition("#")
    return f"{Path(url).resolve()}{mark}{subfolder}" if Path(url).is_dir() else source


def name_folders(sources: list[str]) -> list[str]:
    """Choose a different folder for each service."""
    names: list[str] = []
    for source in sources:
        path = re.sub(r"(\.git)?/*(#|$)", r"\2", source).replace("#", "/").rstrip("/")
        path = str(Path(path).resolve()) if Path(path).is_dir() else path
        name = re.sub(r"[^\w.-]+", "-", re.split(r"[/:]", path)[-1]) or "service"
        count = Counter(re.sub(r"~\d+$", "", known) for known in names)[name]
        names.append(f"{name}~{count + 1}" if count else name)
    return names


@contextmanager
def lock(work: Path) -> Iterator[None]:
    """Let only one run use the folder. The lock ends with this process, also if it is killed."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        file = (work / LOCK).open("w", encoding="utf-8")
    except OSError as error:
        sys.exit(f"Use another --work: {error}")
    with file:
        os.set_inheritable(file.fileno(), True)
        try:
            if sys.platform == "win32":
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"Wait for the run that uses {work}, or use another --work")
        yield


def table(updates: list[Update]) -> str:
    """Return a table of all services: what happened, and how many files of each kind."""
    rows = [["service", "from", "to", "status", *KINDS]]
    rows += [
        [
            *(update.work.name, update.old or "-", update.new or "-", update.status),
            *(str(len(update.list_files(kind))) for kind in KINDS),
        ]
        for update in updates
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def advise(update: Update) -> str:
    """Return what to do next about a service, on one line."""
    name, folder = update.work.name, update.folder
    if update.status == "checks failed":
        return f"{name}: `{update.error}` failed, see {update.work / 'checks.log'}"
    if update.error:
        return f"{name}: {update.error}"
    if update.status == "conflicts":
        return f"{name}: resolve the conflicts in {folder}, then run this command again"
    if update.list_files("lost"):
        return f"{name}: move your edits of removed files, in {update.work / 'removed-edits.diff'}"
    if update.list_files("missed"):
        return (
            f"{name}: files that you removed or moved have changed, see {update.work / 'report.md'}"
        )
    return ""


def positive(text: str) -> int:
    """Read a number of services.

    Raises:
        argparse.ArgumentTypeError: it is not a number, or less than 1.
    """
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"use a number from 1 on, not {text}")
    return int(text)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        fromfile_prefix_chars="@",
    )
    parser.add_argument(
        "services",
        nargs="+",
        metavar="SERVICE",
        help="a folder, a git URL, URL#FOLDER, or @FILE with one of them on each line",
    )
    parser.add_argument("--to", metavar="RELEASE", help="the release, such as v1.0.0 (the newest)")
    parser.add_argument(
        "--at", default="HEAD", metavar="COMMIT", help="the commit to update (%(default)s)"
    )
    parser.add_argument(
        *("--check", "-c"),
        action="append",
        default=[],
        metavar="COMMAND",
        help="run it in each service",
    )
    parser.add_argument(
        "--format",
        default="",
        metavar="COMMAND",
        help="what formats the services, if their line length or quotes are their own",
    )
    parser.add_argument("--push", action="store_true", help="push the branches")
    parser.add_argument(
        *("--work", "-w"),
        type=Path,
        default=REPOSITORY / "build" / "updates",
        metavar="FOLDER",
        help="where the clones and reports are (build/updates)",
    )
    parser.add_argument(
        *("--jobs", "-j"),
        type=positive,
        default=os.cpu_count(),
        metavar="N",
        help="how many services to update at a time (%(default)s)",
    )
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    # each once: two updates of a service would push the same branch
    sources = list(dict.fromkeys(resolve(s) for s in map(str.strip, options.services) if s))
    services = [
        (source, options.work / name)
        for source, name in zip(sources, name_folders(sources), strict=True)
    ]
    for source, work in services:
        if work.exists() and not (work / STATE).is_file():
            sys.exit(f"Use another --work: {work} exists, and is not from this command")
        try:
            known = read_state(work).get("source", source)
        except UpdateError as error:
            sys.exit(str(error))
        if known != source:
            sys.exit(f"Use another --work, or delete {work}: it has the update of {known}")
    with lock(options.work), ThreadPoolExecutor(max_workers=options.jobs) as pool:
        running = [pool.submit(advance, source, work, options) for source, work in services]
        try:
            for done, future in enumerate(as_completed(running), start=1):
                update = future.result()
                progress = f"[{done}/{len(running)}] {update.work.name}: {update.status}"
                print(progress, file=sys.stderr)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    updates = [future.result() for future in running]
    if len(updates) == 1 and (updates[0].work / "report.md").is_file():
        print((updates[0].work / "report.md").read_text(encoding="utf-8"))
    print(table(updates))
    print(*[f"\n{advice}" for advice in map(advise, updates) if advice], sep="")
    good = {"updated", "up to date"}
    return int(any(update.error or update.status not in good for update in updates))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
