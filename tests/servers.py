"""A server of files that answers as a test tells it: whole, cut, stalled, or wrongly."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from kinone.data.download import Patience, RemoteFile

CONTENT = hashlib.shake_256(b"content").digest(300_000)
OTHER = hashlib.shake_256(b"other").digest(300_000)
PATIENT = Patience(stall=20, attempts=3, backoff=0.01)
QUICK = Patience(stall=0.5, attempts=3, backoff=0.01)  # where a server stalls
Answer = Callable[["Handler"], Any]


class Handler(BaseHTTPRequestHandler):
    """Answers each request by the next of the path's answers, and the last of them for ever."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: Any = self.server
        server.log.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        answers = server.answers.get(self.path, [status(404)])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        try:
            answer(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def head(self, code: int, length: int | None, **headers: str) -> None:
        self.send_response(code)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def start(self) -> int:
        """Where the range that was asked for begins."""
        return int((self.headers.get("Range") or "bytes=0-")[6:-1])

    def body(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()

    def hang_up(self) -> None:
        self.close_connection = True


def whole(content: bytes = CONTENT, tag: str = '"one"') -> Answer:
    """As a good server does it: ranges, and an If-Range that is honoured."""

    def answer(request: Handler) -> None:
        start = request.start()
        if start and request.headers.get("If-Range", tag) == tag:
            if start >= len(content):
                request.head(416, 0, Content_Range=f"bytes */{len(content)}")
                return
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            request.head(206, len(content) - start, ETag=tag, Content_Range=span)
            request.body(content[start:])
        else:
            request.head(200, len(content), ETag=tag, Accept_Ranges="bytes")
            request.body(content)

    return answer


def cut(after: int, tag: str = '"one"') -> Answer:
    """The connection breaks off."""

    def answer(request: Handler) -> None:
        start = request.start()
        if start:
            span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
            request.head(206, len(CONTENT) - start, ETag=tag, Content_Range=span)
        else:
            request.head(200, len(CONTENT), ETag=tag)
        request.body(CONTENT[start : start + after])
        request.hang_up()

    return answer


def stalled(after: int | None, seconds: float = 2.0) -> Answer:
    """Nothing more comes; with None, not even an answer."""

    def answer(request: Handler) -> None:
        if after is not None:
            request.head(200, len(CONTENT), ETag='"one"')
            request.body(CONTENT[:after])
        time.sleep(seconds)
        request.hang_up()

    return answer


def trickle(request: Handler) -> None:
    request.head(200, len(CONTENT), ETag='"one"')
    for k in range(100):
        request.body(CONTENT[k : k + 1])
        time.sleep(0.02)
    request.hang_up()


def plain(content: bytes = CONTENT, code: int = 200, length: int | None = -1, **headers: str) -> Answer:
    """The content whatever was asked for."""

    def answer(request: Handler) -> None:
        request.head(code, len(content) if length == -1 else length, **headers)
        request.body(content)
        if length != -1:
            request.hang_up()

    return answer


def wrong_range(said: str, start: Callable[[int], int] = lambda start: start, tag: str = '"one"') -> Answer:
    """206, but what it says or sends is not what was asked for."""

    def answer(request: Handler) -> None:
        asked = request.start()
        if not asked:
            return whole()(request)
        sent = CONTENT[start(asked) :]
        headers = {"Content_Range": said.format(asked=asked, last=len(CONTENT) - 1, size=len(CONTENT))} if said else {}
        request.head(206, len(sent), ETag=tag, **headers)
        request.body(sent)
        return None

    return answer


def status(code: int, **headers: str) -> Answer:
    return lambda request: request.head(code, 0, **headers)


def moved(to: str) -> Answer:
    return lambda request: request.head(302, 0, Location=to.format(port=cast(Any, request.server).server_port))


def serving() -> Iterator[Any]:
    made: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads, made.block_on_close = True, False
    made.answers, made.log = {}, []
    made.url = f"http://127.0.0.1:{made.server_address[1]}"
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def remote(server: Any, *answers: Answer, content: bytes = CONTENT, name: str = "file.gz") -> RemoteFile:
    server.answers["/" + name] = list(answers)
    return RemoteFile(name, f"{server.url}/{name}", len(content), "md5:" + hashlib.md5(content).hexdigest())


def ranges(server: Any) -> list[str | None]:
    return [asked for path, asked, _ in server.log if path == "/file.gz"]
