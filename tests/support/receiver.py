"""An HTTP server that receives what a service sends."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def receiver(receive: Callable[[str, bytes], bytes]) -> Iterator[int]:
    """Receive POST requests on a free port, which is yielded.

    Args:
        receive: takes the path and the body of each request, and returns the body of the response.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = receive(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
