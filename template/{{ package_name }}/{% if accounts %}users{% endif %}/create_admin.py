"""Create the first administrator: `python -m`, this module, a user name and an e-mail address.

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
from ..logs import configure_logging
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


async def make_administrator(username: str, email: str, *, promote: bool = False) -> str:
    """Create an administrator, or promote a user when asked to.

    Args:
        username: the name.
        email: the address.
        promote: whether an existing account becomes the administrator's. It gets the password that
            is read, and all its sessions end: whoever signed up with that name keeps no access.

    Returns:
        What was done.

    Raises:
        ConflictError: there is an account with this name or address, and it is not to be promoted,
            or it has another address.
        UnacceptableError: the password must not be used.
        ValidationError: the name, the address or the password is malformed.
    """
    placeholder = "not the password"  # which is asked for only if it is needed
    names = SignUp.model_validate({"username": username, "email": email, "password": placeholder})
    user = await User.get_or_none(username=names.username)
    if user and user.email != names.email:
        raise ConflictError(f"{names.username} has another e-mail address.")
    if user and not promote:
        if user.is_admin and user.is_active:
            return f"{user.username} is an administrator already."
        raise ConflictError(
            f"Add --promote to make {user.username} an administrator: the account exists already. "
            "It gets the password that you enter, and its sessions end."
        )
    password = _read_password()
    new = SignUp.model_validate({"username": username, "email": email, "password": password})
    password = new.password.get_secret_value()
    if user is None:
        await service.sign_up(new.username, new.email, password, as_administrator=True)
    else:
        await service.promote(user, password)
    return f"{new.username} is an administrator now."


async def _main(username: str, email: str, *, promote: bool) -> str:
    await Tortoise.init(config=TORTOISE_ORM)
    try:
        return await make_administrator(username, email, promote=promote)
    finally:
        await Tortoise.close_connections()


def main() -> None:
    parser = argparse.ArgumentParser(description="Create an administrator.")
    parser.add_argument("username")
    parser.add_argument("email")
    parser.add_argument(
        "--promote",
        action="store_true",
        help="make an existing account the administrator's, with a new password",
    )
    arguments = parser.parse_args()
    configure_logging()  # security events go where the service's do
    try:
        message = asyncio.run(_main(arguments.username, arguments.email, promote=arguments.promote))
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
