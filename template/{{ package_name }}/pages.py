"""HTML pages. Each has a policy that allows its own style and scripts, and nothing else."""

import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from functools import wraps
from hashlib import sha256
from html import escape
from string import Template

from fastapi import Request
from starlette.responses import HTMLResponse

Route = Callable[[Request], Awaitable[object]]

POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
TEMPLATE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
main { margin: 10vh auto; max-width: 32rem; padding: 0 1rem }
button, input { display: block; font: inherit; margin: .25rem 0 1rem; padding: .5rem }
</style>
</head>
<body>
<main>
<h1>$title</h1>
$content
</main>
</body>
</html>
""")


def html_page(title: str, content: str, policy: str = "") -> HTMLResponse:
    """Build a page from its title, as text, and what follows the title, as HTML.

    The policy has additional directives, such as `connect-src 'self'`.
    """
    html = TEMPLATE.substitute(title=escape(title), content=content)
    styles = f"style-src {' '.join(hashes('style', html))}"
    return with_policy(HTMLResponse(html), "; ".join(filter(None, [POLICY, styles, policy])))


def with_policy(page: HTMLResponse, policy: str, scripts: str = "") -> HTMLResponse:
    """Set the policy of a page, and allow the scripts in the page by their hashes.

    The policy lacks `script-src`. `scripts` are the sources of others, such as `'self'`.
    """
    sources = [*filter(None, [scripts]), *hashes("script", bytes(page.body).decode())]
    allowed = f"; script-src {' '.join(sources)}" if sources else ""
    page.headers["Content-Security-Policy"] = policy + allowed
    return page


def hashes(tag: str, html: str) -> list[str]:
    """Return the sources that allow the styles or the scripts in a page."""
    texts = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    return [f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in texts]


def with_home_page(greet: Route) -> Route:
    """Let a route show a page to browsers, which ask for HTML, and answer programs as before."""

    @wraps(greet)
    async def answer(request: Request) -> object:
        if "text/html" in request.headers.get("accept", ""):
            return home_page(request)
        return await greet(request)

    return answer


def home_page(request: Request) -> HTMLResponse:
    """Show the name and the version of the service, and links to its documents and probes."""
    app, root = request.app, request.scope["root_path"]
    links = {"/livez": "Is it alive?", "/readyz": "Is it ready?"}
    if app.openapi_url:
        links = {app.docs_url: "API documentation", app.openapi_url: "OpenAPI document"} | links
    items = "\n".join(
        f'<li><a href="{escape(root + url)}">{text}</a></li>' for url, text in links.items() if url
    )
    description = f"<p>{escape(app.description)}</p>\n<p>Version {escape(app.version)}</p>"
    return html_page(app.title, f"{description}\n<ul>\n{items}\n</ul>")
