"""A small HTTP server that can misbehave."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Serves `files` on 127.0.0.1; use it in a `with` block.

    Attributes:
        files: Content by path.
        seen: The `Range` header, or `None`, of each request so far.
        ranges: Whether it obeys `Range`.
        shift: Added to the start of the range that is asked for.
        break_after: Bytes after which the next answer breaks off.
        hold: Answers wait until this event is set.
    """

    def __init__(self):
        self.files, self.seen = {}, []
        self.ranges, self.shift, self.break_after = True, 0, None
        self.hold = threading.Event()
        self.hold.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, format, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.hold.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def answer(self, handler):
        wanted = handler.headers.get("Range")
        self.seen.append(wanted)
        self.hold.wait()
        data = self.files.get(handler.path.lstrip("/"))
        if data is None:
            return handler.send_error(404)
        start = 0
        if wanted and self.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) + self.shift
            if start >= len(data):
                return handler.send_error(416)
            handler.send_response(206)
            span = f"bytes {start}-{len(data) - 1}/{len(data)}"
            handler.send_header("Content-Range", span)
        else:
            handler.send_response(200)
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        stop, self.break_after = self.break_after, None
        handler.wfile.write(data[start:stop])
