"""The command that lists the settings. Secrets are hidden."""

import argparse
import re
import sys
from typing import Any

from pydantic import SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from ..settings import Settings, as_text, list_unread, settings

HIDDEN = "***"
SECRET_NAME = re.compile("(key|password|secret|token)$")
PASSWORD_IN_URL = re.compile("(?<=://)([^:@/]*):.*@", re.DOTALL)


def list_settings() -> list[tuple[str, str, str]]:
    """List the name, the origin and the value of each setting, without secrets."""
    environment, file = EnvSettingsSource(Settings)(), DotEnvSettingsSource(Settings)()
    rows = []
    for name, field in Settings.model_fields.items():
        origin = "environment" if name in environment else ".env" if name in file else "default"
        rows.append((name.upper(), origin, _show(name, field, getattr(settings, name))))
    return rows


def _show(name: str, field: FieldInfo, value: Any) -> str:  # noqa: ANN401 - a setting of any type
    """Return a value as text. Of a secret URL, only the password is hidden."""
    text = PASSWORD_IN_URL.sub(rf"\1:{HIDDEN}@", as_text(value))
    is_typed = isinstance(value, (SecretBytes, SecretStr))
    is_secret = is_typed or not field.repr or SECRET_NAME.search(name)
    return HIDDEN if is_secret and text and "://" not in text else text


def main() -> None:
    """Print the table of settings."""
    description = "List the settings, and where they come from."
    argparse.ArgumentParser(prog=sys.argv[0], description=description).parse_args()
    for name, origin, value in list_settings():
        sys.stdout.write(f"{name:<25} {origin:<12} {value}".rstrip() + "\n")
    sys.stderr.writelines(f"{line}\n" for line in list_unread())
