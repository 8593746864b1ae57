"""Emails: their texts are in `mails/`; the first line is the subject."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import make_msgid
from enum import StrEnum
from pathlib import Path
from string import Template
from urllib.parse import unquote, urlsplit

import structlog

from ..database.models import User
from ..settings import settings

SMTP_TIMEOUT = 10  # seconds
PERMANENT = 500  # and above: a refusal that another attempt would not change (RFC 5321, 4.2.1)

logger = structlog.stdlib.get_logger(__name__)

_templates = {
    file.stem: Template(file.read_text(encoding="utf-8"))
    for file in (Path(__file__).parent / "mails").glob("*.txt")
}


class Notice(StrEnum):
    """An email without a link; the name of its template."""

    PASSWORD = "password_notice"  # noqa: S105 - the name of a template
    ADDRESS = "address_notice"


# Sends a notice to a user's address
Notify = Callable[[Notice, User], Awaitable[None]]


class UndeliveredError(Exception):
    """The mail server could not be reached or refused an email for now."""


async def send_email(template: str, to: str, username: str, token: str = "") -> None:
    """Send an email by SMTP, or write it to the log if no server is configured.

    The template is the name of a file in `mails/`, whose link gets the token. The log has the token
    in development only.

    Raises:
        UndeliveredError: the mail server could not be reached or refused the email for now.
    """
    text = _templates[template].substitute(username=username, token=token, url=_site())
    subject, _, body = text.partition("\n\n")
    if settings.smtp_url:
        await _deliver(to, subject, body)
    elif settings.environment == "development":
        logger.info("Email", to=to, subject=subject, text=body)
    else:
        logger.warning("No email was sent, since SMTP_URL is not set", subject=subject)


def _site() -> str:
    """Return the site that links lead to: FRONTEND_URL, or this service, which has their pages."""
    if "frontend_url" in settings.model_fields_set:
        return settings.frontend_url.rstrip("/")
    return f"http://127.0.0.1:{settings.port}{settings.root_path}"


async def _deliver(to: str, subject: str, body: str) -> None:
    import aiosmtplib  # noqa: PLC0415 - only a service with SMTP_URL needs it

    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = settings.mail_from, to, subject
    message["Date"] = datetime.now(UTC)
    message["Message-ID"] = make_msgid(domain=settings.mail_from.rpartition("@")[2])
    message.set_content(body)
    server = urlsplit(settings.smtp_url)
    try:
        await aiosmtplib.send(
            message,
            hostname=server.hostname,
            port=server.port,
            username=unquote(server.username) if server.username else None,
            password=unquote(server.password) if server.password else None,
            use_tls=server.scheme == "smtps",
            start_tls=True if server.username and server.scheme == "smtp" else None,
            timeout=SMTP_TIMEOUT,
        )
    except (aiosmtplib.SMTPRecipientsRefused, aiosmtplib.SMTPDataError) as error:
        refusals = getattr(error, "recipients", [error])
        if all(refusal.code >= PERMANENT for refusal in refusals):
            logger.warning("An email was refused", subject=subject, cause=str(error))
        else:
            raise UndeliveredError(str(error)) from error
    except (OSError, aiosmtplib.SMTPException) as error:
        raise UndeliveredError(str(error)) from error
