"""A worker of `doorway --wsgi`: calls a WSGI application (PEP 3333) for requests that come by SCGI.

It is a program of Python's standard library alone, from 3.8 on. The command starts it with a listening socket as file descriptor 0 and
a connection to itself as file descriptor 1, over which it hears that the application is there ("ready") or why not, asks for a
look at the stacks of a worker that hangs, and ends the worker by closing it. Each thread accepts a connection, answers one request and
closes it; what waits for a slow client is the command.

The answer has a status line of HTTP/1.1 and, where nobody knows its length, the chunked coding: so an answer that breaks off is never taken
for a whole one. The rules of PEP 3333 that wsgiref does not keep are kept here (docs/comparison.md): what could break the head is
refused, an empty block sends nothing, a body neither passes its length nor falls short of it in silence.
"""

import ast
import faulthandler
import importlib
import io
import os
import re
import socket
import sys
import threading
import time
import traceback
from wsgiref.util import FileWrapper

BLOCK = 65536
STATUS = re.compile(r"[2-5][0-9][0-9] [\t\x20-\x7e\x80-\xff]*").fullmatch
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch
# RFC 9110 section 7.6.1, and the field that would change the status by CGI.
REFUSED = frozenset((
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "status",
))


class Broken(Exception):
    """The other side of the connection has gone away."""


class Content(io.RawIOBase):
    """The content of a request, which ends where its length says: `wsgi.input` below its buffer."""

    def __init__(self, connection, begin, length):
        self.connection, self.begin, self.left = connection, begin, length

    def readable(self):
        return True

    def readinto(self, place):
        size = min(len(place), self.left)
        if size == 0:
            return 0
        if self.begin:
            part, self.begin = self.begin[:size], self.begin[size:]
            place[: len(part)] = part
            size = len(part)
        else:
            size = self.connection.recv_into(memoryview(place)[:size])
            if size == 0:
                raise ConnectionResetError("the client broke off in the middle of its content")
        self.left -= size
        return size

    def readall(self):
        whole, at = bytearray(self.left), 0
        place = memoryview(whole)
        while self.left:
            at += self.readinto(place[at:])
        return bytes(whole)


