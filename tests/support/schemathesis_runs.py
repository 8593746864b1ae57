"""Runs of Schemathesis against a served service."""

import os
import subprocess
import sys
from pathlib import Path

from tools.render import REPOSITORY

from .services import Process, Server, Service


def run_schemathesis(service: Service, server: Server, report: Path, *options: str) -> Process:
    """Send what the OpenAPI document of a service allows, with all checks.

    With accounts, an administrator sends it.
    """
    has_accounts = (service.folder / service.package / "auth").is_dir()
    hooks = {"SCHEMATHESIS_HOOKS": "tests.support.fuzzing"} if has_accounts else {}
    return subprocess.run(
        [
            *(Path(sys.executable).parent / "schemathesis", "run"),
            *(f"{server.url}/openapi.json", "--checks", "all"),
            *("--max-examples", "25", "--continue-on-failure"),
            *("--suppress-health-check", "all", "--generation-database", "none"),
            *("--report", "ndjson", "--report-ndjson-path", str(report), *options),
        ],
        cwd=report.parent,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            **hooks,
            "FUZZED_URL": server.url,
            "FUZZED_ENGINE": service.database.engine,
            "FUZZED_DATABASE": service.database.url,
        },
        capture_output=True,
        text=True,
        check=False,
    )
