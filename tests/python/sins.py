"""A WSGI application with one path for each rule of PEP 3333 that a server can break."""

import gzip
import os
import resource
import sys
import threading
import time
from wsgiref.validate import validator

TEXT = [("Content-Type", "text/plain")]


class Closing:
    """Blocks that say when they are closed."""

    def __init__(self, path, blocks):
        self.path, self.made, self.blocks = path, blocks, iter(blocks)

    def __len__(self):
        return len(self.made)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.blocks)

    def close(self):
        if hasattr(self.made, "close"):
            self.made.close()
        with open("closed", "a") as file:
            file.write(self.path + "\n")


class Lasting(list):
    """Blocks whose close does what is left to do, for seconds at most."""

    def close(self):
        begin = time.time()
        while not os.path.exists("go") and time.time() - begin < 3:
            time.sleep(0.002)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    result = PATHS.get(path, echo)(environ, start_response)
    # What the server has made of a file it may send in its own way.
    return result if isinstance(result, environ["wsgi.file_wrapper"]) else Closing(path, result)


def hello(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"hello"]


def times(environ, start_response):
    start_response("200 OK", TEXT)
    return [f"{os.getpid()} {LOADED} {time.time()}".encode()]


def echo(environ, start_response):
    names = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_X_A", "HTTP_PROXY",
             "wsgi.version", "wsgi.url_scheme", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once", "wsgi.input_terminated")
    lines = [f"{name}={environ[name]!r}\n" for name in names if name in environ]
    body = "".join(lines).encode() + environ["wsgi.input"].read()
    start_response("200 OK", TEXT)
    return [body]


def status_crlf(environ, start_response):
    start_response("200 OK\r\nX-Injected: yes", TEXT)
    return [b"x"]


def value_crlf(environ, start_response):
    start_response("200 OK", [("X-A", "b\r\nX-Injected: yes")])
    return [b"x"]


def name_space(environ, start_response):
    start_response("200 OK", [("X A", "b")])
    return [b"x"]


def empty_first(environ, start_response):
    start_response("200 OK", [("X-First", "1")])
    yield b""
    try:
        raise ValueError("late")
    except ValueError:
        start_response("503 Swapped", [("X-Second", "1")], sys.exc_info())
    yield b"swapped"


def start_twice(environ, start_response):
    start_response("200 OK", TEXT)
    start_response("200 OK", TEXT)
    return [b"x"]


def start_twice_after_bad(environ, start_response):
    try:
        start_response("bad", TEXT)
    except ValueError:
        pass
    start_response("200 OK", TEXT)
    return [b"x"]


