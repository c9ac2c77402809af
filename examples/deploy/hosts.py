#!/usr/bin/env python3
"""Three hosts with a `doorway` each, and a fourth with the front server and its clients: what is lost when one of the three goes.

Run as root on Linux: cargo build --release && python3 examples/deploy/hosts.py [FRONT[:WHAT]...]
FRONT is haproxy, nginx, haproxy-plain or nginx-plain, WHAT stop, take_out, add, kill or power_off; all of them where nothing is said.

The hosts are network namespaces at one bridge (iproute2). While 12 clients send GET and 4 send POST through the front server, one after the other:
each instance is stopped and started again (SIGTERM), one is added, one is killed (kill -9), and the link of one goes down, as when its power is cut.
With haproxy each is also taken out first, then stopped.
haproxy and nginx are the settings of haproxy-hosts.cfg and nginx-hosts.conf beside this; -plain is what a first configuration looks like. A GET that was lost
behind one of the former ends this with status 1; where no namespace can be made the status is 75.
"""
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DOORWAY = os.environ.get("DOORWAY", os.path.join(HERE, "../../target/release/doorway"))
# So that two of these can run at the same time.
NAME = f"dw{os.getpid() % 10_000}"
NET = "10.77.0"
PLAIN = {
    "haproxy-plain": """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend clients
    bind 127.0.0.1:8080
    default_backend application
backend application
    server a 10.77.0.1:8000 check
    server b 10.77.0.2:8000 check
    server c 10.77.0.3:8000 check
""",
    "nginx-plain": """
events {}
http {
    access_log off;
    upstream application {
        server 10.77.0.1:8000;
        server 10.77.0.2:8000;
        server 10.77.0.3:8000;
        keepalive 16;
    }
    server {
        listen 127.0.0.1:8080;
        location / { proxy_pass http://application; proxy_http_version 1.1; proxy_set_header Connection ""; }
    }
}
""",
}


def run(*command):
    subprocess.run(command, check=True)


def inside(host, *command, **more):
    return subprocess.Popen(["ip", "netns", "exec", f"{NAME}{host}", *command], **more)


