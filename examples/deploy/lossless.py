#!/usr/bin/env python3
"""Counts the requests that fail while a server is replaced under load.

    lossless.py [--requests N] [--upgrades N] [--program PATH] doorway
    lossless.py [--requests N] [--upgrades N] [--program PATH] gunicorn

16 clients keep their connections, 8 open one for each request, 4 upload in pieces. The server is replaced as its own manual says (doorway: SIGUSR2; gunicorn:
SIGUSR2, and SIGTERM for the old one when the new one is there), every so many requests. A request has failed when its response is not whole or not 200, and
when a kept connection ends under it without having been told `Connection: close`. Needs Python 3 alone, and the servers. Ends with 1 if one has failed.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

APPLICATION = """
def app(environ, start_response):
    length = len(environ["wsgi.input"].read())
    body = b"took %d\\n" % length
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""


class Counts:
    def __init__(self):
        self.lock = threading.Lock()
        self.done, self.failed, self.why = 0, 0, {}
        self.is_over = False

    def add(self, kind, why=None):
        with self.lock:
            self.done += 1
            if why is not None:
                self.failed += 1
                self.why[(kind, why)] = self.why.get((kind, why), 0) + 1


def connect(address):
    client = socket.create_connection(address, timeout=30)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def response(client):
    """Reads one response; tells whether the connection ends with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(65536)
        if not piece:
            raise ConnectionError("ended before a head" if not data else "ended in a head")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    if b" 200 " not in lines[0]:
        raise ConnectionError(lines[0].decode())
    length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
    while len(body) < length:
        piece = client.recv(65536)
        if not piece:
            raise ConnectionError("ended in a body")
        body += piece
    return b"connection: close" in lines


def ask(counts, address, kind):
    client = None
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + (b"" if kind == "kept" else b"Connection: close\r\n") + b"\r\n"
    content = b"x" * 16384
    upload = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65536\r\nConnection: close\r\n\r\n"
    while not counts.is_over:
        try:
            client = client or connect(address)
            if kind == "upload":
                client.sendall(upload)
                for _ in range(4):
                    client.sendall(content)
                    time.sleep(0.002)
            else:
                client.sendall(head)
            ends = response(client)
            counts.add(kind)
        except (OSError, ConnectionError) as error:
            counts.add(kind, f"{type(error).__name__}: {error}")
            ends = True
        if (ends or kind != "kept") and client:
            client.close()
            client = None


def number_in(path, before=None):
    """The process number in a file, when it is another than before."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            number = int(open(path).read())
            if number != before:
                return number
        except (OSError, ValueError):
            pass
        time.sleep(0.005)
    sys.exit(f"no new process number in {path}")


def wait_for_end(number):
    while os.path.exists(f"/proc/{number}") and "Z" not in open(f"/proc/{number}/stat").read().rsplit(")", 1)[1].split()[0]:
        time.sleep(0.005)


def main():
    arguments = argparse.ArgumentParser(description="Counts the requests that fail while a server is replaced under load.")
    arguments.add_argument("--requests", type=int, default=100_000)
    arguments.add_argument("--upgrades", type=int, default=20)
    arguments.add_argument("--program")
    arguments.add_argument("server", choices=["doorway", "gunicorn"])
    asked = arguments.parse_args()
    folder = tempfile.mkdtemp(prefix="lossless-")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    file = os.path.join(folder, "pid")
    program = asked.program or asked.server
    if asked.server == "doorway":
        command = [program, "--demo", "--quiet", "--port", str(address[1]), "--host", "127.0.0.1", "--pid-file", file]
    else:
        with open(os.path.join(folder, "lossless_app.py"), "w") as out:
            out.write(APPLICATION)
        command = [program, "--pid", file, "--bind", f"127.0.0.1:{address[1]}", "--worker-class", "gthread", "--threads", "16",
                   "--workers", "2", "--log-level", "critical", "--chdir", folder, "lossless_app:app"]
    subprocess.Popen(command, stdout=subprocess.DEVNULL)
    number = number_in(file)
    time.sleep(1)
    counts, begin = Counts(), time.monotonic()
    kinds = ["kept"] * 16 + ["new"] * 8 + ["upload"] * 4
    threads = [threading.Thread(target=ask, args=(counts, address, kind)) for kind in kinds]
    [thread.start() for thread in threads]
    for upgrade in range(asked.upgrades):
        while counts.done < asked.requests * (upgrade + 1) // (asked.upgrades + 1):
            time.sleep(0.01)
        os.kill(number, signal.SIGUSR2)
        if asked.server == "gunicorn":
            new = number_in(file + ".2")
            time.sleep(1)
            os.kill(number, signal.SIGTERM)
            wait_for_end(number)
            number_in(file)
        else:
            new = number_in(file, number)
            wait_for_end(number)
        number = new
    while counts.done < asked.requests:
        time.sleep(0.01)
    counts.is_over = True
    [thread.join() for thread in threads]
    os.kill(number, signal.SIGTERM)
    seconds = time.monotonic() - begin
    print(f"{asked.server}: {counts.failed} of {counts.done} requests failed in {asked.upgrades} upgrades, {seconds:.0f} s")
    for (kind, why), count in sorted(counts.why.items()):
        print(f"    {count} {kind}: {why}")
    sys.exit(counts.failed > 0)


main()
