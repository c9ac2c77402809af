"""A worker of `doorway --wsgi`: calls a WSGI application (PEP 3333) for requests that come by SCGI.

It is a program of Python's standard library alone, from 3.8 on. The command starts it with a listening socket as file descriptor 0 and
a connection to itself as file descriptor 1, over which it hears that the application is there ("ready") or why not, and of each connection that
is closed here the number of its last call, asks for a look at the stacks of a worker that hangs, and ends the worker by closing it. Each thread
accepts a connection and answers one request after the other on it, which SCGI does not know: the command is told by `Connection: close` where
nothing may follow. What waits for a slow client is the command.

A thread gives Python's lock away at each call of the system, and then waits for it behind the others: so an ordinary request has two such calls,
one that receives it and one that sends its answer.

The answer has a status line of HTTP/1.1 and, where nobody knows its length, the chunked coding: so an answer that breaks off is never taken
for a whole one. The rules of PEP 3333 that wsgiref does not keep are kept here (docs/comparison.md): what could break the head is
refused, an empty block sends nothing, a body neither passes its length nor falls short of it in silence.
"""

import ast
import errno
import faulthandler
import importlib
import io
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
from wsgiref.util import FileWrapper

BLOCK = 65536
# What is received at first: most requests as a whole, and little that has to be copied of those that are longer.
FIRST = 16384
# Up to here content is received before the application is called; the command has it in memory too.
WHOLE = 1048576
# A close() that lasts longer (in seconds) is likely not to be the last: so many answers behind it say that theirs may.
LONG, WARY = 0.05, 100
LASTS = "Connection: close\r\nDoorway-Lasts: 1\r\n"
STATUS = re.compile(r"[2-5][0-9][0-9] [\t\x20-\x7e\x80-\xff]*").fullmatch
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch
# RFC 9110 section 7.6.1, and the field that would change the status by CGI.
REFUSED = frozenset((
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "status", "doorway-lasts",
))

# What the system has too little of for a moment, where it makes no connection.
SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# They mean the command, and a service manager sends them to all processes of a service.
OUTLASTED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


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
        whole = receive_whole(self.connection, self.begin, self.left)
        self.begin, self.left = b"", 0
        return whole.getvalue()


class Call:
    """One request and its answer."""

    wary = 0

    def __init__(self, connection, environ, last):
        self.connection, self.environ = connection, environ
        # What the head says where no request can follow.
        self.last = last
        self.was_started = self.is_sent = self.is_chunked = self.is_whole = False
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
        lines = ["HTTP/1.1 ", self.status, "\r\n", *self.headers, self.last]
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
        begin = b"" if self.is_sent else self.head(known)
        if not self.has_content:
            self.transmit(begin)
        elif self.is_chunked:
            self.transmit(begin + b"%x\r\n" % len(block), block, b"\r\n")
        elif len(block) <= self.left:
            self.left -= len(block)
            self.transmit(begin, block)
        else:
            block, self.left = block[: self.left], 0
            self.transmit(begin, block)
            return False
        return True

    def transmit(self, *parts):
        """Sends the parts in one call of the system; long ones without a copy."""
        try:
            size = sum(map(len, parts))
            if size < FIRST:
                return self.connection.sendall(b"".join(parts))
            sent = self.connection.sendmsg(parts)
            if sent < size:
                self.connection.sendall(b"".join(parts)[sent:])
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
        self.is_whole = True

    def run(self, application):
        """Calls the application; true where the connection is good for another request."""
        result = None
        try:
            try:
                result = application(self.environ, self.start_response)
                self.send_body(result)
                self.finish()
            finally:
                if hasattr(result, "close"):
                    begin = time.monotonic()
                    result.close()
                    if time.monotonic() - begin > LONG:
                        Call.wary = WARY
        except Broken:
            # Nobody takes the answer: no fault of the application's.
            pass
        except BaseException:
            self.fail()
        return self.is_whole and not self.last

    def send_body(self, result):
        if isinstance(result, FileWrapper) and self.left is not None and not self.is_chunked:
            file = result.filelike
            try:
                # The descriptor of anything else, such as gzip.open(), has other bytes.
                is_plain = isinstance(getattr(file, "raw", file), io.FileIO) and file.tell() >= 0
            except Exception:
                is_plain = False
            if is_plain:
                return self.send_file(file)
        is_alone = False
        if self.left is None and not self.is_sent:
            try:
                is_alone = len(result) == 1
            except TypeError:
                pass
        for block in result:
            if not isinstance(block, bytes):
                raise TypeError(f"a block of a body is bytes, and not {type(block).__name__}")
            if block and not self.send(block, len(block) if is_alone else None):
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
        kind = sys.exc_info()[0]
        try:
            text = traceback.format_exc()
        except Exception:
            # It looks at the error, and may read modules, without a descriptor left.
            text = f"{kind.__name__}\n"
        say(f"error in {self.name()}\n{text}")
        if self.is_sent:
            return
        self.was_started, self.status, self.left = True, "500 Internal Server Error", None
        self.headers = ["Content-Type: text/plain\r\n"]
        page = b"500 Internal Server Error\n"
        try:
            self.send(page, len(page))
            self.is_whole = True
        except Broken:
            pass


