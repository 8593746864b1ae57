"""Mails: their texts are in `mails/`, the first line being the subject."""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
from string import Template
from urllib.parse import unquote, urlsplit

import aiosmtplib
import structlog

from ..settings import settings

SMTP_TIMEOUT = 10  # seconds

logger = structlog.stdlib.get_logger(__name__)

_templates = {
    file.stem: Template(file.read_text(encoding="utf-8"))
    for file in (Path(__file__).parent / "mails").glob("*.txt")
}


async def send(to: str, template: str, *, username: str, token: str) -> None:
    """Send a mail by SMTP, or write it to the log where none is configured.

    Args:
        to: the address.
        template: the name of the text in `mails/`.
        username: whom it addresses.
        token: for the link in it. The log shows it in development only.

    Raises:
        OSError: there is no connection to the server.
        aiosmtplib.SMTPException: the server does not take the mail.
    """
    text = _templates[template].substitute(
        username=username, token=token, url=settings.frontend_url.rstrip("/")
    )
    subject, _, body = text.partition("\n\n")
    if settings.smtp_url:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = settings.mail_from, to, subject
        message["Date"] = datetime.now(UTC)
        message["Message-ID"] = make_msgid(domain=settings.mail_from.rpartition("@")[2])
        message.set_content(body)
        server = urlsplit(settings.smtp_url)
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
    elif settings.environment == "development":
        logger.info("Mail", to=to, subject=subject, text=body)
    else:
        logger.warning("No mail was sent, since SMTP_URL is not set", subject=subject)
