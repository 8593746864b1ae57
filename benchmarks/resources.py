"""The CPU time of each row of a page: in a generated resource, and in the list of users.

Both have eight columns, in one service on PostgreSQL, and ask for an administrator. The resource
has `version` where users have `is_verified`. A row's time is the difference between a page of 100
rows and one of 10, divided by 90. Requests are made in the service's process, one after the other:
its CPU time hardly changes while the machine does something else.

    python -m benchmarks.resources [--rounds 15] [--requests 40]
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from benchmarks.accounts import ROWS
from tests.support.accounts import PASSWORD, UNTHROTTLED, create_administrator
from tests.support.databases import new_database
from tests.support.resources import add, wire
from tests.support.services import Service, install
from tools.render import render, snapshot

FIELDS = (
    "username:str(50)! email:str(100)! is_active:bool=true is_admin:bool=false "
    "last_login_at:datetime?"
)
COLUMNS = "username, email, is_active, is_admin, last_login_at, created_at"
PAGES = {
    "users": "/users",
    "resource": "/members",
    "resource, sorted": "/members?sort=username",
}
LIMITS = (10, 100)

# It prints the CPU time of a request, in seconds, for each page, limit and round.
MEASURE = """
import asyncio, json, sys, time
from httpx2 import ASGITransport, AsyncClient
from src.main import app

pages, limits, rounds, requests, login = json.loads(sys.argv[1])

async def main():
    async with app.router.lifespan_context(app):
        transport = ASGITransport(app)
        async with AsyncClient(transport=transport, base_url="http://test") as client:
            token = (await client.post("/auth/token", data=login)).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            times = []
            for _ in range(rounds + 1):
                for path in pages:
                    for limit in limits:
                        url = f"{path}{'&' if '?' in path else '?'}limit={limit}"
                        start = time.process_time()
                        for _ in range(requests):
                            answer = await client.get(url)
                        times.append((time.process_time() - start) / requests)
                        assert len(answer.json()["items"]) == limit, answer.text
            print(json.dumps(times[len(pages) * len(limits) :]))  # the first round warms up

asyncio.run(main())
"""


def measure(service: Service, rounds: int, requests: int) -> list[float]:
    """Fill the tables, and measure."""
    person = {"username": "ada", "password": PASSWORD}
    create_administrator(service)
    query = service.database.query
    query(ROWS["postgresql"].format(count=1000))
    query(f"INSERT INTO members ({COLUMNS}, version) SELECT {COLUMNS}, 1 FROM users")
    query("VACUUM (ANALYZE) users")
    query("VACUUM (ANALYZE) members")
    arguments = json.dumps([list(PAGES.values()), LIMITS, rounds, requests, person])
    times: list[float] = json.loads(service.run("python", "-c", MEASURE, arguments).stdout)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=40)
    options = parser.parse_args()
    with (
        snapshot() as template,
        tempfile.TemporaryDirectory() as name,
        new_database("postgresql", Path(name)) as database,
    ):
        folder = render(template, Path(name) / "service", {"database": "postgresql"})
        add(template, folder, "member", FIELDS, access="administrators")
        quiet = {"LOG_LEVEL": "WARNING", "ENVIRONMENT": "production", **UNTHROTTLED}
        service = Service(folder, install(folder, "postgresql"), database, environment=quiet)
        wire(service, "members")
        service.upgrade()
        service.run("python", "-m", "src", "migrate", "new", "add_members")
        service.upgrade()
        times = measure(service, options.rounds, options.requests)

    fewest, most = LIMITS
    rows = {}
    for number, page in enumerate(PAGES):
        few, many = (times[2 * number + index :: 2 * len(PAGES)] for index in range(2))
        rows[page] = statistics.median(b - a for a, b in zip(few, many, strict=True))
        rows[page] *= 1e6 / (most - fewest)
        print(
            f"{page}: {rows[page]:.1f} us for each row, {rows[page] / rows['users']:.2f} times a "
            f"user's; {1e6 * statistics.median(few):.0f} us for a page of {fewest}"
        )


if __name__ == "__main__":
    main()
