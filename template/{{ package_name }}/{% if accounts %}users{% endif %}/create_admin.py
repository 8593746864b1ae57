"""Make the first administrator: `python -m`, this module, a user name and an e-mail address.

The password is asked for, or read from standard input where that is no terminal.
"""

import argparse
import asyncio
import signal
import sys
from getpass import getpass

from pydantic import ValidationError
from tortoise import Tortoise
from tortoise.exceptions import OperationalError

from ..api import ConflictError, UnacceptableError
from ..database.config import TORTOISE_ORM
from ..database.engine import is_missing_table, is_unavailable
from ..database.migrate.context import COMMAND
from ..database.models import User
from . import service
from .schemas import SignUp


def _read_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().removesuffix("\n")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # asyncio's waits for the prompt
    password = getpass("Password: ")
    if getpass("Again: ") != password:
        sys.exit("These are two different passwords.")
    return password


async def make_administrator(username: str, email: str) -> str:
    """Make a new user or an existing one an administrator.

    Args:
        username: the name; if there is such a user already, the password stays as it is.
        email: the address.

    Returns:
        What was done, in words.

    Raises:
        ConflictError: the name or the address is another user's.
        UnacceptableError: the password must not be used.
        ValidationError: the name, the address or the password is malformed.
    """
    placeholder = "not the password"  # which is asked for only if it is needed
    names = SignUp.model_validate({"username": username, "email": email, "password": placeholder})
    user = await User.get_or_none(username=names.username)
    if user is None:
        password = _read_password()
        new = SignUp.model_validate({"username": username, "email": email, "password": password})
        user = await service.sign_up(new.username, new.email, new.password.get_secret_value())
    elif user.email != names.email:
        raise ConflictError(f"{names.username} has another e-mail address.")
    elif user.is_admin and user.is_active:
        return f"{user.username} is an administrator already."
    await User.filter(id=user.id).update(is_admin=True, is_active=True, is_verified=True)
    return f"{user.username} is an administrator now."


async def _main(username: str, email: str) -> str:
    await Tortoise.init(config=TORTOISE_ORM)
    try:
        return await make_administrator(username, email)
    finally:
        await Tortoise.close_connections()


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a user an administrator.")
    parser.add_argument("username")
    parser.add_argument("email")
    arguments = parser.parse_args()
    try:
        message = asyncio.run(_main(arguments.username, arguments.email))
    except ValidationError as error:
        faults = (f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors())
        sys.exit("\n".join(faults))
    except (ConflictError, UnacceptableError) as error:
        sys.exit(str(error))
    except (EOFError, KeyboardInterrupt):
        sys.exit("\nInterrupted.")
    except Exception as error:
        if isinstance(error, OperationalError) and is_missing_table(error):
            sys.exit(f"The database has no tables yet. Type: {COMMAND} upgrade")
        if is_unavailable(error):
            sys.exit("The database is not reachable.")
        raise
    sys.stdout.write(f"{message}\n")


if __name__ == "__main__":
    main()