class Hosts:
    """The namespaces, and what runs in them."""

    def __enter__(self):
        self.running, self.folder = {}, tempfile.TemporaryDirectory()
        os.chmod(self.folder.name, 0o755)
        run("ip", "netns", "add", f"{NAME}f")
        run("ip", "-n", f"{NAME}f", "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", f"{NAME}f", "addr", "add", f"{NET}.254/24", "dev", "bridge")
        for link in ("lo", "bridge"):
            run("ip", "-n", f"{NAME}f", "link", "set", link, "up")
        for number, host in enumerate("abc", 1):
            run("ip", "netns", "add", f"{NAME}{host}")
            run("ip", "-n", f"{NAME}f", "link", "add", f"to-{host}", "type", "veth", "peer", "name", "eth0", "netns", f"{NAME}{host}")
            run("ip", "-n", f"{NAME}f", "link", "set", f"to-{host}", "master", "bridge", "up")
            run("ip", "-n", f"{NAME}{host}", "addr", "add", f"{NET}.{number}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                run("ip", "-n", f"{NAME}{host}", "link", "set", link, "up")
        return self

    def start(self, host):
        address = f"{NET}.{'abc'.index(host) + 1}"
        command = [DOORWAY, "--demo", "--quiet", "--host", address, "--port", "8000", "--status", "/status=all", "--user", "root"]
        server = inside(host, *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        server.stdout.readline()
        self.running[host] = server

    def end(self, host, number):
        # `ip netns exec` becomes the program.
        self.running[host].send_signal(number)
        self.running.pop(host).wait()

    def link(self, host, state):
        run("ip", "-n", f"{NAME}{host}", "link", "set", "eth0", state)

    def front(self, name):
        file = os.path.join(HERE, {"haproxy": "haproxy-hosts.cfg", "nginx": "nginx-hosts.conf"}.get(name, ""))
        text = PLAIN.get(name) or open(file).read()
        place = f"{self.folder.name}/{name}"
        with open(place, "w") as settings:
            if name.startswith("nginx"):
                temporary = "".join(f"{kind}_temp_path {place}-{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
                settings.write(f"daemon off;\npid {place}.pid;\nerror_log {place}.log;\nuser root;\n" + text.replace("http {", "http {\n" + temporary, 1))
                command = ["nginx", "-p", self.folder.name, "-c", place]
            else:
                settings.write(text)
                command = ["haproxy", "-f", place]
        self.running["f"] = inside("f", *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __exit__(self, *_):
        for process in self.running.values():
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        for host in "abcf":
            subprocess.run(["ip", "netns", "del", f"{NAME}{host}"], check=False)


class Load(threading.Thread):
    """One client that asks again and again, and keeps its connection while it can."""

    def __init__(self, method):
        super().__init__(daemon=True)
        self.method, self.ends = method, False
        self.sent, self.failed, self.slowest, self.why = 0, 0, 0.0, {}

    def run(self):
        client = http.client.HTTPConnection("127.0.0.1", 8080, timeout=30)
        while not self.ends:
            begin, wrong = time.monotonic(), None
            try:
                client.request(self.method, "/", body=b"a=1" if self.method == "POST" else None)
                answer = client.getresponse()
                answer.read()
                wrong = None if answer.status == 200 else str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                client.close()
                wrong = type(error).__name__
            self.sent += 1
            self.slowest = max(self.slowest, time.monotonic() - begin)
            if wrong:
                self.failed += 1
                self.why[wrong] = self.why.get(wrong, 0) + 1


# What a front server's clients are in its namespace: this program starts itself there with this argument.
def clients():
    load = [Load("GET") for _ in range(12)] + [Load("POST") for _ in range(4)]
    for one in load:
        one.start()
    sys.stdin.readline()
    for one in load:
        one.ends = True
    for one in load:
        one.join(40)
    for method in ("GET", "POST"):
        own = [one for one in load if one.method == method]
        why = {}
        for one in own:
            for name, count in one.why.items():
                why[name] = why.get(name, 0) + count
        print(method, sum(one.sent for one in own), sum(one.failed for one in own), f"{max(one.slowest for one in own):.1f}", why or "")


def stop(hosts, first=lambda _: None, last=lambda _: None):
    for host in "abc":
        first(host)
        hosts.end(host, signal.SIGTERM)
        time.sleep(2)
        hosts.start(host)
        time.sleep(3)
        last(host)


def take_out(hosts):
    def tell(host, state):
        say = f"import socket; s = socket.create_connection(('127.0.0.1', 9999)); s.sendall(b'set server application/{host} state {state}\\n'); s.recv(99)"
        inside("f", sys.executable, "-c", say).wait()
        time.sleep(1)

    stop(hosts, lambda host: tell(host, "drain"), lambda host: tell(host, "ready"))


def add(hosts):
    hosts.start("c")
    time.sleep(5)


def kill(hosts):
    hosts.end("a", signal.SIGKILL)
    time.sleep(5)
    hosts.start("a")
    time.sleep(4)


def power_off(hosts):
    hosts.link("b", "down")
    time.sleep(12)
    hosts.link("b", "up")
    time.sleep(4)


def main(fronts):
    lost_any = False
    print(f"{'front':<14} {'what':<10} {'GET':>7} {'failed':>7} {'slowest':>8} {'POST':>7} {'failed':>7} {'slowest':>8}")
    for front, _, named in (front.partition(":") for front in fronts):
        for what in (stop, take_out, add, kill, power_off):
            if (named and what.__name__ != named) or (what is take_out and front != "haproxy"):
                continue
            with Hosts() as hosts:
                for host in "ab" if what is add else "abc":
                    hosts.start(host)
                hosts.front(front)
                time.sleep(2)
                load = inside("f", sys.executable, os.path.abspath(__file__), "--clients", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                time.sleep(2)
                what(hosts)
                said, _ = load.communicate("\n")
                (_, gets, lost, slow, *why), (_, posts, gone, late, *other) = (line.split(" ", 4) for line in said.splitlines())
                print(f"{front:<14} {what.__name__:<10} {gets:>7} {lost:>7} {slow:>6} s {posts:>7} {gone:>7} {late:>6} s  {' '.join(why + other).strip()}", flush=True)
                # Nothing sent is nothing shown.
                lost_any |= (int(lost) > 0 or int(gets) < 100) and front in ("haproxy", "nginx")
    return int(lost_any)


if sys.argv[1:] == ["--clients"]:
    clients()
elif subprocess.run(["ip", "netns", "add", f"{NAME}f"]).returncode:
    sys.exit(75)
else:
    run("ip", "netns", "del", f"{NAME}f")
    sys.exit(main(sys.argv[1:] or ["haproxy", "nginx", "haproxy-plain", "nginx-plain"]))