def exc_info_late(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"sent"
    try:
        raise ValueError("after the head")
    except ValueError:
        start_response("500 Oops", TEXT, sys.exc_info())
    yield b"never"


def late_start(environ, start_response):
    start_response("201 Late", TEXT)
    yield b"late"


def never_starts(environ, start_response):
    return [b"x"]


def hop_by_hop(environ, start_response):
    start_response("200 OK", [("Connection", "close")])
    return [b"x"]


def status_header(environ, start_response):
    start_response("200 OK", [("Status", "404 Not Found")])
    return [b"x"]


def two_blocks(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"one", b"two"]


def too_long(environ, start_response):
    start_response("200 OK", [("Content-Length", "3")])
    return [b"abc", b"def"]


def too_short(environ, start_response):
    start_response("200 OK", [("Content-Length", "2000000")])
    return [b"abc"]


def two_lengths(environ, start_response):
    start_response("200 OK", [("Content-Length", "1"), ("content-length", "1")])
    return [b"x"]


def no_content(environ, start_response):
    start_response("204 No Content", [("Content-Length", "5")])
    return [b"never"]


def not_modified(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"a"'), ("Content-Length", "5")])
    return [b"never"]


def writes(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"w1")
    write(b"")
    write(b"w2")
    return [b"it"]


def lines(environ, start_response):
    content = environ["wsgi.input"]
    found = [content.read(2), content.readline(3), content.readline(), content.readlines(1), next(iter(content)), content.read(0)]
    found += [content.read(), content.read(), content.readline(), content.readlines(), list(content)]
    start_response("200 OK", TEXT)
    return [repr(found).encode()]


def stream(environ, start_response):
    start_response("200 OK", TEXT)
    for n in range(3):
        yield b"block %d\n" % n
        while not os.path.exists(f"go{n}"):
            time.sleep(0.002)


def lasting(environ, start_response):
    start_response("200 OK", TEXT)
    return Lasting([b"whole"])


def endless(environ, start_response):
    start_response("200 OK", TEXT)
    while True:
        yield b"x" * 65536


def not_bytes(environ, start_response):
    start_response("200 OK", TEXT)
    return ["text"]


def raises(environ, start_response):
    raise ValueError("secret")


class Unnamed(type):
    """Classes that do not say what they are called."""

    def __getattribute__(cls, name):
        if name == "__qualname__":
            raise ValueError("it has none")
        return super().__getattribute__(name)


def raises_oddly(environ, start_response):
    raise Unnamed("Odd", (Exception,), {})()


def raises_later(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begun"
    raise ValueError("secret")


def exits(environ, start_response):
    raise SystemExit(7)


def errors(environ, start_response):
    environ["wsgi.errors"].write("caf\xe9 \u2603 \udcff\n")
    environ["wsgi.errors"].writelines(["first line\n", "second line\n"])
    environ["wsgi.errors"].flush()
    print("printed")
    start_response("200 OK", TEXT)
    return [b"ok"]


def file(environ, start_response):
    handle = open(__file__, "rb")
    handle.seek(3)
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](handle, 10)


def file_length(environ, start_response):
    handle = open(__file__, "rb")
    handle.seek(3)
    start_response("200 OK", [("Content-Length", "7")])
    return environ["wsgi.file_wrapper"](handle)


def file_unpacked(environ, start_response):
    with gzip.open("packed", "wb") as packed:
        packed.write(b"hello" * 1000)
    start_response("200 OK", [("Content-Length", "5000")])
    return environ["wsgi.file_wrapper"](gzip.open("packed", "rb"))


def cookies(environ, start_response):
    start_response("302 Found", [("Set-Cookie", "a=1"), ("Location", "/x"), ("Set-Cookie", "b=2"), ("X-Latin", "caf\xe9")])
    return []


def die(environ, start_response):
    os._exit(3)


def fork_and_die(environ, start_response):
    if os.fork() == 0:
        with open("child", "w") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(1000)
        os._exit(0)
    os._exit(4)


def fork(environ, start_response):
    """The process of a child that does nothing."""
    child = os.fork()
    if child == 0:
        time.sleep(1000)
        os._exit(0)
    start_response("200 OK", TEXT)
    return [str(child).encode()]


def sleep(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"]))
    return hello(environ, start_response)


def hang(environ, start_response):
    print("hanging")
    while True:
        time.sleep(0.05)


def breaks_off(environ, start_response):
    """As many bytes as the query says, and an error."""
    start_response("200 OK", TEXT)
    yield b"x" * int(environ["QUERY_STRING"])
    raise ValueError("no more")


def ticks(environ, start_response):
    """As many blocks as the query says, ten in a second."""
    start_response("200 OK", TEXT)
    for _ in range(int(environ["QUERY_STRING"])):
        yield b"tick"
        time.sleep(0.1)


def slow_504(environ, start_response):
    while environ["wsgi.input"].read(65536):
        time.sleep(0.05)
    start_response("504 Gateway Timeout", TEXT)
    return [b"mine"]


def no_descriptors(environ, start_response):
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, LIMITS[1]))
    return hello(environ, start_response)


def descriptors(environ, start_response):
    resource.setrlimit(resource.RLIMIT_NOFILE, LIMITS)
    return hello(environ, start_response)


def meet(environ, start_response):
    """Is called by two threads at once, or fails."""
    MEETING.wait()
    return hello(environ, start_response)


def no_stderr(environ, start_response):
    sys.stderr = None
    return hello(environ, start_response)


def pid(environ, start_response):
    start_response("200 OK", TEXT)
    return [str(os.getpid()).encode()]


PATHS = {"/" + name.replace("_", "-"): value for name, value in list(globals().items()) if callable(value)}
PATHS["/validated"] = validator(hello)
application_factory = lambda *arguments, **keywords: validator(hello) if (arguments, keywords) == ((1,), {"a": [2]}) else None
LOADED = time.time()
LIMITS = resource.getrlimit(resource.RLIMIT_NOFILE)
MEETING = threading.Barrier(2, timeout=5)
