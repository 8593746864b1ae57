"""Limits of the account routes: for one account, from one address, by one user."""

from collections.abc import Awaitable, Callable

from fastapi import Depends, params

from ..settings import settings
from .client_address import client_address
from .counters import Limit
from .throttling import PerAddress, hit, hit_user, refuse

WIDE = 10  # times a limit: for one address, which many people may share, and for one account

IsKnown = Callable[[], Awaitable[bool]]


class AccountLimits:
    """Limits one action.

    Args:
        action: its name.
        limit: a number and a time, such as "20/minute".
        names: how many names identify an account, such as its user name and its email address.
            They share the wide limit equally.
    """

    def __init__(self, action: str, limit: str, *, names: int = 1) -> None:
        self._action = action
        self._limit = Limit.parse(limit)
        wide, seconds = WIDE * self._limit.attempts, self._limit.seconds
        self._wide = Limit(wide, seconds)
        self._account = Limit(wide // names, seconds)

    def per_address(self) -> params.Depends:
        """Create a dependency that counts all requests from an address, on whatever account."""
        dependency: params.Depends = Depends(PerAddress(self._action, self._wide))
        return dependency

    async def count_account(self, account: str, is_known: IsKnown | None = None) -> None:
        """Count an attempt on an account, from the client's address and from all addresses.

        Args:
            account: its user name or email address, as the client has sent it, normalised. A count
                that both share would show that they belong together.
            is_known: returns whether the owner has logged in from this address. It is called only
                when all addresses together exceed their limit, which then does not apply.

        Raises:
            HTTPException: the attempt is above a limit, or cannot be counted.
        """
        refuse(await self._hit_account(account, is_known))

    async def allows(self, account: str) -> bool:
        """Count an attempt on an account, and return whether it is within the limits."""
        return not await self._hit_account(account)

    async def _hit_account(self, account: str, is_known: IsKnown | None = None) -> int:
        pair = f"{account} {client_address.get()}"
        if wait := await hit(self._action, "pair", pair, self._limit):
            return wait
        wait = await hit(self._action, "account", account, self._account)
        return 0 if wait and is_known and await is_known() else wait

    async def count_user(self, user_id: int, *, wide: bool = False) -> None:
        """Count an attempt of a logged-in user from any address, like `count_account`."""
        limit = self._wide if wide else self._limit
        refuse(await hit_user(self._action, user_id, limit))


LOGIN = AccountLimits("login", settings.throttle_login, names=2)
SIGN_UP = AccountLimits("sign_up", settings.throttle_sign_up)
LINK = AccountLimits("reset", settings.throttle_reset)
# Of logged-in users, so that strangers at the same address do not use them up
PASSWORD = AccountLimits("password", settings.throttle_login)
RENAME = AccountLimits("rename", settings.throttle_sign_up)