def say(text):
    try:
        sys.__stderr__.write(text)
        sys.__stderr__.flush()
    except (OSError, ValueError):
        # The command has gone away, or the application has closed it.
        pass


def receive(connection):
    """The variables of the next request, and what has come of its content; nothing where no other one comes."""
    data = connection.recv(FIRST)
    while data:
        begin = data.find(b":") + 1
        if begin and len(data) > begin + (size := int(data[: begin - 1])):
            texts = data[begin : begin + size].decode("latin-1").split("\0")
            return dict(zip(texts[::2], texts[1::2])), data[begin + size + 1 :]
        more = connection.recv(BLOCK)
        data = more and data + more


def receive_whole(connection, begin, length):
    """Content in the place where it stays: a BytesIO that is read as a whole gives what it has, and no copy."""
    content, at = io.BytesIO(bytes(length)), len(begin)
    with content.getbuffer() as place:
        place[:at] = begin
        while at < length:
            size = connection.recv_into(place[at:], 0, socket.MSG_WAITALL)
            if size == 0:
                raise ConnectionResetError("the client broke off in the middle of its content")
            at += size
    return content


def answer(connection, application, base, connections):
    """Answers the next request; true where there may be one more."""
    try:
        received = receive(connection)
        if received is None:
            return False
        environ, begin = received
        connections[connection] = environ.pop("DOORWAY_CALL")
        length, last = int(environ["CONTENT_LENGTH"]), ""
        if length == 0:
            del environ["CONTENT_LENGTH"]
            content = io.BytesIO()
        elif length == len(begin):
            content = io.BytesIO(begin)
        elif length <= WHOLE:
            content = receive_whole(connection, begin, length)
        else:
            # What the application leaves unread stands before the next request.
            content, last = io.BufferedReader(Content(connection, begin, length), BLOCK), "Connection: close\r\n"
    except (OSError, ValueError):
        return False
    if Call.wary > 0:
        Call.wary, last = Call.wary - 1, LASTS
    del environ["SCGI"]
    environ["wsgi.input"] = content
    environ["wsgi.url_scheme"] = environ.pop("REQUEST_SCHEME")
    environ.update(base)
    return Call(connection, environ, last).run(application)


def serve(control, listener, application, base, connections):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError as error:
            if error.errno not in SHORT:
                return
            # Who asks waits in the queue meanwhile.
            time.sleep(0.05)
            continue
        connections[connection] = ""
        try:
            while answer(connection, application, base, connections):
                pass
        finally:
            connection.close()
            # From here on the thread is free, which the command cannot see where it has closed the connection itself.
            number = connections.pop(connection)
            try:
                control.sendall(f"{number}\n".encode())
            except OSError:
                # The command has gone away.
                pass


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
    # Open connections, each with the number of the call that it has or had last.
    connections = {}
    for number in OUTLASTED:
        signal.signal(number, outlast)
    os.register_at_fork(after_in_child=lambda: leave(control, listener, *connections))
    threading.Thread(target=hear, args=(control, listener, connections, grace), name="doorway", daemon=True).start()
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
    for number in range(1, threads):
        arguments = (control, listener, application, base, connections)
        threading.Thread(target=serve, args=arguments, name=f"wsgi-{number}", daemon=True).start()
    control.sendall(b"ready\n")
    # The main thread calls the application too: some of what one may do is allowed there alone.
    serve(control, listener, application, base, connections)
    while connections:
        time.sleep(0.01)


def outlast(number, frame):
    """The command ends this process when its calls are done."""


def leave(*sockets):
    """A process that the application forks is no worker: it ends as others do, and ours is seen to end while it lives."""
    for each in sockets:
        each.close()
    for number in OUTLASTED:
        if signal.getsignal(number) is outlast:
            signal.signal(number, signal.SIG_DFL)


def hear(control, listener, connections, grace):
    """Hears what the command wants: a look at the stacks, or the end. It sends no more requests by then."""
    try:
        while control.recv(1):
            faulthandler.dump_traceback(2)
            control.sendall(b"shown\n")
    except OSError:
        # The command has gone away, which is the end too.
        pass
    # Wakes whoever waits for a connection or a request; what runs is finished, and then the process ends as one should.
    listener.shutdown(socket.SHUT_RDWR)
    for connection in tuple(connections):
        try:
            connection.shutdown(socket.SHUT_RD)
        except OSError:
            # Closed a moment ago.
            pass
    time.sleep(grace)
    # A call that lasts longer would last for ever.
    os._exit(1)