class Call:
    """One request and its answer."""

    def __init__(self, connection, environ):
        self.connection, self.environ = connection, environ
        self.was_started = self.is_sent = self.is_chunked = self.has_failed = False
        self.status = self.headers = self.left = None
        self.length = 0

    def start_response(self, status, headers, exc_info=None):
        if exc_info:
            try:
                if self.is_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.was_started:
            raise AssertionError("start_response was called a second time without exc_info")
        # The first call counts even where it fails.
        self.was_started, self.status = True, None
        if not isinstance(status, str) or not STATUS(status):
            raise ValueError(f"no status: {status!r}; it is three digits from 200 on, a space and a reason")
        if not isinstance(headers, list):
            raise TypeError(f"the headers are a list of pairs, and not {type(headers).__name__}")
        left = None
        lines = []
        for name, value in headers:
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(f"names and values of headers are str: {name!r}: {value!r}")
            if not NAME(name) or not VALUE(value):
                raise ValueError(f"no header can be {name!r}: {value!r}")
            lower = name.lower()
            if lower in REFUSED:
                raise ValueError(f"{name} is a header of the server's")
            if lower == "content-length":
                if left is not None or not (value.isascii() and value.isdigit()):
                    raise ValueError(f"Content-Length is one number, and not {value!r}")
                left = int(value)
                continue
            lines.append(f"{name}: {value}\r\n")
        self.left, self.headers, self.status = left, lines, status
        return self.write

    def write(self, block):
        """The write() of PEP 3333."""
        if not isinstance(block, bytes):
            raise TypeError(f"a block of a body is bytes, and not {type(block).__name__}")
        if block and not self.send(block):
            raise ValueError("more was written than Content-Length says")

    def head(self, known=None):
        """The head, as it is sent with the first block or at the end of the body."""
        if self.status is None:
            raise AssertionError("the body began, or ended, before start_response was called")
        code = self.status[:3]
        self.has_content = code not in ("204", "304") and self.environ["REQUEST_METHOD"] != "HEAD"
        if self.left is None and known is not None and self.has_content:
            self.left = known
        lines = ["HTTP/1.1 ", self.status, "\r\n", *self.headers]
        if code == "204":
            pass
        elif self.left is not None:
            lines.append(f"Content-Length: {self.left}\r\n")
        elif self.has_content:
            self.is_chunked = True
            lines.append("Transfer-Encoding: chunked\r\n")
        lines.append("\r\n")
        self.is_sent = True
        self.length = self.left
        return "".join(lines).encode("latin-1")

    def send(self, block, known=None):
        """Sends a block that is not empty; false where it is more than the length says."""
        head = b"" if self.is_sent else self.head(known)
        fits = True
        if not self.has_content:
            block = b""
        elif self.is_chunked:
            block = b"%x\r\n%b\r\n" % (len(block), block)
        elif self.left is not None:
            fits = len(block) <= self.left
            if not fits:
                block = block[: self.left]
            self.left -= len(block)
        if len(block) < BLOCK:
            # Head and block in one piece.
            block = head + block
        elif head:
            self.transmit(head)
        if block:
            self.transmit(block)
        return fits

    def transmit(self, data):
        try:
            self.connection.sendall(data)
        except OSError as error:
            raise Broken from error

    def send_file(self, file):
        """A file whose length is known, without a copy of it in this process."""
        if not self.is_sent:
            self.transmit(self.head())
        if self.has_content and self.left:
            try:
                self.left -= self.connection.sendfile(file, file.tell(), self.left)
            except OSError as error:
                raise Broken from error

    def finish(self):
        """The end of the body."""
        if not self.is_sent:
            # HEAD may say the length that GET would have, and nobody knows it here.
            self.transmit(self.head(0))
        if self.is_chunked:
            self.transmit(b"0\r\n\r\n")
        elif self.has_content and self.left:
            sent = self.length - self.left
            raise ValueError(f"the body has {sent} bytes, and Content-Length said {self.length}")

    def run(self, application):
        result = None
        try:
            try:
                result = application(self.environ, self.start_response)
                self.send_body(result)
                self.finish()
            finally:
                if hasattr(result, "close"):
                    result.close()
        except Broken:
            # Nobody takes the answer: no fault of the application's.
            pass
        except BaseException:
            self.fail()

    def send_body(self, result):
        if isinstance(result, FileWrapper) and self.left is not None and not self.is_chunked:
            try:
                result.filelike.fileno(), result.filelike.tell()
            except Exception:
                pass
            else:
                return self.send_file(result.filelike)
        known = None
        try:
            if len(result) == 1 and not self.is_sent:
                known = True
        except TypeError:
            pass
        for block in result:
            if not isinstance(block, bytes):
                raise TypeError(f"a block of a body is bytes, and not {type(block).__name__}")
            if block and not self.send(block, known and len(block)):
                say(f"the body of {self.name()} is longer than its Content-Length of {self.length}; the rest is not sent\n")
                return
            if self.is_sent and not self.has_content:
                # HEAD, 204, 304: nothing of the rest is wanted, and it may be without end.
                return

    def name(self):
        get = self.environ.get
        return f"{get('REQUEST_METHOD')} {get('REQUEST_URI') or get('PATH_INFO')}"

    def fail(self):
        """An error of the application: a page where nothing is sent yet, otherwise an answer that breaks off."""
        say(f"error in {self.name()}\n{traceback.format_exc()}")
        if self.is_sent:
            return
        text = b"500 Internal Server Error\n"
        head = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(text)
        try:
            self.connection.sendall(head if self.environ["REQUEST_METHOD"] == "HEAD" else head + text)
        except OSError:
            pass


def say(text):
    sys.stderr.write(text)
    sys.stderr.flush()


