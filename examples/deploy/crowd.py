#!/usr/bin/env python3
"""A crowd of idle and slow clients before a `doorway` that this starts, and what its status says of them.

Run: cargo build --release && python3 examples/deploy/crowd.py [IDLE [SLOW]]     (10,000 and 900 where nothing is said)

Of the slow, five in nine drip a head, two drip content, and two do not take what they are sent. The status is asked 20 times by `curl`; what
it says is compared with what was opened here and with /proc, and the memory of the server is printed. Linux; the limit of descriptors must be above the
crowd (ulimit -n). A figure that is not true ends it with status 1.
"""
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time

IDLE = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
SLOW = int(sys.argv[2]) if len(sys.argv) > 2 else 900
DOORWAY = os.environ.get("DOORWAY", os.path.join(os.path.dirname(__file__), "../../target/release/doorway"))


def memory(pid):
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return {name: int(fields[name].split()[0]) for name in ("VmRSS", "RssAnon", "Threads")}


def descriptors(pid):
    links = (os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd"))
    return sum(link.startswith("socket:") for link in links)


def connect(begin):
    client = socket.socket()
    # Little of what is not taken stays in the system.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    client.connect(("127.0.0.1", port))
    client.sendall(begin)
    return client


resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
folder = tempfile.TemporaryDirectory()
open(f"{folder.name}/index.html", "w").write("home\n")
with open(f"{folder.name}/large", "wb") as large:
    large.truncate(64 << 20)
server = subprocess.Popen(
    [DOORWAY, "--port", "0", "--host", "127.0.0.1", "--quiet", "--status", "/status", "--stall", "600", "--upload", folder.name],
    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
try:
    url = server.stdout.readline().decode().strip()
    port = int(url.rstrip("/").rsplit(":", 1)[1])
    before, sockets = memory(server.pid), descriptors(server.pid)
    idle = []
    for _ in range(IDLE):
        client = connect(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        idle.append(client)
    for client in idle:
        assert client.recv(4096).startswith(b"HTTP/1.1 200"), "an idle client was not answered"
    time.sleep(1)
    with_idle = memory(server.pid)
    heads, contents = SLOW * 5 // 9, SLOW * 2 // 9
    sippers = SLOW - heads - contents
    # Last those whose time is short: a head has 10 s.
    crowd = [connect(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n") for _ in range(sippers)]
    drips = [connect(b"PUT /never HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\n") for _ in range(contents)]
    drips += [connect(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ") for _ in range(heads)]
    # In a process of its own that gives way to all others: what is measured is the server.
    own = os.getpid()
    if os.fork() == 0:
        os.nice(19)
        try:
            while os.getppid() == own:
                time.sleep(0.5)
                for client in drips:
                    client.send(b"x")
        finally:
            os._exit(0)
    time.sleep(1)
    times, said = {"": [], "status/json": []}, None
    for _ in range(20):
        for path, taken in times.items():
            answer = subprocess.run(["curl", "-s", "-w", "\n%{time_total}", url + path], capture_output=True, check=True, text=True)
            said, time_total = answer.stdout.rsplit("\n", 1)
            taken.append(float(time_total) * 1000)
    said, now = json.loads(said), memory(server.pid)
    established = descriptors(server.pid) - sockets
    for path, taken in times.items():
        taken.sort()
        print(f"/{path}: median {taken[10]:.2f} ms, longest {taken[-1]:.2f} ms of 20")
    print(f"memory (RSS): {before['VmRSS']} KiB at the start, {with_idle['VmRSS']} with {IDLE} idle, {now['VmRSS']} with {SLOW} slow; {now['Threads']} threads")
    # The one that asks is open in what it is told and gone from /proc.
    expected = {"idle": IDLE, "head": heads, "content": contents, "sending": sippers, "call": 1}
    print("opened here:", expected, "in all", IDLE + SLOW + 1)
    print("status says:", said["phases"], "in all", said["open"])
    print("/proc says:", established, "sockets beside the listeners")
    # One that takes its answer is in a call for a moment when there is room for more.
    said["phases"]["sending"] += said["phases"]["call"] - 1
    said["phases"]["call"] = 1
    true = all(said["phases"][phase] == count for phase, count in expected.items())
    true = true and said["open"] == IDLE + SLOW + 1 and established == IDLE + SLOW
    print("true" if true else "NOT TRUE")
    sys.exit(not true)
finally:
    server.kill()
