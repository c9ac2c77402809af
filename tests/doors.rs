//! Promise: one application, and the door by which a request came makes no difference to it. The rules that the gateway doors share
//! (G-01 to G-10), with packets as the specifications have them.

mod packets;
mod support;

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Duration;

use doorway::log::Answer;
use doorway::{Body, Cause, Door, Environ, Server, StartResponse};
use packets::{DOORS, Reply, fastcgi, get, packet, post, read_reply, scgi, uwsgi, variables};
use support::{Client, Collected, House, in_memory_over, orders, serve_over};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Variables in a table.
type Said = &'static [(&'static str, &'static str)];

/// Says what it was told: every variable, then the content.
fn tell(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
    let mut content = Vec::new();
    environ.input().read_to_end(&mut content)?;
    let mut lines: Vec<String> =
        environ.iter().map(|(name, value)| format!("{name}={}", value.escape_ascii())).collect();
    lines.sort();
    lines.push(format!("door={} scheme={}", environ.door(), environ.url_scheme()));
    lines.push(format!("content={}\n", content.escape_ascii()));
    start_response.start("200 OK", &[("Content-Type", "text/plain")]);
    Ok(lines.join("\n").into())
}

/// What the application saw.
struct Told(Reply);

impl Told {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }

    fn has(&self, line: &str) -> bool {
        self.0.text().lines().any(|other| other == line)
    }
}

/// One request in memory; what was answered, and the log.
fn exchange(door: Door, bytes: &[u8]) -> (Option<Reply>, Collected) {
    let (out, log) = in_memory_over(Server::unbound().door(door), [bytes], tell, |_| {});
    (read_reply(door, &out), log)
}

fn ask(door: Door, variables: &Pairs, content: &[u8]) -> Told {
    let (reply, log) = exchange(door, &packet(door, variables, content));
    let reply = reply.unwrap_or_else(|| panic!("{door:?}: no answer, {:?}", log.reports()));
    assert_eq!(reply.code(), 200, "{door:?}: {:?}", log.reports());
    Told(reply)
}

/// The one cause for which a packet is refused, and the status the front server gets.
#[track_caller]
fn refused(door: Door, bytes: &[u8]) -> (Cause, Option<u16>) {
    let (reply, log) = exchange(door, bytes);
    let reports = log.reports();
    assert_eq!(reports.len(), 1, "{door:?}: {reports:?}");
    (reports[0].cause, reply.map(|reply| reply.code()))
}

fn with(pairs: &[(&str, &str)]) -> Pairs {
    let mut all = get("/");
    all.extend(variables(pairs));
    all
}

/// A server with every door, in the order of `DOORS`.
fn every_door() -> (House, [std::net::SocketAddr; 3]) {
    let open = |door| Server::bind("127.0.0.1:0").unwrap().door(door);
    let server = DOORS.into_iter().map(open).reduce(Server::and).unwrap();
    let house = serve_over(server, tell, |settings| settings.head_deadline = Duration::from_millis(300));
    let addresses: Vec<_> = house.handle.addrs().map(|address| address.to_string().parse().unwrap()).collect();
    (house, addresses.try_into().unwrap())
}

fn finish(client: &mut Client<TcpStream>, door: Door) -> Option<Reply> {
    read_reply(door, &client.until_close())
}

