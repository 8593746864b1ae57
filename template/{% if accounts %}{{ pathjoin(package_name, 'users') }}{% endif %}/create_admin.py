"""The command that creates an administrator from a user name and an email address.

It asks for the password, or reads it from standard input if that is no terminal.
"""

import argparse
import asyncio
import signal
import sys
from getpass import getpass

from pydantic import ValidationError

from ..database.backend import is_unavailable
from ..database.models import User
from ..database.orm import UnusableDatabaseError, connect_database
from ..exceptions import ConflictError, RuleViolationError
from ..logs import configure_logging
from . import administration, service
from .schemas import Names, SignUp


def _read_password() -> str:
    if not sys.stdin.isatty():
        if not (line := sys.stdin.readline()):
            sys.exit("Run this in a terminal, or write the password to its standard input.")
        return line.removesuffix("\n")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # asyncio's waits for the prompt
    password = getpass("Password: ")
    if getpass("Password again: ") != password:
        sys.exit("The passwords differ: run the command again.")
    return password


async def create_administrator(username: str, email: str, *, promote: bool = False) -> str:
    """Create an administrator, or promote a user when asked to, and return what was done.

    A promoted account gets the password that is read, and all its sessions end: whoever signed up
    with that name loses access.

    Raises:
        ConflictError: an account with this name or address exists and `promote` is off, or it has
            another address.
        RuleViolationError: the password is refused.
        ValidationError: the name, the address or the password is malformed.
    """
    names = Names.model_validate({"username": username, "email": email})
    user = await User.get_or_none(username=names.username)
    if user and user.email != names.email:
        raise ConflictError(f"{names.username} has another email address: choose another name.")
    if user and not promote:
        if user.is_admin and user.is_active:
            return f"{user.username} is an administrator already."
        raise ConflictError(
            f"Add --promote to make {user.username} an administrator.\n"
            "The account exists: it gets the password that you enter, and its sessions end."
        )
    new = SignUp.model_validate({**names.model_dump(), "password": _read_password()})
    password = new.password.get_secret_value()
    if user is None:
        await service.sign_up(new.username, new.email, password, outbox=None, as_administrator=True)
    else:
        await administration.promote(user, password)
    return f"{new.username} is an administrator now."


async def _main(username: str, email: str, *, promote: bool) -> str:
    async with connect_database():
        return await create_administrator(username, email, promote=promote)


def main() -> None:
    """Create an administrator from the command line's arguments."""
    parser = argparse.ArgumentParser(prog=sys.argv[0], description="Create an administrator.")
    parser.add_argument("username", help="the name to log in with")
    parser.add_argument("email", help="an address that gets emails, such as for a new password")
    parser.add_argument(
        "--promote",
        action="store_true",
        help="make an existing account an administrator, with a new password",
    )
    arguments = parser.parse_args()
    # security events go where the service's do
    configure_logging(after_result=True)
    try:
        message = asyncio.run(_main(arguments.username, arguments.email, promote=arguments.promote))
    except ValidationError as error:
        problems = (
            f"{problem['loc'][0]}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        )
        sys.exit("\n".join(problems))
    except (ConflictError, RuleViolationError, UnusableDatabaseError) as error:
        sys.exit(str(error))
    except (EOFError, KeyboardInterrupt):
        sys.exit("\nInterrupted.")
    except Exception as error:
        if is_unavailable(error):
            sys.exit("The database is not reachable.")
        raise
    sys.stdout.write(f"{message}\n")


if __name__ == "__main__":
    main()
