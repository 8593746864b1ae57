"""Requests that no honest client sends, from a seed."""

import random

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
ANOTHER = SMUGGLED.replace(b"smuggled", b"livez")

# Headers that decide where a request ends, or what follows it
VALID = [
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
    b"connection: keep-alive, uPgRaDe\r\nUPGRADE: WebSocket",
    b"Upgrade: h2c",
    b"Upgrade: TLS/1.0, HTTP/1.1\r\nConnection: Upgrade",
    b"Proxy-Connection: Upgrade\r\nUpgrade: websocket",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: Content-Length",
    b"Connection: Transfer-Encoding, Upgrade\r\nUpgrade: h2c",
    b"Expect: 100-continue",
    b"Expect: 200-ok",
    b"Trailer: Content-Length",
    b"X-Method-Override: GET",
    b"TE: trailers, chunked",
]
FRAMING = [
    *VALID,
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding:\r\n chunked",
    b"Content-Length: 0",
    b"Content-Length: +1",
    b"Content-Length : 0",
    b"Content-Length: 0, 0",
    b"Content-Length:\r\n 0",
]
METHODS = [b"POST", b"PUT", b"PATCH", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"CONNECT", b"SOURCE"]
VERSIONS = [b"1.1", b"1.1", b"1.1", b"1.0", b"2.0", b"0.9", b"1.2"]
PATHS = [b"/livez", b"/length", b"/users", b"/auth/token", b"/auth/password-reset", b"/nowhere"]
BODIES = [
    b"",
    ANOTHER,
    b'{"username": "a", "email": "b", "password": "c"}',
    b'{"email": "nobody@example.com", "\xff": [[[[[[{}]]]]]]}',
    b"username=%00&password=%ff&username=b",
    b"0\r\n\r\n" + ANOTHER,
]
TYPES = [
    b"application/json",
    b"application/x-www-form-urlencoded",
    b"multipart/form-data; boundary=x",
]


def framed(random: random.Random) -> bytes:
    """Make a request that holds another one in its body, with headers that confuse about its end."""
    body = random.choice([b"", b"\r\n", b"0\r\n\r\n"]) + SMUGGLED
    headers = [b"Host: x", *random.sample(random.choice([VALID, FRAMING]), random.randint(1, 3))]
    if random.random() < 0.5:
        headers.append(b"Content-Length: %d" % len(body))
    else:
        headers.append(b"Transfer-Encoding: chunked")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    random.shuffle(headers)
    line = b"%b %b HTTP/%b" % (
        random.choice(METHODS),
        random.choice(PATHS),
        random.choice(VERSIONS),
    )
    return b"\r\n".join([line, *headers, b"", body])


def mutated(random: random.Random) -> bytes:
    """Make a request, and damage it in one to five places."""
    body = random.choice(BODIES)
    headers = [b"Host: x", b"Content-Type: " + random.choice(TYPES), random.choice(FRAMING)]
    headers.append(b"Content-Length: %d" % len(body))
    line = b"%b %b HTTP/1.1" % (random.choice(METHODS), random.choice(PATHS))
    request = bytearray(b"\r\n".join([line, *headers, b"", body]))
    for _ in range(random.randint(1, 5)):
        place = random.randrange(len(request))
        end = place + random.randint(1, 20)
        change = random.randrange(5)
        if change == 0:
            request[place] = random.randrange(256)
        elif change == 1:
            del request[place:end]
        elif change == 2:
            request[place:place] = request[place:end] * random.choice([1, 2, 50])
        elif change == 3:
            request[place:place] = random.choice(
                [b"\r\n", b"\n", b"\0", b" ", b"\xff", b"\r", b":"]
            )
        else:
            request[place:end] = random.choice(FRAMING)
        request = request or bytearray(b"\r\n")
    return bytes(request)