#[test]
fn uwsgi_the_vector_of_the_protocol_is_a_request() {
    let vector = b"\x00\x23\x00\x00\x0e\x00REQUEST_METHOD\x03\x00GET\x09\x00PATH_INFO\x01\x00/";
    assert_eq!(uwsgi(&get("/"), b""), vector, "the builder of these tests");
    let (out, _) = in_memory_over(Server::unbound().door(Door::Uwsgi), [&vector[..]], tell, |_| {});
    assert!(
        out.starts_with(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: "),
        "{}",
        out.escape_ascii()
    );
    let told = Told(read_reply(Door::Uwsgi, &out).unwrap());
    assert_eq!((told.get("REQUEST_METHOD"), told.get("PATH_INFO")), (Some("GET"), Some("/")));
}

#[test]
fn scgi_the_vector_of_the_specification_is_a_request() {
    let vector = b"70:CONTENT_LENGTH\x0027\x00SCGI\x001\x00REQUEST_METHOD\x00POST\x00REQUEST_URI\x00/deepthought\x00,What is the answer to life?";
    let (out, _) = in_memory_over(Server::unbound().door(Door::Scgi), [&vector[..]], tell, |_| {});
    assert!(out.starts_with(b"Status: 200 OK\r\n"), "{}", out.escape_ascii());
    let told = Told(read_reply(Door::Scgi, &out).unwrap());
    assert_eq!((told.get("PATH_INFO"), told.get("CONTENT_LENGTH")), (Some("/deepthought"), Some("27")));
    assert_eq!(told.get("content"), Some("What is the answer to life?"));
}

#[test]
fn an_application_sees_the_same_request_at_every_door() {
    let mut pairs = post("/caf\u{e9}", 5);
    pairs.extend(variables(&[
        ("QUERY_STRING", "a=%41&z"),
        ("CONTENT_TYPE", "text/plain"),
        ("SERVER_NAME", "example.org"),
        ("SERVER_PORT", "80"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "192.0.2.7"),
        ("HTTP_HOST", "example.org"),
        ("HTTP_X_A", "1"),
    ]));
    let seen: Vec<String> = DOORS
        .into_iter()
        .map(|door| {
            let told = ask(door, &pairs, b"hello");
            assert!(told.has(&format!("door={} scheme=http", door.name())));
            told.0.text().replace(&format!("door={} ", door.name()), "")
        })
        .collect();
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
    for line in
        ["PATH_INFO=/caf\\xc3\\xa9", "QUERY_STRING=a=%41&z", "CONTENT_LENGTH=5", "SCRIPT_NAME=", "content=hello"]
    {
        assert!(seen[0].lines().any(|other| other == line), "{line}: {}", seen[0]);
    }
}

#[test]
fn doors_share_one_server_on_tcp_and_unix_sockets() {
    let (house, addresses) = every_door();
    for (door, address) in DOORS.into_iter().zip(addresses) {
        let mut client = Client::connect(address);
        client.send(&packet(door, &post("/", 3), b"abc"));
        assert!(Told(finish(&mut client, door).unwrap()).has("content=abc"), "{door:?}");
    }
    assert_eq!(house.log.take_accesses(3).len(), 3);
    assert_eq!(house.handle.shutdown(Duration::from_secs(1)).served, 3);
}

#[cfg(unix)]
#[test]
fn doors_on_unix_sockets_fill_what_has_no_port() {
    let folder = std::env::temp_dir().join(format!("doorway-doors-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for door in DOORS {
        let path = folder.join(door.name());
        let house = serve_over(Server::bind_unix(&path).unwrap().door(door), tell, |_| {});
        let mut client = Client::over(std::os::unix::net::UnixStream::connect(&path).unwrap());
        client.send(&packet(door, &get("/x"), b""));
        let told = Told(read_reply(door, &client.until_close()).unwrap());
        // P-ENV-10: a name and a port, always.
        assert_eq!((told.get("SERVER_NAME"), told.get("SERVER_PORT")), (Some("localhost"), Some("80")), "{door:?}");
        assert_eq!(told.get("REMOTE_ADDR"), None);
        drop(house);
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn g_01_an_open_port_without_a_list_is_refused_at_start_up_with_what_to_do() {
    for door in DOORS {
        let error = Server::bind("0.0.0.0:0").unwrap().door(door).spawn(tell).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let text = error.to_string();
        for part in [door.name(), "0.0.0.0:", "loopback", "Unix socket", "Server::allow"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // One of several is enough.
        let mixed = Server::bind("127.0.0.1:0").unwrap().and(Server::bind("0.0.0.0:0").unwrap().door(door));
        assert!(mixed.spawn(tell).is_err());
        let allowed = Server::bind("0.0.0.0:0").unwrap().door(door).allow([[127, 0, 0, 1].into()]);
        drop(allowed.spawn(tell).unwrap());
    }
    drop(Server::bind("0.0.0.0:0").unwrap().spawn(tell).unwrap());
    assert!(Server::bind("127.0.0.1:0").unwrap().door(Door::Cgi).spawn(tell).is_err());
    let error = Server::bind("0.0.0.0:0").unwrap().door(Door::Uwsgi).handle_one(tell).unwrap_err();
    assert!(error.to_string().contains("Server::allow"));
}

#[test]
fn g_01_who_is_not_on_the_list_is_closed_and_logged() {
    let server = Server::bind("127.0.0.1:0").unwrap().door(Door::Uwsgi).allow([[192, 0, 2, 7].into()]);
    let house = serve_over(server, tell, |_| {});
    let mut client = house.client();
    assert!(client.until_end().is_empty());
    assert_eq!(house.log.take(Cause::PeerRefused).answer, Answer::Closed);
    let server = Server::bind("127.0.0.1:0").unwrap().door(Door::Uwsgi).allow([[127, 0, 0, 1].into()]);
    let house = serve_over(server, tell, |_| {});
    let mut client = house.client();
    client.send(&uwsgi(&get("/"), b""));
    assert_eq!(finish(&mut client, Door::Uwsgi).unwrap().code(), 200);
}

#[test]
fn g_02_no_variable_orders_the_server_to_do_anything() {
    let magic = [
        "UWSGI_FILE",
        "UWSGI_SCRIPT",
        "UWSGI_MODULE",
        "UWSGI_PYHOME",
        "UWSGI_CHDIR",
        "UWSGI_SETENV",
        "UWSGI_POSTFILE",
        "UWSGI_TOUCH_RELOAD",
        "UWSGI_CACHE_GET",
        "UWSGI_APPID",
        "UWSGI_SCHEME",
        "wsgi.url_scheme",
        "doorway.door",
        "doorway.front",
        "A B",
        "A=B",
        "caf\u{e9}",
    ];
    let pairs: Vec<_> = magic.iter().map(|name| (*name, "https")).collect();
    for door in DOORS {
        let told = ask(door, &with(&pairs), b"");
        assert!(told.has(&format!("door={} scheme=http", door.name())));
        for name in magic {
            assert_eq!(told.get(name), None, "{door:?} {name}");
        }
    }
}

#[test]
fn g_03_the_path_is_script_name_and_path_info_or_document_uri_or_the_decoded_target() {
    let rows: &[(Said, &str)] = &[
        // nginx uwsgi, FastCGI, SCGI; lighttpd with a prefix; a bare target.
        (&[("PATH_INFO", "/u/a/d\u{e4};x=1"), ("REQUEST_URI", "/u/b")], "/u/a/d\u{e4};x=1"),
        (&[("SCRIPT_NAME", "/f/a"), ("DOCUMENT_URI", "/f/a"), ("REQUEST_URI", "/x/../f/a")], "/f/a"),
        (&[("DOCUMENT_URI", "/s/a b"), ("REQUEST_URI", "/s/a%20b?q")], "/s/a b"),
        (&[("SCRIPT_NAME", "/x/a"), ("PATH_INFO", "/d")], "/x/a/d"),
        (&[("SCRIPT_NAME", ""), ("PATH_INFO", "/full")], "/full"),
        (&[("SCRIPT_NAME", "/"), ("PATH_INFO", "/full")], "/full"),
        // The root as a script name is a decoded path: what the client typed must not go before it.
        (&[("SCRIPT_NAME", "/"), ("REQUEST_URI", "/admin/%2e%2e/")], "/"),
        (&[("SCRIPT_NAME", "/")], "/"),
        (&[("REQUEST_URI", "/a%2Fb%20c?d=%20")], "/a/b c"),
        (&[("REQUEST_URI", "http://example.org/a%41?d")], "/aA"),
        (&[("REQUEST_URI", "http://example.org")], "/"),
        (&[("PATH_INFO", ""), ("SCRIPT_NAME", ""), ("DOCUMENT_URI", ""), ("REQUEST_URI", "/r")], "/r"),
    ];
    for door in DOORS {
        for (pairs, path) in rows {
            let mut all = variables(&[("REQUEST_METHOD", "GET")]);
            all.extend(variables(pairs));
            let told = ask(door, &all, b"");
            assert_eq!(told.get("PATH_INFO"), Some(&*path.as_bytes().escape_ascii().to_string()), "{door:?} {pairs:?}");
            assert_eq!(told.get("SCRIPT_NAME"), Some(""), "{door:?} {pairs:?}");
        }
        // The query of the target serves where the front server names none.
        let told = ask(door, &variables(&[("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/a?b=%20")]), b"");
        assert_eq!(told.get("QUERY_STRING"), Some("b=%20"));
    }
}

#[test]
fn g_03_a_script_name_is_not_said_twice_and_joined_by_one_slash() {
    for door in DOORS {
        for (script_name, path_info, path) in
            [("/app/", "/", "/app/"), ("/app/", "/a", "/app/a"), ("/app/", "", "/app/")]
        {
            let all = variables(&[("REQUEST_METHOD", "GET"), ("SCRIPT_NAME", script_name), ("PATH_INFO", path_info)]);
            assert_eq!(ask(door, &all, b"").get("PATH_INFO"), Some(path), "{door:?} {script_name} {path_info}");
        }
    }
    // uwsgi_modifier1 30 of nginx, whose PATH_INFO is all of the path.
    for (script_name, path_info, path) in [
        ("/test", "/test/foo", "/test/foo"),
        ("/test/", "/test/foo", "/test/foo"),
        ("/test", "/test", "/test"),
        ("/test", "/testing", "/test/testing"),
        ("/test", "/foo", "/test/foo"),
        ("/", "/foo", "/foo"),
    ] {
        let all = variables(&[("REQUEST_METHOD", "GET"), ("SCRIPT_NAME", script_name), ("PATH_INFO", path_info)]);
        let mut bytes = uwsgi(&all, b"");
        bytes[0] = 30;
        let (reply, _) = exchange(Door::Uwsgi, &bytes);
        assert_eq!(Told(reply.unwrap()).get("PATH_INFO"), Some(path), "{script_name} {path_info}");
    }
}

#[test]
fn g_07_content_of_unknown_length_is_read_to_its_end_or_refused_by_name() {
    // Caddy says -1 of an upload in chunks; a field that shows them is all that Apache says of one to a CGI program.
    for said in [("CONTENT_LENGTH", "-1"), ("HTTP_TRANSFER_ENCODING", "chunked")] {
        let all = variables(&[("REQUEST_METHOD", "POST"), ("PATH_INFO", "/"), said]);
        let told = ask(Door::FastCgi, &all, b"all of it");
        assert_eq!((told.get("content"), told.get("CONTENT_LENGTH")), (Some("all of it"), None), "{said:?}");
    }
    let all = variables(&[("REQUEST_METHOD", "POST"), ("PATH_INFO", "/"), ("HTTP_TRANSFER_ENCODING", "chunked")]);
    // CGI in memory is a block of what SCGI has in its netstring.
    let block: Vec<u8> = all.iter().flat_map(|(name, value)| [&name[..], b"\0", value, b"\0"].concat()).collect();
    let cgi = [format!("{}:", block.len()).into_bytes(), block].concat();
    for (door, bytes) in [(Door::Uwsgi, packet(Door::Uwsgi, &all, b"")), (Door::Cgi, cgi)] {
        assert_eq!(refused(door, &bytes), (Cause::LengthMissing, Some(411)), "{door:?}");
    }
}

#[test]
fn g_03_a_request_without_a_path_or_with_a_dangerous_one_is_refused_at_every_door() {
    let rows: &[(Said, Cause)] = &[
        (&[], Cause::VariableMissing),
        (&[("PATH_INFO", "no/root")], Cause::TargetForm),
        (&[("SCRIPT_NAME", "no"), ("PATH_INFO", "/root")], Cause::TargetForm),
        (&[("REQUEST_URI", "no/root")], Cause::TargetForm),
        (&[("REQUEST_URI", "/a%00b")], Cause::TargetNul),
        (&[("PATH_INFO", "/"), ("QUERY_STRING", "a b")], Cause::TargetByte),
        (&[("PATH_INFO", "/"), ("QUERY_STRING", "caf\u{e9}")], Cause::TargetByte),
    ];
    for door in DOORS {
        for (pairs, cause) in rows {
            let mut all = variables(&[("REQUEST_METHOD", "GET")]);
            all.extend(variables(pairs));
            assert_eq!(refused(door, &packet(door, &all, b"")), (*cause, Some(400)), "{door:?} {pairs:?}");
        }
        // NUL cannot stand in a netstring's values; the others can hold it.
        if door != Door::Scgi {
            assert_eq!(refused(door, &packet(door, &get("/a\0b"), b"")), (Cause::TargetNul, Some(400)));
        }
        assert_eq!(
            refused(door, &packet(door, &variables(&[("PATH_INFO", "/")]), b"")),
            (Cause::VariableMissing, Some(400))
        );
        let method = variables(&[("REQUEST_METHOD", "G T"), ("PATH_INFO", "/")]);
        assert_eq!(refused(door, &packet(door, &method, b"")), (Cause::Method, Some(400)));
    }
}

#[test]
fn g_04_repeated_fields_are_joined_and_of_other_variables_the_last_wins() {
    let pairs = with(&[
        ("HTTP_X_DUP", "a"),
        ("HTTP_COOKIE", "a=1"),
        ("DOCUMENT_ROOT", "/first"),
        ("REMOTE_USER", "eve"),
        ("HTTP_X_DUP", "b"),
        ("HTTP_COOKIE", "b=2"),
        ("DOCUMENT_ROOT", "/last"),
        ("REMOTE_USER", ""),
        ("HTTP_HOST", "a"),
        ("HTTP_HOST", "a"),
    ]);
    for door in DOORS {
        let told = ask(door, &pairs, b"");
        assert_eq!(told.get("HTTP_X_DUP"), Some("a, b"));
        assert_eq!(told.get("HTTP_COOKIE"), Some("a=1; b=2"));
        assert_eq!(told.get("DOCUMENT_ROOT"), Some("/last"));
        assert_eq!(told.get("REMOTE_USER"), None, "{door:?}: a deployer has taken it away");
        assert_eq!(told.get("HTTP_HOST"), Some("a"));
        let lengths = with(&[("CONTENT_LENGTH", "1"), ("CONTENT_LENGTH", "2")]);
        assert_eq!(refused(door, &packet(door, &lengths, b"ab")), (Cause::VariableRepeated, Some(400)), "{door:?}");
        let hosts = with(&[("HTTP_HOST", "a"), ("HTTP_HOST", "b")]);
        assert_eq!(refused(door, &packet(door, &hosts, b"")), (Cause::VariableRepeated, Some(400)), "{door:?}");
    }
}

#[test]
fn g_04_of_repeated_variables_among_others_in_every_order_each_value_stays_its_own() {
    let said = [
        ("HTTP_X_A", "1"),
        ("HTTP_X_A", "a value that is longer than the others"),
        ("HTTP_X_AB", ""),
        ("HTTP_COOKIE", "c=1"),
        ("HTTP_COOKIE", "d=2"),
        ("DOCUMENT_ROOT", "/one"),
        ("DOCUMENT_ROOT", "/another"),
    ];
    for order in orders(&said).into_iter().step_by(7) {
        let values = |wanted: &str| {
            let of_name = order.iter().filter(|(name, _)| *name == wanted);
            of_name.map(|(_, value)| *value).collect::<Vec<_>>()
        };
        for door in DOORS {
            let told = ask(door, &with(&order), b"");
            assert_eq!(told.get("HTTP_X_A"), Some(&*values("HTTP_X_A").join(", ")), "{door:?} {order:?}");
            assert_eq!(told.get("HTTP_X_AB"), Some(""), "{door:?} {order:?}");
            assert_eq!(told.get("HTTP_COOKIE"), Some(&*values("HTTP_COOKIE").join("; ")), "{door:?} {order:?}");
            assert_eq!(told.get("DOCUMENT_ROOT"), values("DOCUMENT_ROOT").last().copied(), "{door:?} {order:?}");
            assert_eq!(told.get("REQUEST_METHOD"), Some("GET"), "{door:?} {order:?}");
        }
    }
}

#[test]
fn g_05_what_is_not_the_applications_business_is_dropped() {
    let dropped = [
        "HTTP_PROXY",
        "HTTP_CONTENT_TYPE",
        "HTTP_CONNECTION",
        "HTTP_KEEP_ALIVE",
        "HTTP_PROXY_CONNECTION",
        "HTTP_TE",
        "HTTP_TRAILER",
        "HTTP_TRANSFER_ENCODING",
        "HTTP_UPGRADE",
        "HTTP_EXPECT",
    ];
    for door in DOORS {
        let mut pairs = post("/", 5);
        pairs.extend(variables(&[
            ("HTTP_CONTENT_LENGTH", "5"),
            ("CONTENT_TYPE", ""),
            ("AUTH_TYPE", ""),
            ("HTTP_X_EMPTY", ""),
        ]));
        pairs.extend(variables(&dropped.map(|name| (name, "chunked"))));
        let told = ask(door, &pairs, b"5\r\nhe");
        for name in dropped.iter().chain(&["HTTP_CONTENT_LENGTH", "CONTENT_TYPE", "AUTH_TYPE", "SCGI"]) {
            assert_eq!(told.get(name), None, "{door:?} {name}");
        }
        // Not decoded a second time, whatever the field says; and a field may be empty (P-ENV-12).
        assert_eq!((told.get("content"), told.get("HTTP_X_EMPTY")), (Some("5\\r\\nhe"), Some("")), "{door:?}");
        for value in ["a\rb", "a\nb"] {
            let pairs = with(&[("HTTP_X", value)]);
            assert_eq!(refused(door, &packet(door, &pairs, b"")), (Cause::FieldValue, Some(400)), "{door:?}");
        }
    }
}

#[test]
fn p_env_11_the_protocol_is_a_version_of_http_or_the_oldest() {
    let forged = "HTTP/1.1\" 200 5 1us\n192.0.2.7 - - [";
    let rows: &[(&str, &str)] = &[
        ("", "HTTP/1.1"),
        ("HTTP/1.0", "HTTP/1.0"),
        ("HTTP/2.0", "HTTP/2.0"),
        ("HTTP/3", "HTTP/3"),
        ("INCLUDED", "HTTP/1.0"),
        ("HTTP/", "HTTP/1.0"),
        ("HTTP/1.", "HTTP/1.0"),
        ("HTTP/1.1 ", "HTTP/1.0"),
        ("HTTP/11", "HTTP/1.0"),
        ("http/1.1", "HTTP/1.0"),
        (forged, "HTTP/1.0"),
    ];
    for door in DOORS {
        for (said, seen) in rows {
            assert_eq!(
                ask(door, &with(&[("SERVER_PROTOCOL", said)]), b"").get("SERVER_PROTOCOL"),
                Some(*seen),
                "{door:?} {said}"
            );
        }
    }
}

#[test]
fn p_exp_04_the_front_server_has_answered_the_expectation_and_gets_the_final_head_alone() {
    let content = vec![b'c'; 20_000];
    let (sender, called) = std::sync::mpsc::channel();
    let application = move |environ: &Environ, start_response: &mut StartResponse| {
        sender.send(()).unwrap();
        tell(environ, start_response)
    };
    let open = |door| Server::bind("127.0.0.1:0").unwrap().door(door);
    let house = serve_over(DOORS.into_iter().map(open).reduce(Server::and).unwrap(), application, |_| {});
    for (door, address) in DOORS.into_iter().zip(house.handle.addrs()) {
        let mut pairs = post("/", content.len());
        pairs.extend(variables(&[("HTTP_EXPECT", "100-continue")]));
        let (head, content) = if door == Door::FastCgi {
            let whole = fastcgi(1, false, &pairs, &content);
            let at = whole.len() - content.len() - 16;
            (whole[..at].to_vec(), whole[at..].to_vec())
        } else {
            (packet(door, &pairs, b""), content.clone())
        };
        let mut client = Client::connect(address.to_string().parse().unwrap());
        client.send(&head);
        called.recv().unwrap();
        // The application waits for content that did not come: a server that told the client to send it would do so now.
        client.stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let error = client.stream.read(&mut [0]).expect_err("nothing to read yet");
        assert!(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{door:?}: {error}");
        client.stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        client.send(&content);
        let told = Told(finish(&mut client, door).unwrap());
        assert_eq!(
            (told.0.code(), told.get("HTTP_EXPECT"), told.get("CONTENT_LENGTH")),
            (200, None, Some("20000")),
            "{door:?}"
        );
    }
}

#[test]
fn p_env_10_the_name_and_port_of_the_server_are_those_that_the_front_server_says() {
    for door in DOORS {
        let host = ("HTTP_HOST", "example.org:8443");
        for (pairs, name) in [(&[host][..], "example.org"), (&[host, ("SERVER_NAME", "own.example")], "own.example")] {
            let told = ask(door, &with(&[pairs, &[("SERVER_PORT", "8443")]].concat()), b"");
            assert_eq!((told.get("SERVER_NAME"), told.get("SERVER_PORT")), (Some(name), Some("8443")), "{door:?}");
        }
    }
}

#[test]
fn g_06_the_scheme_is_what_the_front_server_says() {
    let rows: &[(Said, &str, bool)] = &[
        (&[], "http", false),
        (&[("HTTPS", "on")], "https", true),
        (&[("HTTPS", "ON")], "https", true),
        (&[("HTTPS", "1")], "https", true),
        (&[("HTTPS", "yes")], "https", true),
        (&[("HTTPS", "true")], "https", true),
        (&[("HTTPS", "off")], "http", false),
        (&[("REQUEST_SCHEME", "https")], "https", true),
        (&[("REQUEST_SCHEME", "http"), ("HTTPS", "")], "http", false),
        (&[("REQUEST_SCHEME", "gopher")], "http", false),
    ];
    for door in DOORS {
        for (pairs, scheme, https) in rows {
            let told = ask(door, &with(pairs), b"");
            assert!(told.has(&format!("door={} scheme={scheme}", door.name())), "{door:?} {pairs:?}");
            assert_eq!(told.get("HTTPS"), https.then_some("on"), "{door:?} {pairs:?}");
        }
    }
}

#[test]
fn g_06_what_the_front_server_says_of_the_scheme_goes_before_the_settings_and_https_before_the_scheme() {
    let rows: &[(Said, bool, &str)] = &[
        (&[], true, "https"),
        (&[("HTTPS", "")], true, "https"),
        (&[("REQUEST_SCHEME", "gopher")], true, "https"),
        (&[("REQUEST_SCHEME", "http")], true, "http"),
        (&[("HTTPS", "off")], true, "http"),
        (&[("HTTPS", "0"), ("REQUEST_SCHEME", "https")], false, "http"),
        (&[("HTTPS", "on"), ("REQUEST_SCHEME", "http")], false, "https"),
    ];
    for door in DOORS {
        for (pairs, https, scheme) in rows {
            let server = Server::unbound().door(door);
            let bytes = packet(door, &with(pairs), b"");
            let (out, _) = in_memory_over(server, [&bytes[..]], tell, |settings| settings.https = *https);
            let told = Told(read_reply(door, &out).unwrap());
            assert!(told.has(&format!("door={} scheme={scheme}", door.name())), "{door:?} {pairs:?} {https}");
            assert_eq!(told.get("HTTPS"), (*scheme == "https").then_some("on"), "{door:?} {pairs:?} {https}");
        }
    }
}

#[test]
fn g_07_content_is_as_long_as_content_length_says() {
    for door in DOORS {
        for (length, content) in [("5", "hello"), ("0", ""), ("", "")] {
            // SCGI alone asks for digits always.
            if door == Door::Scgi && length.is_empty() {
                let bytes = packet(door, &with(&[("CONTENT_LENGTH", "")]), b"");
                assert_eq!(refused(door, &bytes), (Cause::VariableMissing, Some(400)));
                continue;
            }
            let told = ask(door, &with(&[("CONTENT_LENGTH", length)]), b"hello"[..content.len()].as_ref());
            assert_eq!(told.get("content"), Some(content), "{door:?} {length}");
            assert_eq!(told.get("CONTENT_LENGTH"), Some(length).filter(|length| *length == "5"), "{door:?} {length}");
        }
        for length in ["+3", "-1", "-2", "3, 3", "0x3", " 3", "100000000000000000000", "x"] {
            if (door, length) == (Door::FastCgi, "-1") {
                continue;
            }
            let bytes = packet(door, &with(&[("CONTENT_LENGTH", length)]), b"abc");
            assert_eq!(refused(door, &bytes), (Cause::ContentLength, Some(400)), "{door:?} {length}");
        }
        let bytes = packet(door, &post("/", 17 * 1024 * 1024), b"");
        assert_eq!(refused(door, &bytes), (Cause::ContentLong, Some(413)), "{door:?}");
        // The front server goes away before the content is whole (P-IN-07).
        for length in [10, 100_000] {
            assert_eq!(refused(door, &packet(door, &post("/", length), b"abc")), (Cause::ContentTruncated, Some(400)));
        }
    }
    // Never read to the end of the stream: the front server keeps its half open.
    let (_house, addresses) = every_door();
    for (door, address) in DOORS.into_iter().zip(addresses) {
        let mut client = Client::connect(address);
        client.send(&packet(door, &post("/", 3), b"abc"));
        assert_eq!(finish(&mut client, door).unwrap().code(), 200);
    }
}

#[test]
fn scgi_a_length_that_is_not_the_clients_is_refused_by_name() {
    // nginx with scgi_request_buffering off: CONTENT_LENGTH is what it has read so far.
    let pairs = with(&[("CONTENT_LENGTH", "5"), ("HTTP_CONTENT_LENGTH", "8")]);
    for door in DOORS {
        let (reply, log) = exchange(door, &packet(door, &pairs, b"hello"));
        assert_eq!(reply.unwrap().code(), 400);
        let seen = log.take(Cause::LengthContradicted);
        assert!(seen.line.contains("scgi_request_buffering"), "{}", seen.line);
    }
}

#[test]
fn g_08_half_a_packet_holds_no_thread_and_is_answered_at_the_deadline() {
    let (house, addresses) = every_door();
    let mut slow: Vec<_> = DOORS
        .into_iter()
        .zip(addresses)
        .flat_map(|(door, address)| {
            let whole = packet(door, &get("/"), b"");
            [1, whole.len() / 3].map(|length| {
                let mut client = Client::connect(address);
                client.send(&whole[..length]);
                (door, length, client)
            })
        })
        .collect();
    // Six clients that do not go on, two threads: others are answered meanwhile.
    for (door, address) in DOORS.into_iter().zip(addresses) {
        let mut client = Client::connect(address);
        client.send(&packet(door, &get("/"), b""));
        assert_eq!(finish(&mut client, door).unwrap().code(), 200);
    }
    for (door, sent, client) in &mut slow {
        let reply = finish(client, *door);
        // Before a request has begun, which takes 16 bytes, there is nobody to answer in FastCGI.
        let expected = if *door == Door::FastCgi && *sent < 16 { None } else { Some(408) };
        assert_eq!(reply.map(|reply| reply.code()), expected, "{door:?} after {sent} bytes");
        house.log.take(Cause::HeadDeadline);
    }
}

#[test]
fn g_09_a_reply_has_nothing_that_is_the_front_servers() {
    fn application(environ: &Environ, start_response: &mut StartResponse) -> Body {
        match environ.path().as_ref() {
            "/stream" => {
                start_response.start("200 OK", &[]);
                Body::blocks(["one", "", "two"])
            }
            "/204" => {
                start_response.start("204 No Content", &[("Content-Length", "5")]);
                Body::from("hello")
            }
            "/304" => {
                start_response.start("304 Not Modified", &[("Content-Length", "5")]);
                Body::empty()
            }
            "/own" => {
                start_response.start("200 OK", &[("Date", "today"), ("Location", "/x")]);
                Body::from("own")
            }
            _ => {
                start_response.start("404 ", &[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("content-length", "3")]);
                Body::from("not")
            }
        }
    }
    for door in DOORS {
        let ask = |method: &str, path: &str| {
            let pairs = variables(&[("REQUEST_METHOD", method), ("PATH_INFO", path)]);
            let bytes = packet(door, &pairs, b"");
            let (out, _) = in_memory_over(Server::unbound().door(door), [&bytes[..]], application, |_| {});
            let reply = read_reply(door, &out).unwrap();
            for name in ["Date", "Server", "Connection", "Transfer-Encoding", "Status"] {
                assert!(reply.field(name).is_none() || path == "/own", "{door:?} {name}: {reply:?}");
            }
            assert!(door != Door::FastCgi || reply.ended);
            reply
        };
        let reply = ask("GET", "/");
        assert_eq!((&*reply.status, &reply.content[..]), ("404 ", &b"not"[..]));
        let names: Vec<_> = reply.fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(names, ["Set-Cookie: a=1", "Set-Cookie: b=2", "content-length: 3"]);
        let reply = ask("GET", "/stream");
        assert_eq!((reply.field("Content-Length"), &reply.content[..]), (None, &b"onetwo"[..]));
        let reply = ask("HEAD", "/");
        assert_eq!((reply.field("Content-Length"), &reply.content[..]), (Some("3"), &b""[..]));
        let reply = ask("GET", "/204");
        assert_eq!((reply.field("Content-Length"), &reply.content[..]), (None, &b""[..]));
        let reply = ask("GET", "/304");
        assert_eq!((reply.field("Content-Length"), &reply.content[..]), (Some("5"), &b""[..]));
        assert_eq!(ask("GET", "/own").field("Date"), Some("today"));
        let reply = ask("OPTIONS", "*");
        assert_eq!((reply.code(), reply.field("Allow").is_some()), (204, true));
    }
}

#[test]
fn g_09_a_head_that_front_servers_may_not_take_is_named_in_the_log() {
    fn application(environ: &Environ, start_response: &mut StartResponse) -> Body {
        let value = "x".repeat(environ.path().len());
        start_response.start("200 OK", &[("X-Long", &value)]);
        Body::from("whole")
    }
    for door in DOORS {
        for (length, is_large) in [(3_000, false), (4_000, true)] {
            let bytes = packet(door, &get(&format!("/{}", "a".repeat(length))), b"");
            let (out, log) = in_memory_over(Server::unbound().door(door), [&bytes[..]], application, |_| {});
            assert_eq!(read_reply(door, &out).unwrap().content, b"whole");
            assert_eq!(log.causes(), if is_large { vec![Cause::HeadLarge] } else { vec![] }, "{door:?} {length}");
        }
    }
}

#[test]
fn g_09_uwsgi_and_scgi_answer_one_request_a_connection() {
    for door in [Door::Uwsgi, Door::Scgi] {
        let bytes = packet(door, &get("/first"), b"").repeat(2);
        let (reply, log) = exchange(door, &bytes);
        assert_eq!(reply.unwrap().text().matches("PATH_INFO").count(), 1, "{door:?}");
        assert_eq!(log.take_accesses(1).len(), 1);
    }
}

#[test]
fn g_10_packets_that_break_the_format_are_refused() {
    let uwsgi_rows: &[(&[u8], Cause, Option<u16>)] = &[
        (b"\0\0\0\0", Cause::PacketFormat, Some(400)),
        (b"\0\x01\0\0x", Cause::PacketFormat, Some(400)),
        (b"\0\x04\0\0\0\0\x01\0", Cause::PacketFormat, Some(400)),
        (b"\0\x04\0\0\0\0\0\0", Cause::PacketFormat, Some(400)),
        (b"\0\x05\0\0\x01\0A\x05\0", Cause::PacketFormat, Some(400)),
        (b"\0\x03\0\0\xff\xffA", Cause::PacketFormat, Some(400)),
        (b"\x16\x04\0\0eval", Cause::PacketModifier, Some(501)),
        (b"\x05\x04\0\0perl", Cause::PacketModifier, Some(501)),
        (b"\x62\x00\0\0", Cause::PacketModifier, Some(501)),
        (b"\0\x23", Cause::HeadTruncated, Some(400)),
        (b"\0\x23\0\0\x0e\0REQUEST_METHOD", Cause::HeadTruncated, Some(400)),
    ];
    for (bytes, cause, status) in uwsgi_rows {
        assert_eq!(refused(Door::Uwsgi, bytes), (*cause, *status), "{}", bytes.escape_ascii());
    }
    let scgi_rows: &[(&[u8], Cause, Option<u16>)] = &[
        (b"070:CONTENT_LENGTH\x000\0,", Cause::PacketFormat, Some(400)),
        (b"0:,", Cause::PacketFormat, Some(400)),
        (b"17 CONTENT_LENGTH", Cause::PacketFormat, Some(400)),
        (b"24:CONTENT_LENGTH\x000\0SCGI\x001\0;", Cause::PacketFormat, Some(400)),
        (b"9:SCGI\x001\0A\0,", Cause::PacketFormat, Some(400)),
        (b"8:SCGI\x001\0A,", Cause::PacketFormat, Some(400)),
        (b"9:\0x\0SCGI\x001,", Cause::PacketFormat, Some(400)),
        (b"1000000:", Cause::PacketLong, Some(431)),
        (b"131073:", Cause::PacketLong, Some(431)),
        (b"17:CONTENT_LENGTH\x000\0,", Cause::VariableMissing, Some(400)),
        (b"24:CONTENT_LENGTH", Cause::HeadTruncated, Some(400)),
    ];
    for (bytes, cause, status) in scgi_rows {
        assert_eq!(refused(Door::Scgi, bytes), (*cause, *status), "{}", bytes.escape_ascii());
    }
    let without_length = packets::netstring(&with(&[("SCGI", "1")]), b"");
    assert_eq!(refused(Door::Scgi, &without_length), (Cause::VariableMissing, Some(400)));
    let wrong_version = packets::netstring(&with(&[("SCGI", "2"), ("CONTENT_LENGTH", "0")]), b"");
    assert_eq!(refused(Door::Scgi, &wrong_version), (Cause::VariableMissing, Some(400)));
    // CONTENT_LENGTH need not stand first.
    assert_eq!(
        exchange(Door::Scgi, &packets::netstring(&with(&[("SCGI", "1"), ("CONTENT_LENGTH", "0")]), b""))
            .0
            .unwrap()
            .code(),
        200
    );
}

#[test]
fn g_10_as_many_variables_as_the_limits_allow_and_no_more() {
    let many = |count: usize| {
        let mut pairs = get("/");
        pairs.extend((0..count).map(|number| (format!("X{number}").into_bytes(), b"v".to_vec())));
        pairs
    };
    for door in DOORS {
        let own = if door == Door::Scgi { 4 } else { 2 };
        assert_eq!(ask(door, &many(512 - own), b"").get("X0"), Some("v"));
        assert_eq!(refused(door, &packet(door, &many(513 - own), b"")), (Cause::VariableCount, Some(431)), "{door:?}");
    }
    // A uwsgi block is as long as its format lets it be; uWSGI's own 4,096 bytes are no limit here.
    let long = |length: usize| {
        let mut pairs = get("/");
        let rest = length - 35 - 2 - 8 - 2;
        pairs.push((b"HTTP_X_A".to_vec(), vec![b'x'; rest]));
        pairs
    };
    let bytes = uwsgi(&long(65_535), b"");
    assert_eq!(bytes.len(), 65_539);
    assert_eq!(exchange(Door::Uwsgi, &bytes).0.unwrap().code(), 200);
    for (door, bytes) in
        [(Door::Scgi, scgi(&long(131_000), b"")), (Door::FastCgi, fastcgi(1, false, &long(131_000), b""))]
    {
        assert_eq!(exchange(door, &bytes).0.unwrap().code(), 200, "{door:?}");
    }
    assert_eq!(refused(Door::FastCgi, &fastcgi(1, false, &long(132_000), b"")), (Cause::PacketLong, Some(431)));
}

#[test]
fn a_front_server_that_speaks_the_wrong_protocol_is_named_in_the_log() {
    let http = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    let sent = [
        ("HTTP", http),
        ("uwsgi", uwsgi(&get("/hello"), b"")),
        ("SCGI", scgi(&get("/hello"), b"")),
        ("FastCGI", fastcgi(1, false, &get("/hello"), b"")),
        ("TLS", tls),
    ];
    for door in [Door::Http, Door::Uwsgi, Door::Scgi, Door::FastCgi] {
        let port = door.name();
        for (spoken, bytes) in &sent {
            if port.eq_ignore_ascii_case(spoken) {
                continue;
            }
            let (out, log) = in_memory_over(Server::unbound().door(door), [&bytes[..]], tell, |_| {});
            let reports = log.reports();
            assert_eq!(reports.len(), 1, "{spoken} on a port for {port}: {reports:?}");
            let words = format!("this is {spoken} on a port for {port}");
            assert!(reports[0].line.contains(&words), "{words}: {}", reports[0].line);
            // A client of HTTP gets an answer it can read, wherever it came.
            if *spoken == "HTTP" {
                assert!(out.starts_with(b"HTTP/1.1 400 Bad Request\r\n"), "{port}: {}", out.escape_ascii());
                assert!(reports[0].request.starts_with(b"GET /hello"), "{:?}", reports[0]);
            }
        }
    }
}

#[test]
fn p_conn_03_a_reply_to_content_that_was_not_read_arrives_whole_at_every_door() {
    fn application(_environ: &Environ, start_response: &mut StartResponse) -> Body {
        start_response.start("200 OK", &[]);
        Body::from(vec![b'x'; 300_000])
    }
    for door in DOORS {
        let server = Server::bind("127.0.0.1:0").unwrap().door(door);
        let house = serve_over(server, application, |_| {});
        for _ in 0..20 {
            let mut client = house.client();
            // Front servers send everything first.
            client.send(&packet(door, &post("/", 200_000), &[b'y'; 200_000]));
            assert_eq!(finish(&mut client, door).expect("an answer").content.len(), 300_000, "{door:?}");
        }
    }
}

#[test]
fn p_err_an_application_that_fails_is_a_500_or_a_visible_end_at_every_door() {
    fn application(environ: &Environ, start_response: &mut StartResponse) -> Body {
        match environ.path().as_ref() {
            "/panic" => panic!("as it should"),
            "/hop" => {
                start_response.start("200 OK", &[("Transfer-Encoding", "chunked")]);
                Body::from("never")
            }
            "/status" => {
                start_response.start("200 OK", &[("Status", "404")]);
                Body::from("never")
            }
            _ => {
                start_response.start("200 OK", &[("Content-Length", "10")]);
                Body::blocks([Ok("first"), Err(io::Error::other("and no more"))])
            }
        }
    }
    for door in DOORS {
        for path in ["/panic", "/hop", "/status"] {
            let bytes = packet(door, &get(path), b"");
            let (out, _) = in_memory_over(Server::unbound().door(door), [&bytes[..]], application, |_| {});
            let reply = read_reply(door, &out).unwrap();
            assert_eq!((reply.code(), reply.text()), (500, "Internal Server Error\n"), "{door:?} {path}");
            assert!(door != Door::FastCgi || reply.ended);
        }
        // P-ERR-05: fewer bytes than promised, and in FastCGI no END_REQUEST.
        let bytes = packet(door, &get("/cut"), b"");
        let (out, log) = in_memory_over(Server::unbound().door(door), [&bytes[..]], application, |_| {});
        let reply = read_reply(door, &out).unwrap();
        assert_eq!((reply.text(), reply.ended), ("first", false), "{door:?}");
        assert_eq!(log.take(Cause::BodyFailed).answer, Answer::Cut);
    }
}

#[test]
fn the_front_servers_name_and_the_deployers_variables_have_their_place() {
    for door in DOORS {
        let pairs =
            with(&[("SERVER_SOFTWARE", "nginx/1.22.1"), ("GATEWAY_INTERFACE", "CGI/9"), ("DEPLOYED", "by the client")]);
        let server = Server::unbound().door(door).env("DEPLOYED", "by the deployer");
        let (out, _) = in_memory_over(server, [&packet(door, &pairs, b"")[..]], tell, |_| {});
        let told = Told(read_reply(door, &out).unwrap());
        assert_eq!(told.get("doorway.front"), Some("nginx/1.22.1"));
        assert_eq!(told.get("SERVER_SOFTWARE"), Some(&*format!("doorway/{}", env!("CARGO_PKG_VERSION"))));
        assert_eq!((told.get("GATEWAY_INTERFACE"), told.get("DEPLOYED")), (Some("CGI/1.1"), Some("by the deployer")));
    }
}