def receive(connection):
    """The variables of a request, and what has come of its content."""
    data = connection.recv(BLOCK)
    while True:
        digits, colon, rest = data.partition(b":")
        if colon and len(rest) > int(digits):
            break
        more = connection.recv(BLOCK)
        if not more:
            raise Broken
        data += more
    size = int(digits)
    texts = rest[:size].decode("latin-1").split("\0")
    return dict(zip(texts[::2], texts[1::2])), rest[size + 1 :]


def answer(connection, application, base):
    try:
        environ, begin = receive(connection)
    except (Broken, OSError, ValueError):
        return
    environ.pop("SCGI", None)
    length = int(environ["CONTENT_LENGTH"])
    if length == 0:
        del environ["CONTENT_LENGTH"]
        environ["wsgi.input"] = io.BytesIO()
    elif len(begin) >= length:
        environ["wsgi.input"] = io.BytesIO(begin[:length])
    else:
        environ["wsgi.input"] = io.BufferedReader(Content(connection, begin, length), BLOCK)
    environ["wsgi.url_scheme"] = environ.pop("REQUEST_SCHEME", "http")
    environ.update(base)
    Call(connection, environ).run(application)


def serve(listener, application, base, busy):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        busy.add(connection)
        try:
            answer(connection, application, base)
        finally:
            connection.close()
            busy.discard(connection)


def load(spec):
    """The application that `package.module:name` or `package.module:make()` is."""
    module, _, expression = spec.partition(":")
    module = importlib.import_module(module)
    if not expression:
        for name in ("application", "app"):
            if hasattr(module, name):
                return getattr(module, name)
        raise LookupError(f"{module.__name__} has neither application nor app; say which, as in {spec}:name")
    tree = ast.parse(expression, mode="eval").body
    arguments, keywords = [], {}
    is_call = isinstance(tree, ast.Call)
    if is_call:
        arguments = [ast.literal_eval(argument) for argument in tree.args]
        keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in tree.keywords}
        tree = tree.func
    names = []
    while isinstance(tree, ast.Attribute):
        names.append(tree.attr)
        tree = tree.value
    if not isinstance(tree, ast.Name):
        raise LookupError(f"{expression} is neither a name nor a call of one")
    found = module
    for name in [tree.id, *reversed(names)]:
        found = getattr(found, name)
    return found(*arguments, **keywords) if is_call else found


def main(control, spec, threads, processes, grace):
    # What an application prints belongs to the log, and file descriptor 1 is the connection to the command.
    control = control.dup()
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace", line_buffering=True)
    listener = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    # A process that the application forks is no worker: its end is not ours, and ours must be seen while it lives.
    busy = set()
    os.register_at_fork(after_in_child=lambda: [each.close() for each in (control, listener, *busy)])
    sys.argv = [spec]
    sys.path.insert(0, os.getcwd())
    try:
        application = load(spec)
        if not callable(application):
            raise TypeError(f"{spec} is no application: {type(application).__name__} cannot be called")
    except BaseException as error:
        traceback.print_exc()
        control.sendall(f"{type(error).__name__}: {error}\n".encode("utf-8", "replace"))
        sys.exit(1)
    base = {
        "wsgi.version": (1, 0),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": threads > 1,
        "wsgi.multiprocess": processes > 1,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
    }
    threading.Thread(target=hear, args=(control, listener, grace), name="doorway", daemon=True).start()
    for number in range(1, threads):
        arguments = (listener, application, base, busy)
        threading.Thread(target=serve, args=arguments, name=f"wsgi-{number}", daemon=True).start()
    control.sendall(b"ready\n")
    # The main thread calls the application too: some of what one may do is allowed there alone.
    serve(listener, application, base, busy)
    while busy:
        time.sleep(0.01)


def hear(control, listener, grace):
    """Hears what the command wants: a look at the stacks, or the end. It sends no more requests by then."""
    try:
        while control.recv(1):
            faulthandler.dump_traceback()
            control.sendall(b"shown\n")
    except OSError:
        # The command has gone away, which is the end too.
        pass
    # Wakes whoever waits for a connection; what runs is finished, and then the process ends as one should.
    listener.shutdown(socket.SHUT_RDWR)
    time.sleep(grace)
    # A call that lasts longer would last for ever.
    os._exit(1)
