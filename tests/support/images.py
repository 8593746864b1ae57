"""Container images, built by buildah without an engine, and run as one would run them.

A container here is a process 1 in namespaces of its own, on the image's files, as the image's user.
It shares the machine's network, so that it reaches the tests' databases.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# made once for this machine; the newest Debian whose Python the services take
BASE = Path(tempfile.gettempdir()) / "copier-fastapi-tortoise-bookworm.tar"
PACKAGES = "ca-certificates,python3,python3-venv"
CERTIFICATES = Path("/etc/ssl/certs")
# where the kernel has overlays, images are not copied for each layer
DRIVER = "overlay" if "overlay" in Path("/proc/filesystems").read_text() else "vfs"
TIMEOUT = 600  # seconds


def require() -> None:
    """Skip the test where no image can be built; fail if REQUIRE_ENGINES is set."""
    missing = [name for name in ("buildah", "debootstrap", "unshare") if not shutil.which(name)]
    fault = f"no {' and no '.join(missing)} to build images with" if missing else ""
    if not fault and os.geteuid():
        fault = "only root can build and run images here"
    if fault:
        (pytest.fail if os.environ.get("REQUIRE_ENGINES") else pytest.skip)(fault)


def _make_base() -> None:
    """Bootstrap Debian into the file `BASE`, unless another run has."""
    if BASE.exists():
        return
    with tempfile.TemporaryDirectory(prefix="base-") as name:
        for command in (
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", name],
            ["chroot", name, "apt-get", "clean"],
            ["tar", "--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*"]
            + ["--exclude=./usr/share/doc/*", "--exclude=./var/lib/apt/lists/*"]
            + ["-C", name, "-cf", f"{BASE}.{os.getpid()}", "."],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        Path(f"{BASE}.{os.getpid()}").replace(BASE)


@dataclass
class Store:
    """Images in a folder of their own.

    Attributes:
        folder: where they are.
        base: the name of the base image.
    """

    folder: Path
    base: str = "localhost/base"

    def buildah(self, *arguments: str, cwd: Path | None = None) -> str:
        """Run buildah and return what it prints.

        Raises:
            AssertionError: it failed.
        """
        storage = ["--storage-driver", DRIVER, "--root", str(self.folder / "root")]
        done = subprocess.run(
            ["buildah", *storage, "--runroot", str(self.folder / "run"), *arguments],
            cwd=cwd,
            env={**os.environ, "TMPDIR": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def build(self, project: Path, name: str) -> "Image":
        """Build a project's Dockerfile on the base."""
        self.buildah(
            *("build", "--format", "docker", "--isolation", "chroot", "--network", "host"),
            *("--build-arg", f"BASE={self.base}", "--tag", name, *self._packages(), "."),
            cwd=project,
        )
        container = self.buildah("from", "--pull-never", name)
        inspected: dict[str, Any] = json.loads(self.buildah("inspect", "--type", "image", name))
        return Image(inspected["Docker"]["config"], Path(self.buildah("mount", container)))

    def _packages(self) -> list[str]:
        """List the options that give the build this machine's access to packages."""
        pip, uv = self.folder / "pip.conf", self.folder / "uv.toml"
        site = Path("/etc/pip.conf")
        lines = [site.read_text(encoding="utf-8") if site.exists() else "", "[install]"]
        url = os.environ.get("PIP_INDEX_URL")
        pip.write_text("\n".join([*lines, f"index-url = {url}" if url else "", ""]))
        url = os.environ.get("UV_DEFAULT_INDEX", os.environ.get("UV_INDEX_URL"))
        index = f'[[index]]\nurl = "{url}"\ndefault = true\n' if url else ""
        uv.write_text(f"system-certs = true\n{index}")
        return [
            *("--volume", f"{pip}:/etc/pip.conf:ro", "--volume", f"{uv}:/etc/uv/uv.toml:ro"),
            *("--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"),
        ]


@contextmanager
def new_store() -> Iterator[Store]:
    """Make a store with the base in it, and delete it afterwards."""
    _make_base()
    with tempfile.TemporaryDirectory(prefix="images-") as folder:
        store = Store(Path(folder))
        container = store.buildah("from", "scratch")
        store.buildah("add", "--quiet", container, str(BASE), "/")
        store.buildah("commit", "--quiet", "--rm", container, store.base)
        try:
            yield store
        finally:
            store.buildah("rm", "--all")


@dataclass
class Image:
    """A built image.

    Attributes:
        config: what it says of itself, as an engine reads it.
        root: its files.
    """

    config: dict[str, Any]
    root: Path

    def start(
        self, *command: str, data: Path | None = None, **environment: str
    ) -> "subprocess.Popen[str]":
        """Start a container on the image, all of whose files but `/tmp` are read-only.

        Args:
            command: what to run, unless the image's own command.
            data: the volume at `/data`.
            environment: variables beside the image's.
        """
        variables = dict(entry.split("=", 1) for entry in self.config["Env"])
        variables.update(environment)
        root = str(self.root)
        mounts = [f"mount --bind {root} {root}", f"mount --rbind /dev {root}/dev"]
        if data:
            mounts.append(f"mount --bind {data} {root}/data")
        mounts += [f"mount -t proc proc {root}/proc", f"mount -t tmpfs tmpfs {root}/tmp"]
        mounts += [f"mount -o remount,bind,ro {root}", 'exec "$@"']
        inside = [
            *("chroot", f"--userspec={self.config['User']}", "--groups=", root),
            *("/usr/bin/env", "-i", f"--chdir={self.config['WorkingDir']}"),
            *(f"{name}={value}" for name, value in variables.items()),
            *(command or self.config["Cmd"]),
        ]
        return subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL"),
                *("sh", "-ec", "\n".join(mounts), "sh", *inside),
            ],
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *command: str, data: Path | None = None, **environment: str) -> str:
        """Run a container to its end and return what it printed.

        Raises:
            AssertionError: it failed.
        """
        process = self.start(*command, data=data, **environment)
        output = process.communicate(timeout=TIMEOUT)[0]
        assert process.returncode == 0, f"{command}\n{output}"
        return output

    def size(self) -> int:
        """Count the bytes of its files."""
        done = subprocess.run(
            ["du", "--summarize", "--bytes", "--one-file-system", self.root],
            check=True,
            capture_output=True,
            text=True,
        )
        return int(done.stdout.split()[0])


def process_1(container: "subprocess.Popen[str]") -> int:
    """Find the process that is the container's process 1."""
    children = Path(f"/proc/{container.pid}/task/{container.pid}/children")
    return int(children.read_text().split()[0])


def stop(container: "subprocess.Popen[str]") -> None:
    """Tell process 1 to end, as an engine does first."""
    os.kill(process_1(container), signal.SIGTERM)
