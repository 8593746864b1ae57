"""The pages that links in emails lead to, until FRONTEND_URL names a site that has them."""

from string import Template

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from ..pages import html_page
from ..settings import settings

CONTENT = Template("""\
<form id="confirm" data-url="$url/confirm" data-done="$done" hidden>
$fields
<button>$title</button>
</form>
<form id="request" data-url="$url" data-done="Open the link in the email that you will get." hidden>
<label for="email">Email address</label>
<input id="email" name="email" type="email" autocomplete="email" required>
<button>Send a link</button>
</form>
<p role="status"></p>
<noscript><p>Turn on JavaScript to use this page.</p></noscript>
<script>
const token = new URLSearchParams(location.hash.slice(1)).get("token");
const { confirm, request } = document.forms;
const status = document.querySelector("[role=status]");
(token ? confirm : request).hidden = false;
document.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const values = Object.fromEntries(new FormData(form));
  const answer = await fetch(form.dataset.url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(form === confirm ? { token, ...values } : values),
  }).catch(() => null);
  const problem = answer?.ok ? null : await answer?.json().catch(() => null);
  form.hidden = Boolean(answer?.ok);
  if (answer?.status === 409) {
    confirm.hidden = true;
    request.hidden = false;
  }
  status.textContent = answer?.ok
    ? form.dataset.done
    : (problem?.errors?.[0].message ?? problem?.detail ?? "The service does not answer.");
});
</script>""")
RESET_FIELDS = """\
<label for="password">New password</label>
<input id="password" name="password" type="password" autocomplete="new-password" required>"""

router = APIRouter(include_in_schema=False)


def _page(request: Request, title: str, path: str, done: str, fields: str = "") -> HTMLResponse:
    url = f"{request.scope['root_path']}{settings.api_prefix}/auth/{path}"
    content = CONTENT.substitute(url=url, title=title, done=done, fields=fields)
    return html_page(title, content, "connect-src 'self'")


async def show_email_verification(request: Request) -> HTMLResponse:
    done = "Your email address is confirmed."
    return _page(request, "Confirm your email address", "email-verification", done)


async def show_password_reset(request: Request) -> HTMLResponse:
    done = "Your password is changed. Log in with it."
    return _page(request, "Choose a new password", "password-reset", done, RESET_FIELDS)


if "frontend_url" not in settings.model_fields_set:
    router.add_api_route("/verify-email", show_email_verification)
    router.add_api_route("/reset-password", show_password_reset)
