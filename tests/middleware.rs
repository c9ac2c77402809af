//! Every shipped middleware: first what each is for, then what all of them owe both sides (PEP 3333, docs/rules.md P-MW-01 to
//! P-MW-09).
//!
//! The second part is a kit: one application that can answer in every way the gateway knows, called bare and through each middleware,
//! without a socket and over one. What is not a middleware's purpose must not change. The middleware of `examples/` is under it as well.

mod support;

use std::fs::{self, File};
use std::io::{self, BufRead, Cursor, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use doorway::log::Answer;
use doorway::middleware::XForwarded::{For, Host, Port, Proto};
use doorway::middleware::{
    AccessLog, BasicAuth, Buffered, ConditionalGet, Culprit, ErrorPages, HostAllowList, Level, Lint, Mount, Normalize,
    TrustProxy,
};
use doorway::testing::Request;
use doorway::{Application, Block, Body, Cause, Environ, Headers, Response, StartResponse, Status, Transmit, simple};
use support::{Delimiter, House, Kept, locked, serve, serve_with};

#[allow(dead_code, reason = "main is for those who run it")]
#[path = "../examples/middleware.rs"]
mod example_middleware;
#[allow(dead_code, reason = "main is for those who run it")]
#[path = "../examples/mount.rs"]
mod example_mount;

/// An application that calls the function given here; types for closures.
fn app<R: Into<Body>>(call: impl Fn(&Environ, &mut StartResponse) -> R + Send + Sync + 'static) -> impl Application {
    call
}

/// Says what it sees: mount, path, client, scheme, host, server.
fn show(environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[("Content-Type", "text/plain")]);
    let names =
        ["SCRIPT_NAME", "PATH_INFO", "REMOTE_ADDR", "REMOTE_PORT", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "HTTPS"];
    let variables = names.map(|name| environ.bytes(name).map_or("-".into(), |value| value.escape_ascii().to_string()));
    Body::from(format!("{} {}", environ.url_scheme(), variables.join(" ")))
}

/// A file of its own with this text, without a name.
fn file_with(text: &str) -> File {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("doorway-middleware-{}-{number}", std::process::id()));
    fs::write(&path, text).unwrap();
    let file = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file
}

// ---------------------------------------------------------------------------------------------------------------- Mount

fn paths(environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[]);
    Body::from([environ.script_name(), b"|", environ.path_info()].concat())
}

#[test]
fn p_mw_09_mount_moves_the_prefix_and_the_longest_one_wins() {
    let site = Mount::new().at("/api", paths).at("/api/v2", paths).at("w%/\u{e4}/", paths);
    for (target, expected) in [
        ("/api", "/api|"),
        ("/api/", "/api|/"),
        ("/api/x%2Fy", "/api|/x/y"),
        ("/api//x", "/api|//x"),
        ("/api/v2", "/api/v2|"),
        ("/api/v2/x", "/api/v2|/x"),
        ("/api/v2x", "/api|/v2x"),
        ("/w%25/%C3%A4/x", "/w%/\u{e4}|/x"),
    ] {
        let response = Request::get(target).call(&site);
        assert_eq!((response.status.code(), &*response.text()), (200, expected), "{target}");
    }
    for target in ["/", "/apix", "/ap", "/API", "//api", "/api%00", "/w%25"] {
        assert_eq!(Request::get(target).call(&site).status.code(), 404, "{target}");
    }
}

#[test]
fn p_env_03_04_05_below_any_mounts_script_name_and_path_info_are_the_path_and_keep_their_forms() {
    let mut targets = vec![String::new()];
    for _ in 0..4 {
        let longer = targets.iter().flat_map(|target| ["/", "a", "b", "%2F"].map(|more| format!("{target}{more}")));
        targets = longer.collect();
    }
    let inner = Mount::new().at("/b", paths).at("/", paths);
    let site = Mount::new().at("/a", inner).at("/", paths).at("/a/b", Mount::new().at("/", paths));
    for target in targets.iter().map(|target| format!("/{target}")) {
        let response = Request::get(&target).call(&site);
        let text = response.text();
        let (script_name, path_info) = text.split_once('|').unwrap();
        assert_eq!(format!("{script_name}{path_info}"), target.replace("%2F", "/"));
        assert!(script_name.is_empty() || script_name.starts_with('/') && !script_name.ends_with('/'), "{target}");
        assert!(path_info.starts_with('/') || path_info.is_empty() && !script_name.is_empty(), "{target}");
    }
}

#[test]
fn p_env_01_mount_leaves_the_environ_of_its_caller_as_it_was() {
    let site = Mount::new().at("/a", paths);
    let environ = Request::get("/a/b").environ();
    let (mut start_response, _) = nowhere();
    drop(site.call(&environ, &mut start_response));
    assert_eq!((environ.script_name(), environ.path_info()), (&b""[..], &b"/a/b"[..]));
}

// ------------------------------------------------------------------------------------------------------------ Normalize

#[test]
fn p_env_06_normalize_shows_the_path_as_it_is_meant_and_the_target_as_it_was_sent() {
    let house = serve(Normalize::new(app(|environ: &Environ, start_response| {
        start_response.start("200 OK", &[]);
        Body::from([environ.path_info(), b" of ", environ.bytes("REQUEST_URI").unwrap()].concat())
    })));
    for (target, expected) in [
        ("/a/./b//%2e%2e/c", "/a/c"),
        ("//a%2Fb%20c/../d%E4", "/a/d\\xe4"),
        ("/a/..", "/"),
        ("/a%2F..%2Fb/", "/b/"),
        ("/plain", "/plain"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let response = house.ask_one(request.as_bytes());
        assert_eq!(response.body.escape_ascii().to_string(), format!("{expected} of {target}"));
    }
    for target in ["/..", "/%2e%2e/etc/passwd", "/a/../../b", "/%2F..%2F.."] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let response = house.ask_one(request.as_bytes());
        assert_eq!((response.status, response.text()), (400, "Bad Request\n"), "{target}");
    }
}

#[test]
fn p_env_04_normalize_below_a_mount_keeps_an_empty_path() {
    let site = Mount::new().at("/m", Normalize::new(paths));
    for (target, expected) in [("/m", "/m|"), ("/m/", "/m|/"), ("/m/a/../", "/m|/")] {
        assert_eq!(Request::get(target).call(&site).text(), expected);
    }
    assert_eq!(Request::get("/m/../x").call(&site).status.code(), 400);
}

// -------------------------------------------------------------------------------------------------------- HostAllowList

#[test]
fn rfc9110_15_5_20_a_host_that_is_not_in_the_list_is_misdirected() {
    let list = ["localhost", "127.0.0.1", "[::1]", "*.Example.com", "only.test:8443", "plain.test:80"];
    let application = HostAllowList::new(show, list);
    let status = |host: &str| Request::get("/").header("Host", host).call(&application).status.code();
    for host in [
        "localhost",
        "LOCALHOST:1",
        "localhost.",
        "127.0.0.1:8000",
        "[::1]",
        "[::1]:80",
        "a.example.com",
        "a.b.EXAMPLE.com:9",
        "only.test:8443",
        "plain.test",
        "plain.test:80",
        "localhost:",
    ] {
        assert_eq!(status(host), 200, "{host}");
    }
    for host in [
        "",
        ":80",
        "evil.test",
        "localhost.evil.test",
        "evil.localhost",
        "example.com",
        ".example.com",
        "badexample.com",
        "only.test",
        "only.test:443",
        "plain.test:443",
        "127.0.0.2",
        "[::2]",
        "::1",
        "localhost:80:80",
        "localhost:x",
        "localhost]",
        "[localhost]",
        "localhost@evil.test",
        "evil.test:localhost",
        "localhost evil.test",
        "*.example.com.x",
    ] {
        assert_eq!(status(host), 421, "{host}");
    }
    assert_eq!(Request::get("/").header("Host", b"localhost\xE4").call(&application).status.code(), 421);
    // What is no name of a host is below nothing: it would lead elsewhere in a link (`http://evil.test/.example.com`).
    for host in
        ["evil.test/", "evil.test#", "evil.test?", "evil.test\\", "u@", "u:p@", "a ", "\t", "\0", "a,b", "\u{e4}"]
    {
        assert_eq!(status(&format!("{host}.example.com")), 421, "{host:?}");
    }
    let meant_otherwise = HostAllowList::new(show, ["", ":80", "*", "*evil.test", "*.", "evil.test:x"]);
    for host in ["", ":80", "evil.test", "an.evil.test", "*", "x."] {
        let response = Request::get("/").header("Host", host).call(&meant_otherwise);
        assert_eq!(response.status.code(), 421, "{host}");
    }
}

#[test]
fn rfc9110_15_5_20_on_the_wire_the_absolute_target_is_what_counts_and_no_host_is_no_host() {
    let house = serve(HostAllowList::new(show, ["good.test"]));
    let status = |request: &str| house.ask_one(format!("{request}\r\nConnection: close\r\n\r\n").as_bytes()).status;
    assert_eq!(status("GET / HTTP/1.1\r\nHost: good.test"), 200);
    assert_eq!(status("GET / HTTP/1.1\r\nHost: evil.test"), 421);
    assert_eq!(status("GET http://good.test/ HTTP/1.1\r\nHost: good.test"), 200);
    assert_eq!(status("GET http://evil.test/ HTTP/1.1\r\nHost: good.test"), 421);
    assert_eq!(status("GET / HTTP/1.0"), 421);
}

#[test]
fn a_port_that_is_not_said_is_that_of_the_scheme() {
    let application = HostAllowList::new(show, ["a.test:443"]);
    let mut environ = Request::get("/").header("Host", "a.test").environ();
    let status = |environ: &Environ| {
        let (mut start_response, _) = nowhere();
        drop(application.call(environ, &mut start_response));
        start_response.status().unwrap().code()
    };
    assert_eq!(status(&environ), 421);
    environ.set_https(true);
    assert_eq!(status(&environ), 200);
}

// ----------------------------------------------------------------------------------------------------------- TrustProxy

/// A request by way of proxies: the peer, and fields.
fn by_proxy(application: &impl Application, peer: &str, fields: &[(&str, &str)]) -> (u16, String) {
    let mut request = Request::get("/").variable("REMOTE_ADDR", peer).variable("REMOTE_PORT", "50000");
    for (name, value) in fields {
        request = request.header(name, value);
    }
    let response = request.call(application);
    (response.status.code(), response.text())
}

#[track_caller]
fn is_seen(application: &impl Application, fields: &[(&str, &str)], expected: &str) {
    assert_eq!(by_proxy(application, "10.0.0.1", fields), (200, expected.to_owned()), "{fields:?}");
}

#[track_caller]
fn is_refused(application: &impl Application, fields: &[(&str, &str)]) {
    assert_eq!(by_proxy(application, "10.0.0.1", fields), (400, "Bad Request\n".to_owned()), "{fields:?}");
}

const UNTOUCHED: &str = "http  / 10.0.0.1 50000 localhost:8000 localhost 8000 -";

fn x_forwarded() -> TrustProxy<fn(&Environ, &mut StartResponse) -> Body> {
    let show: fn(&Environ, &mut StartResponse) -> Body = show;
    TrustProxy::x_forwarded(show, [For, Proto, Host, Port]).network("10.0.0.0/8".parse().unwrap())
}

fn forwarded() -> TrustProxy<fn(&Environ, &mut StartResponse) -> Body> {
    let show: fn(&Environ, &mut StartResponse) -> Body = show;
    TrustProxy::forwarded(show).network("10.0.0.0/8".parse().unwrap())
}

#[test]
fn trusted_x_forwarded_fields_become_the_environ_of_the_client() {
    let (proxy, client) = (x_forwarded(), ("X-Forwarded-For", "192.0.2.7"));
    is_seen(&proxy, &[], UNTOUCHED);
    is_seen(&proxy, &[client], "http  / 192.0.2.7 - localhost:8000 localhost 8000 -");
    is_seen(
        &proxy,
        &[("X-Forwarded-For", "[2001:db8::7]:99")],
        "http  / 2001:db8::7 99 localhost:8000 localhost 8000 -",
    );
    is_seen(&proxy, &[("X-Forwarded-For", "unknown")], "http  / - - localhost:8000 localhost 8000 -");
    is_seen(&proxy, &[("X-Forwarded-Proto", "HTTPS")], "https  / 10.0.0.1 50000 localhost:8000 localhost 8000 on");
    is_seen(
        &proxy,
        &[client, ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "shop.test")],
        "https  / 192.0.2.7 - shop.test shop.test 443 on",
    );
    is_seen(
        &proxy,
        &[("X-Forwarded-Host", "[::1]:8443"), ("X-Forwarded-Port", "8443")],
        "http  / 10.0.0.1 50000 [::1]:8443 [::1] 8443 -",
    );
    is_seen(&proxy, &[("X-Forwarded-Port", "444")], "http  / 10.0.0.1 50000 localhost:8000 localhost 444 -");
}

#[test]
fn trusted_forwarded_elements_become_the_environ_of_the_client() {
    let proxy = forwarded();
    let is = |field, expected| is_seen(&proxy, &[("Forwarded", field)], expected);
    is("for=192.0.2.7", "http  / 192.0.2.7 - localhost:8000 localhost 8000 -");
    is(
        "for=\"[2001:db8::7]:99\";proto=https;host=shop.test;by=_x",
        "https  / 2001:db8::7 99 shop.test shop.test 443 on",
    );
    is("proto=https;host=\"shop.test:8443\"", "https  / 10.0.0.1 50000 shop.test:8443 shop.test 8443 on");
    is("for=_hidden", "http  / - - localhost:8000 localhost 8000 -");
    is("for=1.1.1.1;proto=https;host=evil.test, for=192.0.2.7", "http  / 192.0.2.7 - localhost:8000 localhost 8000 -");
    is("", UNTOUCHED);
}

#[test]
fn hops_are_walked_from_the_nearest_proxy_and_only_as_far_as_networks_are_trusted() {
    let client_after = |hops: usize, field: &str| {
        let x = by_proxy(&x_forwarded().hops(hops), "10.0.0.1", &[("X-Forwarded-For", field)]);
        let elements: Vec<_> = field.split(", ").map(|client| format!("for={client}")).collect();
        let forwarded = by_proxy(&forwarded().hops(hops), "10.0.0.1", &[("Forwarded", &elements.join(", "))]);
        assert_eq!(x, forwarded, "{field}");
        x.1.split(' ').nth(3).unwrap().to_owned()
    };
    let chain = "6.6.6.6, 192.0.2.7, 10.0.0.2";
    assert_eq!(client_after(1, chain), "10.0.0.2");
    assert_eq!(client_after(2, chain), "192.0.2.7");
    assert_eq!(client_after(3, chain), "192.0.2.7", "192.0.2.7 is no proxy, so nobody believes it");
    assert_eq!(client_after(9, "10.0.0.4, 10.0.0.3"), "10.0.0.4");
    assert_eq!(client_after(0, "192.0.2.7"), "192.0.2.7", "there is one proxy at least");
}

#[test]
fn the_scheme_and_host_are_those_that_the_outermost_trusted_proxy_says() {
    let proxy = x_forwarded().hops(2);
    let chain = ("X-Forwarded-For", "192.0.2.7, 10.0.0.2");
    is_seen(
        &proxy,
        &[chain, ("X-Forwarded-Proto", "https, http")],
        "https  / 192.0.2.7 - localhost:8000 localhost 8000 on",
    );
    is_seen(&proxy, &[chain, ("X-Forwarded-Proto", "https")], "https  / 192.0.2.7 - localhost:8000 localhost 8000 on");
    let short = ("X-Forwarded-For", "192.0.2.7");
    is_seen(
        &proxy,
        &[short, ("X-Forwarded-Proto", "https, http")],
        "http  / 192.0.2.7 - localhost:8000 localhost 8000 -",
    );
    let proxy = forwarded().hops(2);
    let field = "for=6.6.6.6;proto=http, for=192.0.2.7;proto=https, for=10.0.0.2;proto=http";
    is_seen(&proxy, &[("Forwarded", field)], "https  / 192.0.2.7 - localhost:8000 localhost 8000 on");
}

#[test]
fn what_makes_no_sense_or_contradicts_itself_is_a_400_and_the_log_says_why() {
    let proxy = x_forwarded();
    for (name, value) in [
        ("X-Forwarded-For", "192.0.2"),
        ("X-Forwarded-For", "client.test"),
        ("X-Forwarded-For", "192.0.2.7:99999"),
        ("X-Forwarded-Proto", "gopher"),
        ("X-Forwarded-Proto", "http, https"),
        ("X-Forwarded-Proto", "https, https"),
        ("X-Forwarded-Host", "a b"),
        ("X-Forwarded-Host", "a.test, b.test"),
        ("X-Forwarded-Host", "a.test/x"),
        ("X-Forwarded-Host", "a.test:x"),
        ("X-Forwarded-Host", "a.test:0"),
        ("X-Forwarded-Host", "[a.test]"),
        ("X-Forwarded-Host", "user@a.test"),
        ("X-Forwarded-Host", "a.test\u{e4}"),
        ("X-Forwarded-Port", "0"),
        ("X-Forwarded-Port", "+80"),
        ("X-Forwarded-Port", "65536"),
    ] {
        is_refused(&proxy, &[(name, value)]);
    }
    is_refused(&proxy, &[("X-Forwarded-Host", "a.test:8443"), ("X-Forwarded-Port", "443")]);
    for field in
        ["for", "for=192.0.2", "for=192.0.2.7;for=192.0.2.8", "proto=gopher", "host=\"a b\"", "for=\"x", "for=x"]
    {
        is_refused(&forwarded(), &[("Forwarded", field)]);
    }
    let request = Request::get("/").variable("REMOTE_ADDR", "10.0.0.1").header("X-Forwarded-Proto", "gopher");
    let errors = request.call(&proxy).errors;
    assert_eq!(errors, "400 for what a trusted proxy says: a scheme that is neither http nor https\n");
}

#[test]
fn everything_of_the_other_family_and_of_untrusted_peers_is_cleared() {
    let all = [
        ("Forwarded", "for=6.6.6.6;proto=https"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Server", "evil.test"),
        ("X-Forwarded-Ssl", "on"),
        ("X-Forwarded", "6.6.6.6"),
        ("Via", "1.1 kept"),
    ];
    let left = app(|environ: &Environ, start_response| {
        start_response.start("200 OK", &[]);
        let mut names: Vec<_> =
            environ.iter().map(|(name, _)| name).filter(|name| !name.starts_with("SERVER")).collect();
        names.retain(|name| name.contains("FORWARDED") || name.contains("VIA"));
        names.sort_unstable();
        Body::from(format!("{} {:?} {}", environ.url_scheme(), environ.remote_addr(), names.join(" ")))
    });
    let left: Arc<dyn Application> = Arc::new(left);
    let network = || "10.0.0.0/8".parse().unwrap();
    let text = |application: &dyn Fn(Arc<dyn Application>) -> Box<dyn Application>, peer: &str| {
        by_proxy(&application(Arc::clone(&left)), peer, &all).1
    };
    let proto = |inner| Box::new(TrustProxy::x_forwarded(inner, [Proto]).network(network())) as Box<dyn Application>;
    let rfc = |inner| Box::new(TrustProxy::forwarded(inner).network(network())) as Box<dyn Application>;
    assert_eq!(text(&proto, "10.0.0.1"), "https Some(10.0.0.1) HTTP_VIA HTTP_X_FORWARDED_PROTO");
    assert_eq!(text(&rfc, "10.0.0.1"), "https Some(6.6.6.6) HTTP_FORWARDED HTTP_VIA");
    assert_eq!(text(&proto, "11.0.0.1"), "http Some(11.0.0.1) HTTP_VIA");
    assert_eq!(text(&rfc, "::1"), "http Some(::1) HTTP_VIA");
}

#[test]
fn the_first_untrusted_peer_that_says_something_is_a_loud_line_and_malformed_fields_of_it_are_no_matter() {
    let proxy = x_forwarded();
    let call = || Request::get("/").header("X-Forwarded-For", "nonsense \"").call(&proxy);
    let first = call();
    assert_eq!(first.status.code(), 200);
    let line = "HTTP_X_FORWARDED_FOR from 127.0.0.1, which is no trusted proxy, is removed (said only once)\n";
    assert_eq!((&*first.errors, &*call().errors), (line, ""));
}

#[test]
fn rfc3875_4_1_9_what_a_front_server_says_of_the_proxy_is_not_said_of_the_client() {
    let names = app(|environ: &Environ, start_response| {
        start_response.start("200 OK", &[]);
        let names = ["REMOTE_ADDR", "REMOTE_HOST", "REMOTE_IDENT"].map(|name| environ.get(name).unwrap_or("-".into()));
        names.join(" ")
    });
    let application = TrustProxy::x_forwarded(names, [For]).network("127.0.0.1".parse().unwrap());
    let request = || {
        let request = Request::get("/").variable("REMOTE_HOST", "proxy.test").variable("REMOTE_IDENT", "nobody");
        request.variable("HTTP_X_FORWARDED_PROTO", "https")
    };
    assert_eq!(request().call(&application).text(), "127.0.0.1 proxy.test nobody");
    let forwarded = request().header("X-Forwarded-For", "192.0.2.7");
    assert_eq!(forwarded.call(&application).text(), "192.0.2.7 - -");
}

#[test]
fn a_unix_socket_is_trusted_only_where_the_deployer_says_so() {
    let call = |proxy: TrustProxy<fn(&Environ, &mut StartResponse) -> Body>| {
        let application = app(move |environ: &Environ, start_response| {
            let mut inner = environ.clone();
            inner.remove("REMOTE_ADDR");
            proxy.call(&inner, start_response)
        });
        Request::get("/").header("X-Forwarded-For", "192.0.2.7").call(&application).text()
    };
    assert!(call(x_forwarded()).starts_with("http  / - "));
    assert!(call(x_forwarded().unix_sockets()).starts_with("http  / 192.0.2.7 "));
}

#[test]
fn a_trusted_proxy_over_a_real_connection_repeats_a_field_and_is_understood() {
    let proxy = TrustProxy::x_forwarded(show, [For, Proto]).network("127.0.0.1".parse().unwrap()).hops(2);
    let house = serve(proxy);
    let text = "GET /a HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: 127.0.0.1\r\n\
                X-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
    assert_eq!(house.ask_one(text.as_bytes()).text(), "https  /a 192.0.2.7 - shop.test shop.test 443 on");
}

// ------------------------------------------------------------------------------------------------------------ AccessLog

/// The line of one request, without the time of day and the duration.
fn line_of(kept: &Kept) -> String {
    let text = kept.text();
    let line = text.strip_suffix('\n').expect("a whole line");
    assert!(!line.contains('\n'), "one line: {line}");
    let (before, rest) = line.split_once('[').unwrap();
    let (time, rest) = rest.split_once(']').unwrap();
    assert!(time.len() == 26 && time.ends_with(" +0000"), "{time}");
    let (rest, duration) = rest.rsplit_once(' ').unwrap();
    assert!(duration.strip_suffix("us").is_some_and(|digits| digits.parse::<u64>().is_ok()), "{duration}");
    format!("{before}[]{rest}")
}

fn logged(request: Request, application: impl Application) -> String {
    let kept = Kept::default();
    request.call(&AccessLog::common(application, kept.clone()));
    line_of(&kept)
}

#[test]
fn an_access_log_has_a_line_in_the_common_and_the_combined_format() {
    assert_eq!(logged(Request::get("/a?b"), app(paths)), "127.0.0.1 - - [] \"GET /a?b HTTP/1.1\" 200 3");
    let kept = Kept::default();
    let application = AccessLog::combined(paths, kept.clone());
    Request::get("/").header("Referer", "http://a/").header("User-Agent", "curl/8").call(&application);
    assert_eq!(line_of(&kept), "127.0.0.1 - - [] \"GET / HTTP/1.1\" 200 2 \"http://a/\" \"curl/8\"");
}

#[test]
fn nothing_a_client_sends_forges_a_field_or_a_line_or_reaches_a_terminal() {
    let kept = Kept::default();
    let application = AccessLog::combined(paths, kept.clone());
    let request = Request::new("G\"T", "/\u{1b}[2J\r\n\\ \u{e4}\u{7f}").header("Referer", "\" 200 0 \"");
    // The name: `a b"` and a line feed.
    request.header("User-Agent", b"\x00\xff").header("Authorization", "Basic YSBiIgo6eA==").call(&application);
    assert_eq!(
        line_of(&kept),
        "127.0.0.1 - a\\x20b\\x22\\x0A [] \"G\\x22T /\\x1B[2J\\x0D\\x0A\\x5C \\xC3\\xA4\\x7F HTTP/1.1\" 200 13 \
         \"\\x22 200 0 \\x22\" \"\\x00\\xFF\""
    );
}

#[test]
fn the_user_is_that_of_remote_user_or_of_a_valid_basic_authorization_and_of_nothing_else() {
    let user = |name: &str, value: &[u8]| {
        let line = logged(Request::get("/").variable(name, value), app(paths));
        line.split(' ').nth(2).unwrap().to_owned()
    };
    assert_eq!(user("HTTP_AUTHORIZATION", b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "Aladdin");
    assert_eq!(user("REMOTE_USER", b"ada"), "ada");
    for value in ["Basic", "Basic !", "Basic Zm9v", "Bearer QWxhZGRpbjpvcGVu", "Digest username=\"x\"", "Basic OnB3"] {
        assert_eq!(user("HTTP_AUTHORIZATION", value.as_bytes()), "-", "{value}");
    }
    let kept = Kept::default();
    let without_a_name = Request::get("/").header("Authorization", "Basic OnB3");
    without_a_name.call(&AccessLog::json(paths, kept.clone()));
    assert!(kept.text().contains(",\"user\":null,"));
    let both = Request::get("/").variable("REMOTE_USER", "ada").header("Authorization", "Basic QWxhZGRpbjp4");
    assert!(logged(both, app(paths)).starts_with("127.0.0.1 - ada ["));
}

#[test]
fn a_line_of_json_is_one_object_and_escapes_by_its_rules() {
    let kept = Kept::default();
    let application = AccessLog::json(paths, kept.clone());
    let request = Request::get("/\"\\\n\u{9b}\u{e4}").header("User-Agent", b"a\xffb");
    request.header("Authorization", "Basic QWxhZGRpbjp4").call(&application);
    let text = kept.text();
    let (time, rest) = text.split_once("Z\",").unwrap();
    assert_eq!((time.len(), &time[..9], &time[19..20]), (32, "{\"time\":\"", "T"), "{time}");
    let (rest, duration) = rest.split_once("\"duration_us\":").unwrap();
    assert!(duration.strip_suffix("}\n").unwrap().parse::<u64>().is_ok(), "{duration}");
    let expected = "\"remote_addr\":\"127.0.0.1\",\"user\":\"Aladdin\",\"method\":\"GET\",\
                    \"target\":\"/\\\"\\\\\\u000a\\u009b\u{e4}\",\"protocol\":\"HTTP/1.1\",\"host\":\"localhost:8000\",\
                    \"referer\":null,\"user_agent\":\"a\u{fffd}b\",\"status\":200,\"bytes\":9,";
    assert_eq!(rest, expected);
}

#[test]
fn bytes_are_counted_on_both_ways_to_the_client_and_time_runs_until_the_body_is_closed() {
    let kept = Kept::default();
    let application = app(|_: &Environ, start_response| {
        start_response.start("200 OK", &[]).write_all(b"12345")?;
        let blocks = ["", "67", "890"].map(|block| {
            // The time that must be counted.
            std::thread::sleep(Duration::from_millis(2));
            block
        });
        io::Result::Ok(Body::blocks(blocks))
    });
    Request::get("/").call(&AccessLog::common(application, kept.clone()));
    assert!(line_of(&kept).ends_with(" 200 10"), "{}", kept.text());
    let duration = kept.text().trim_end().rsplit(' ').next().unwrap().trim_end_matches("us").parse::<u64>().unwrap();
    assert!(duration >= 6000, "{duration}");
}

#[test]
fn the_status_is_the_one_that_the_client_gets() {
    let ends = |request: Request, application: Box<dyn Application>, end: &str| {
        let kept = Kept::default();
        let response = request.call(&AccessLog::common(application, kept.clone()));
        let line = line_of(&kept);
        assert!(line.ends_with(end), "{line} does not end in {end}");
        assert!(end.starts_with(&format!(" {} ", response.status.code())), "{line} of {response:?}");
    };
    let boxed = |call: fn(&Environ, &mut StartResponse) -> io::Result<Body>| Box::new(call) as Box<dyn Application>;
    ends(Request::get("/"), boxed(|_, _| Err(io::Error::other("no"))), " 500 0");
    // Nothing says that these are of the content of the request.
    ends(Request::get("/"), boxed(|_, _| Err(io::ErrorKind::FileTooLarge.into())), " 500 0");
    ends(Request::get("/"), boxed(|_, _| Err(io::ErrorKind::UnexpectedEof.into())), " 500 0");
    ends(Request::get("/"), boxed(|_, _| Err(io::Error::other(Cause::ContentLong))), " 413 0");
    ends(Request::get("/"), boxed(|_, _| Err(io::Error::other(Cause::ContentStalled))), " 408 0");
    ends(Request::get("/"), boxed(|_, _| Ok(Body::empty())), " 500 0");
    let restarts = boxed(|_, start_response| {
        start_response.start("200 OK", &[]);
        start_response.restart("503 Away", &[], "why").unwrap();
        Ok("later".into())
    });
    ends(Request::get("/"), restarts, " 503 5");
    let late = boxed(|_, _| {
        Ok(Body::deferred(|start_response| {
            start_response.start("203 Late", &[]);
            "late"
        }))
    });
    ends(Request::get("/"), late, " 203 4");
    let torn_at_once = boxed(|_, start_response| {
        start_response.start("200 OK", &[]);
        Ok(Body::blocks([Ok(Block::default()), Err(io::Error::other("torn"))]))
    });
    ends(Request::get("/"), torn_at_once, " 500 0");
    let stalled = boxed(|_, start_response| {
        start_response.start("200 OK", &[]);
        Ok(Body::blocks([Err::<Body, _>(io::Error::from(io::ErrorKind::TimedOut))]))
    });
    ends(Request::get("/"), stalled, " 500 0");
    let twice = boxed(|_, start_response| {
        start_response.start("200 OK", &[]);
        start_response.start("200 OK", &[]);
        Ok("never sent".into())
    });
    ends(Request::get("/"), twice, " 500 10");
    let twice_and_late = boxed(|_, start_response| {
        start_response.start("200 OK", &[]).write_all(b"sent")?;
        start_response.start("200 OK", &[]);
        Ok(Body::empty())
    });
    ends(Request::get("/"), twice_and_late, " 200 4");
    let mended = boxed(|_, start_response| {
        start_response.start("200 OK", &[("A", "\n")]);
        start_response.restart("503 Away", &[], "why").unwrap();
        Ok(Body::empty())
    });
    ends(Request::get("/"), mended, " 503 0");
    let torn_later = boxed(|_, start_response| {
        start_response.start("200 OK", &[]);
        Ok(Body::blocks([Ok(Block::from(b"abc".as_slice())), Err(io::Error::other("torn"))]))
    });
    ends(Request::get("/"), torn_later, " 200 3");
    ends(Request::new("HEAD", "/"), Box::new(app(paths)), " 200 0");
    let no_content = boxed(|_, start_response| {
        start_response.start("204 No Content", &[]);
        Ok("dropped".into())
    });
    ends(Request::get("/"), no_content, " 204 0");
    let reset_content = boxed(|_, start_response| {
        start_response.start("205 Reset Content", &[]);
        Ok("dropped".into())
    });
    ends(Request::get("/"), reset_content, " 205 0");
    let written_behind_101 = boxed(|_, start_response| {
        start_response.start("101 Switching Protocols", &[]).write_all(b"a").map(|()| Body::empty())
    });
    ends(Request::get("/"), written_behind_101, " 500 1");
}

#[test]
fn a_panic_has_its_line_too_and_a_file_goes_out_whole() {
    let kept = Kept::default();
    let application = app(|environ: &Environ, start_response| {
        start_response.start("200 OK", &[]);
        assert_ne!(environ.path(), "/panic", "on purpose");
        Body::from(file_with("0123456789"))
    });
    let house = serve(AccessLog::common(application, kept.clone()));
    let response = house.ask_one(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!((response.delimiter, response.text()), (Delimiter::Length(10), "0123456789"));
    house.log.take_accesses(1);
    let response = house.ask_one(b"GET /panic HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(response.status, 500);
    // A line is written before the server reports the panic, or logs the access.
    house.log.take(Cause::ApplicationPanic);
    let text = kept.text();
    let mut lines = text.lines();
    assert!(lines.next().unwrap().contains("\"GET / HTTP/1.1\" 200 10 "), "{text}");
    assert!(lines.next().unwrap().contains("\"GET /panic HTTP/1.1\" 500 0 "), "{text}");
}

#[test]
fn p_err_06_a_log_whose_writer_panics_costs_no_response_and_no_process() {
    /// As `println!` does when nobody reads the output any more.
    struct Broken(Arc<AtomicUsize>);
    impl Write for Broken {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            self.0.fetch_add(1, Ordering::Relaxed);
            panic!("nobody reads the log");
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let tried = Arc::new(AtomicUsize::new(0));
    let application = app(|environ: &Environ, start_response| {
        start_response.start("200 OK", &[]);
        assert_ne!(environ.path(), "/panic", "on purpose");
        "fine"
    });
    let house = serve(AccessLog::common(application, Broken(Arc::clone(&tried))));
    let ask = |path| house.ask_one(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
    assert_eq!((ask("/").status, ask("/panic").status, ask("/").text()), (200, 500, "fine"));
    assert_eq!(tried.load(Ordering::Relaxed), 3);
    let panics = house.log.take(Cause::ApplicationPanic);
    assert!(panics.detail.contains("on purpose"), "{panics:?}");
}

// ------------------------------------------------------------------------------------------------------------- Buffered

/// Counts its calls and says the length it was told and the content it read.
fn reading(calls: &Arc<AtomicUsize>) -> impl Application {
    let calls = Arc::clone(calls);
    app(move |environ: &Environ, start_response| {
        calls.fetch_add(1, Ordering::SeqCst);
        let mut content = Vec::new();
        let first = environ.input().fill_buf()?.len().min(1);
        environ.input().take(first as u64).read_to_end(&mut content)?;
        environ.input().read_to_end(&mut content)?;
        start_response.start("200 OK", &[]);
        let sum: u64 = content.iter().map(|byte| u64::from(*byte)).sum();
        io::Result::Ok(Body::from(format!("{:?} {} {sum}", environ.content_length(), content.len())))
    })
}

/// A folder of its own, removed at the end; removing fails if anything is left in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("doorway-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(&self.0).unwrap().next().is_none()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn p_in_04_content_at_both_sides_of_the_memory_limit_reaches_the_application_whole_and_with_its_length() {
    let folder = Folder::new("spool");
    let application = Buffered::new(reading(&Arc::default())).memory(1000).folder(&folder.0);
    for length in [0, 1, 999, 1000, 1001, 100_000] {
        let response = Request::post("/", vec![3; length]).call(&application);
        assert_eq!((response.text(), &response.error), (format!("Some({length}) {length} {}", 3 * length), &None));
    }
    assert_eq!(Request::get("/").call(&application).text(), "None 0 0");
    assert!(folder.is_empty());
    let application = Buffered::new(reading(&Arc::default())).memory(0).folder(&folder.0);
    assert_eq!(Request::post("/", "a").call(&application).text(), "Some(1) 1 97");
    assert_eq!(Request::get("/").call(&application).text(), "None 0 0");
}

#[test]
fn p_in_02_content_is_read_line_by_line_from_memory_and_from_a_file() {
    let folder = Folder::new("lines");
    let by_line = app(|environ: &Environ, start_response| {
        let (mut lines, mut longest) = (0, 0);
        let mut line = String::new();
        while environ.input().read_line(&mut line)? > 0 {
            assert_eq!(line, format!("line {lines}\n"));
            (lines, longest) = (lines + 1, longest.max(line.len()));
            line.clear();
        }
        start_response.start("200 OK", &[]);
        io::Result::Ok(Body::from(format!("{lines} {longest}")))
    });
    let application = Buffered::new(by_line).memory(200).folder(&folder.0);
    for (count, expected) in [(10, "10 7"), (5000, "5000 10")] {
        let content: String = (0..count).map(|number| format!("line {number}\n")).collect();
        assert_eq!(Request::post("/", content).call(&application).text(), expected);
    }
    assert!(folder.is_empty());
}

#[test]
fn p_in_05_chunked_content_has_a_length_behind_buffered() {
    let folder = Folder::new("chunked");
    let house = serve(Buffered::new(reading(&Arc::default())).memory(4).folder(&folder.0));
    let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let ask = |chunks: &str| house.ask_one(format!("{head}{chunks}").as_bytes()).text().to_owned();
    assert_eq!(ask("3\r\nabc\r\n0\r\n\r\n"), "Some(3) 3 294");
    assert_eq!(ask("3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"), "Some(7) 7 700");
    assert_eq!(ask("0\r\n\r\n"), "None 0 0");
    assert!(folder.is_empty());
}

#[test]
fn a_length_that_is_announced_ends_no_process_where_there_is_not_so_much_memory() {
    let buffered = Buffered::new(reading(&Arc::default())).memory(usize::MAX);
    let house = serve_with(buffered, |settings| settings.max_content = None);
    let mut client = house.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\nhello", i64::MAX).as_bytes());
    client.stop_sending();
    client.until_end();
    assert_eq!(house.get("/").status, 200);
}

#[test]
fn p_in_07_08_09_content_that_fails_to_arrive_never_reaches_the_application_and_the_server_says_why() {
    let (calls, folder) = (Arc::default(), Folder::new("failing"));
    let application = Buffered::new(reading(&calls)).memory(4).folder(&folder.0);
    let house = serve_with(application, |settings| settings.content_stall = Duration::from_millis(200));
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    for (rest, stop, status, cause) in [
        ("Transfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\nx\r\n", false, 400, Cause::ChunkSize),
        ("Content-Length: 20000\r\n\r\nabcdef", true, 400, Cause::ContentTruncated),
        ("Content-Length: 20000\r\n\r\nabcdef", false, 408, Cause::ContentStalled),
        ("Transfer-Encoding: chunked\r\n\r\nfffffffff\r\nabcdef", false, 413, Cause::ContentLong),
    ] {
        let mut client = house.client();
        client.send(format!("{head}{rest}").as_bytes());
        if stop {
            client.stop_sending();
        }
        assert_eq!(client.response().status, status, "{rest}");
        assert_eq!(house.log.take(cause).answer, Answer::Status(status));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    assert!(folder.is_empty());
}

#[test]
fn p_in_09_content_over_the_limit_of_buffered_is_refused_before_it_is_asked_for_or_kept() {
    let (calls, folder) = (Arc::default(), Folder::new("limited"));
    for memory in [4, 100] {
        let application = Buffered::new(reading(&calls)).memory(memory).limit(10).folder(&folder.0);
        let house = serve(application);
        let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        let chunked = "Transfer-Encoding: chunked\r\n\r\n";
        for rest in [
            "Content-Length: 11\r\nExpect: 100-continue\r\n\r\n".to_owned(),
            format!("{chunked}5\r\nabcde\r\n6\r\nfghijk\r\n0\r\n\r\n"),
        ] {
            assert_eq!(house.ask_one(format!("{head}{rest}").as_bytes()).status, 413, "{rest}");
            assert_eq!(house.log.take(Cause::ContentLong).answer, Answer::Status(413));
        }
        assert_eq!(calls.load(Ordering::SeqCst), 0);
        let most = house.ask_one(format!("{head}{chunked}a\r\n{}\r\n0\r\n\r\n", "b".repeat(10)).as_bytes());
        assert_eq!(most.text(), "Some(10) 10 980");
        calls.store(0, Ordering::SeqCst);
    }
    assert!(folder.is_empty());
    // Nothing is written that is not kept.
    let house = serve(Buffered::new(reading(&calls)).limit(1).folder("/doorway/has/no/such/folder"));
    let request =
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    assert_eq!(house.ask_one(request).status, 413);
    house.log.take(Cause::ContentLong);
}

#[test]
fn p_in_11_what_an_outer_middleware_has_read_is_not_read_again() {
    let inner = Buffered::new(reading(&Arc::default()));
    let application = app(move |environ: &Environ, start_response| {
        environ.input().read_exact(&mut [0; 2]).unwrap();
        inner.call(environ, start_response)
    });
    assert_eq!(Request::post("/", "xxab").call(&application).text(), "Some(2) 2 195");
}

#[test]
fn a_folder_that_takes_no_file_is_an_error_of_the_application_and_not_of_the_client() {
    let calls = Arc::default();
    let application = Buffered::new(reading(&calls)).memory(1).folder("/doorway/has/no/such/folder");
    let house = serve(application);
    let response = house.ask_one(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab");
    assert_eq!(response.status, 500);
    assert!(house.log.take(Cause::ApplicationError).detail.starts_with("no temporary file in /doorway/has/no"));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

// ----------------------------------------------------------------------------------------------------------- ErrorPages

fn with_pages(application: impl Application) -> impl Application {
    ErrorPages::new(application)
        .page(404..=404, "text/html", |environ, status| format!("<{} {}>", status.code(), environ.path()))
        .page(500..=599, "text/html", |_, status| format!("<{}>", status.reason()))
}

#[test]
fn p_mw_06_a_page_takes_the_place_of_a_body_and_of_the_fields_that_describe_it() {
    let application = with_pages(app(|_: &Environ, start_response| {
        let fields = [("Content-Type", "text/plain"), ("ETag", "\"1\""), ("Allow", "GET"), ("Content-Length", "5")];
        start_response.start("404 Not Found", &fields);
        "inner"
    }));
    let response = Request::get("/x").call(&application);
    let fields: Vec<_> = response.headers.iter().map(|(name, value)| [name, value].concat()).collect();
    assert_eq!(
        (response.text(), fields),
        ("<404 /x>".into(), vec![b"Content-Typetext/html".to_vec(), b"AllowGET".to_vec()])
    );
    let other = with_pages(app(|_: &Environ, start_response| {
        start_response.start("403 No", &[("ETag", "\"1\"")]);
        "inner"
    }));
    let response = Request::get("/x").call(&other);
    assert_eq!((response.text(), response.headers.contains("ETag")), ("inner".into(), true));
}

#[test]
fn p_mw_06_the_decision_is_made_anew_for_every_head() {
    let flips = |late: &'static str| {
        with_pages(app(move |_: &Environ, start_response: &mut StartResponse| {
            start_response.start("404 Not Found", &[]).write_all(b"swallowed").unwrap();
            Body::deferred(move |start_response| {
                start_response.restart(late, &[], "again").unwrap();
                "inner"
            })
        }))
    };
    assert_eq!(Request::get("/x").call(&flips("200 OK")).text(), "inner");
    assert_eq!(Request::get("/x").call(&flips("502 Bad")).text(), "<Bad>");
}

#[test]
fn p_mw_07_a_restart_counts_and_its_error_still_reaches_the_log() {
    let house = serve(with_pages(app(|_: &Environ, start_response| {
        start_response.start("200 OK", &[("Content-Length", "99")]);
        start_response.restart("503 Away", &[("Retry-After", "9")], "the database is away").unwrap();
        "inner"
    })));
    let response = house.ask_one(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!((response.status, response.text(), response.field("Retry-After")), (503, "<Away>", Some("9")));
    let seen = house.log.take(Cause::ApplicationError);
    assert_eq!((&*seen.detail, seen.answer), ("the database is away", Answer::Status(503)));
}

#[test]
fn p_len_05_a_page_has_the_same_length_for_head_and_for_get() {
    let house = serve(with_pages(app(|environ: &Environ, start_response: &mut StartResponse| {
        let mut writer = start_response.start("404 Not Found", &[("Content-Length", "7")]);
        if environ.query_string() == "written" {
            writer.write_all(b"written").unwrap();
            return Body::empty();
        }
        Body::from("an inner body")
    })));
    for target in ["/", "/?written"] {
        let ask = |method: &str| {
            house.ask_one(format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
        };
        assert_eq!((ask("GET").delimiter, ask("GET").text()), (Delimiter::Length(7), "<404 />"), "{target}");
        assert_eq!((ask("HEAD").field("Content-Length"), ask("HEAD").body.len()), (Some("7"), 0), "{target}");
    }
    assert_eq!(house.log.reports(), []);
}

#[test]
fn an_error_of_the_application_has_a_page_and_one_of_the_content_is_left_to_the_server() {
    let house = serve(with_pages(app(|environ: &Environ, _: &mut StartResponse| {
        let mut content = Vec::new();
        environ.input().read_to_end(&mut content).map_err(|error| error.to_string().len()).ok();
        environ.input().read_to_end(&mut content)?;
        io::Result::<Body>::Err(io::Error::other("no such row"))
    })));
    let response = house.ask_one(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!((response.status, response.text()), (500, "<Internal Server Error>"));
    let seen = house.log.take(Cause::ApplicationError);
    assert_eq!((&*seen.detail, seen.answer), ("no such row", Answer::Status(500)));
    let mut client = house.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\nabc");
    client.stop_sending();
    let response = client.response();
    assert_eq!((response.status, response.text()), (400, "Bad Request\n"));
    house.log.take(Cause::ContentTruncated);
    assert_eq!(house.log.reports(), []);
}

#[test]
fn a_page_never_comes_after_what_was_sent() {
    let application = with_pages(app(|_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]).write_all(b"sent").unwrap();
        let late = start_response.restart("500 Oops", &[], "too late").map(|_| ());
        late.map(|()| "inner")
    }));
    let response = Request::get("/").call(&application);
    assert_eq!((response.status.code(), &*response.text()), (200, "sent"));
    assert_eq!(response.error.map(|(cause, _)| cause), Some(Cause::HeadSent));
    let application = with_pages(app(|_: &Environ, start_response: &mut StartResponse| {
        start_response.start("200 OK", &[]).write_all(b"sent").unwrap();
        Err::<Body, _>("no such row")
    }));
    let response = Request::get("/").call(&application);
    assert_eq!((&*response.text(), response.error), ("sent", Some((Cause::ApplicationError, "no such row".into()))));
}

#[test]
fn a_page_is_for_errors_only() {
    let application = ErrorPages::new(paths).page(200..=599, "text/html", |_, _| "page".into());
    assert_eq!(Request::get("/").call(&application).text(), "|/");
}

// -------------------------------------------------------------------------------------------------------------- the kit

type Wrap = fn(Box<dyn Application>) -> Box<dyn Application>;

/// Every middleware, in the state in which it lets requests through. The last column says whether changing bytes is its purpose.
const EVERY: [(&str, Wrap, bool); 14] = [
    ("Mount", |inner| Box::new(Mount::new().at("/", inner)), false),
    ("Mount at a prefix", |inner| Box::new(Mount::new().at("/kit", inner)), false),
    ("AccessLog::common", |inner| Box::new(AccessLog::common(inner, io::sink())), false),
    ("AccessLog::json", |inner| Box::new(AccessLog::json(inner, io::sink())), false),
    ("Buffered", |inner| Box::new(Buffered::new(inner).memory(2)), false),
    (
        "TrustProxy",
        |inner| Box::new(TrustProxy::x_forwarded(inner, [For]).network("127.0.0.1".parse().unwrap())),
        false,
    ),
    ("HostAllowList", |inner| Box::new(HostAllowList::new(inner, ["localhost"])), false),
    ("BasicAuth", |inner| Box::new(with_password(BasicAuth::new(inner, "kit", [("a", "b")]))), false),
    ("Normalize", |inner| Box::new(Normalize::new(inner)), false),
    ("ErrorPages", |inner| Box::new(ErrorPages::new(inner).page(404..=404, "a/b", |_, _| "page".into())), false),
    ("Lint", |inner| Box::new(Lint::with(inner, |_| {})), false),
    ("the example's mount", |inner| Box::new(example_mount::Mount::default().at("", inner)), false),
    ("the example's timed", |inner| Box::new(example_middleware::timed(inner)), false),
    ("the example's shout", |inner| Box::new(example_middleware::shout(inner)), true),
];

/// Asks by the credentials `a:b`.
fn with_password(inner: impl Application) -> impl Application {
    move |environ: &Environ, start_response: &mut StartResponse| {
        let mut environ = environ.clone();
        environ.set("HTTP_AUTHORIZATION", "Basic YTpi");
        inner.call(&environ, start_response)
    }
}

/// The ways to answer, by the query. Those from `panics` on need a server around them.
const WAYS: [&str; 25] = [
    "whole",
    "whole-with-length",
    "empty",
    "no-content",
    "not-modified",
    "list",
    "file",
    "file-from-position",
    "blocks",
    "blocks-with-length",
    "empty-blocks",
    "no-blocks",
    "reader",
    "written",
    "late-whole",
    "late-blocks",
    "late-twice",
    "restarted",
    "restarted-after-empty-blocks",
    "started-twice",
    "never-started",
    "bad-status",
    "failed",
    "torn",
    "torn-at-once",
];
const WAYS_OF_PANICS: [&str; 3] = ["panics", "panics-late", "panics-in-the-body"];

fn blocks(texts: &'static [&'static str]) -> impl Iterator<Item = io::Result<Block>> + Send + 'static {
    texts.iter().map(|text| match *text {
        "ERROR" => Err(io::Error::other("torn")),
        "PANIC" => panic!("on purpose"),
        text => Ok(Block::from(text.as_bytes())),
    })
}

/// Answers in the way that the query names.
fn kit(
    environ: &Environ,
    start_response: &mut StartResponse,
) -> Result<Body, Box<dyn std::error::Error + Send + Sync>> {
    let plain: &[(&str, &str)] = &[("Content-Type", "text/plain"), ("X-Kit", "1")];
    let with_length: &[(&str, &str)] = &[("Content-Type", "text/plain"), ("Content-Length", "4")];
    let ok = "200 OK";
    let body = match environ.query_string() {
        "whole" => {
            start_response.start(ok, plain);
            Body::from("abcd")
        }
        "whole-with-length" => {
            start_response.start(ok, with_length);
            Body::from("abcd")
        }
        "empty" => {
            start_response.start(ok, plain);
            Body::empty()
        }
        "no-content" => {
            start_response.start("204 No Content", &[]);
            Body::empty()
        }
        "not-modified" => {
            start_response.start("304 Not Modified", &[("ETag", "\"1\"")]);
            Body::empty()
        }
        "list" => {
            start_response.start(ok, plain);
            Body::list(vec![b"ab".as_slice(), b"", b"cd"])
        }
        "file" => {
            start_response.start(ok, plain);
            Body::from(file_with("abcd"))
        }
        "file-from-position" => {
            start_response.start(ok, plain);
            let mut file = file_with("012345abcd");
            file.seek(SeekFrom::Start(6))?;
            Body::from(file)
        }
        "blocks" => {
            start_response.start(ok, plain);
            Body::blocks(blocks(&["ab", "cd"]))
        }
        "blocks-with-length" => {
            start_response.start(ok, with_length);
            Body::blocks(blocks(&["ab", "cd"]))
        }
        "empty-blocks" => {
            start_response.start(ok, plain);
            Body::blocks(blocks(&["", "ab", "", "", "cd", ""]))
        }
        "no-blocks" => {
            start_response.start(ok, plain);
            Body::blocks(blocks(&[]))
        }
        "reader" => {
            start_response.start(ok, plain);
            Body::reader(Cursor::new("abcd"))
        }
        "written" => {
            let mut writer = start_response.start(ok, plain);
            writer.write_all(b"")?;
            writer.write_all(b"w1")?;
            writer.write_all(b"w2")?;
            Body::from("abcd")
        }
        "late-whole" => Body::deferred(|start_response| {
            start_response.start("203 Late", &[("X-Late", "1")]);
            "abcd"
        }),
        "late-blocks" => Body::deferred(|start_response| {
            start_response.start("203 Late", &[("X-Late", "1")]);
            Body::blocks(blocks(&["ab", "", "cd"]))
        }),
        "late-twice" => {
            start_response.start(ok, plain);
            Body::deferred(|_| {
                Body::deferred(|start_response| {
                    start_response.restart("503 Later", &[("X-Late", "2")], "changed its mind").unwrap();
                    "abcd"
                })
            })
        }
        "restarted" => {
            start_response.start(ok, with_length);
            start_response.restart("503 Away", &[("X-Error", "1")], "the database")?;
            Body::from("sorry")
        }
        "restarted-after-empty-blocks" => {
            start_response.start(ok, with_length).write_all(b"")?;
            start_response.restart("503 Away", &[("X-Error", "1")], "the database")?;
            Body::blocks(blocks(&["", "sorry"]))
        }
        "started-twice" => {
            start_response.start(ok, plain);
            start_response.start(ok, plain);
            Body::from("abcd")
        }
        "never-started" => Body::from("abcd"),
        "bad-status" => {
            start_response.start("200 OK\r\nX: y", plain);
            Body::from("abcd")
        }
        "failed" => return Err("no such row".into()),
        "torn" => {
            start_response.start(ok, plain);
            Body::blocks(blocks(&["ab", "ERROR", "cd"]))
        }
        "torn-at-once" => {
            start_response.start(ok, plain);
            Body::blocks(blocks(&["", "ERROR", "cd"]))
        }
        "panics" => panic!("on purpose"),
        "panics-late" => Body::deferred(|_| -> Body { panic!("on purpose") }),
        "panics-in-the-body" => {
            start_response.start(ok, plain);
            Body::blocks(blocks(&["ab", "PANIC"]))
        }
        other => panic!("no way to answer called {other}"),
    };
    Ok(body)
}

/// A request that every middleware in `EVERY` has something to do with.
fn request(way: &str) -> Request {
    Request::post(&format!("/kit/?{way}"), "abcd")
        .header("X-Forwarded-For", "192.0.2.7")
        .variable("PATH_INFO", "/kit/./x")
}

/// A start_response that sends nowhere, and the number of blocks that were written.
fn nowhere() -> (StartResponse, Arc<AtomicUsize>) {
    struct Nowhere(Arc<AtomicUsize>);
    impl Transmit for Nowhere {
        fn head(&mut self, _: &Status, _: &Headers, block: &[u8]) -> io::Result<()> {
            self.block(block)
        }
        fn block(&mut self, _: &[u8]) -> io::Result<()> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }
    let written = Arc::new(AtomicUsize::new(0));
    (StartResponse::new(Box::new(Nowhere(Arc::clone(&written)))), written)
}

/// The fields, without the one that is an example's purpose.
fn fields(headers: &Headers) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = headers.iter().map(|(name, value)| (text(name), text(value)));
    fields.filter(|(name, _)| name != "Server-Timing").collect()
}

fn same_answers(name: &str, wrap: Wrap, changes: bool) {
    let wrapped = wrap(Box::new(kit));
    for way in WAYS {
        let (bare, through) = (request(way).call(&kit), request(way).call(&wrapped));
        let at = format!("{way} through {name}");
        assert_eq!(bare.status.to_string(), through.status.to_string(), "{at}");
        assert_eq!(bare.blocks, through.blocks, "{at}");
        assert_eq!(bare.error, through.error, "{at}");
        let mut expected = fields(&bare.headers);
        if changes {
            expected.retain(|(name, _)| name != "Content-Length" && name != "ETag");
        }
        assert_eq!(expected, fields(&through.headers), "{at}");
    }
}

#[test]
fn p_mw_01_whatever_an_application_answers_comes_out_of_every_middleware_as_it_went_in() {
    for (name, wrap, changes) in EVERY {
        same_answers(name, wrap, changes);
    }
}

fn same_lengths(name: &str, wrap: Wrap) {
    let wrapped = wrap(Box::new(kit));
    for way in WAYS {
        let environ = request(way).environ();
        let lengths = |application: &dyn Application| {
            let (mut start_response, _) = nowhere();
            let body = application.call(&environ, &mut start_response);
            (body.known_len(), body.resolve(&mut start_response).known_len())
        };
        environ.input().read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(lengths(&kit), lengths(&wrapped), "{way} through {name}");
    }
}

#[test]
fn p_mw_06_a_known_length_is_not_lost_where_the_bytes_stay_the_same() {
    for (name, wrap, _) in EVERY.into_iter().filter(|(_, _, changes)| !changes) {
        same_lengths(name, wrap);
    }
}

fn block_by_block(name: &str, wrap: Wrap) {
    for late in [false, true] {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let wrapped = wrap(Box::new(app(move |_: &Environ, start_response: &mut StartResponse| {
            let count = Arc::clone(&count);
            let make = move |start_response: &mut StartResponse| {
                start_response.start("200 OK", &[]);
                Body::blocks(blocks(&["", "a", "", "b", "c", ""]).inspect(move |_| {
                    count.fetch_add(1, Ordering::SeqCst);
                }))
            };
            if late { Body::deferred(make) } else { make(start_response) }
        })));
        let (mut start_response, written) = nowhere();
        let body = wrapped.call(&request("").environ(), &mut start_response);
        assert_eq!(asked.load(Ordering::SeqCst), 0, "{name} asks for a block before it returns");
        let mut outer = body.resolve(&mut start_response).into_blocks();
        for expected in 1..=6 {
            assert!(outer.next().is_some_and(|block| block.is_ok()), "{name}");
            assert_eq!(asked.load(Ordering::SeqCst), expected, "{name} waits for several blocks");
        }
        assert!(outer.next().is_none(), "{name}");
        assert_eq!(written.load(Ordering::SeqCst), 0, "P-MW-04: {name} writes what was yielded");
    }
}

#[test]
fn p_mw_02_03_a_body_is_returned_at_once_and_each_block_is_passed_on_before_the_next_is_asked_for() {
    for (name, wrap, _) in EVERY {
        block_by_block(name, wrap);
    }
}

fn closed_once(name: &str, wrap: Wrap) {
    for way in WAYS {
        let closed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&closed);
        let wrapped = wrap(Box::new(app(move |environ: &Environ, start_response: &mut StartResponse| {
            let count = Arc::clone(&count);
            Body::from(kit(environ, start_response)).on_close(move || {
                count.fetch_add(1, Ordering::SeqCst);
            })
        })));
        for ends in ["unresolved", "untouched", "after one block", "at its end"] {
            let (mut start_response, _) = nowhere();
            let body = wrapped.call(&request(way).environ(), &mut start_response);
            match ends {
                "unresolved" => drop(body),
                "untouched" => drop(body.resolve(&mut start_response)),
                "after one block" => drop(body.resolve(&mut start_response).into_blocks().next()),
                _ => body.resolve(&mut start_response).into_blocks().for_each(drop),
            }
            assert_eq!(closed.swap(0, Ordering::SeqCst), 1, "{way} through {name}, dropped {ends}");
        }
    }
}

#[test]
fn p_mw_05_close_is_passed_on_exactly_once_however_the_body_ends() {
    for (name, wrap, _) in EVERY {
        closed_once(name, wrap);
    }
}

/// Three blocks, and a panic when they are dropped.
struct Falls(std::ops::Range<u8>);

impl Iterator for Falls {
    type Item = String;
    fn next(&mut self) -> Option<String> {
        self.0.next().map(|number| number.to_string())
    }
}

impl Drop for Falls {
    fn drop(&mut self) {
        panic!("dropped on purpose");
    }
}

/// Bodies whose end is a panic.
fn falls(environ: &Environ, start_response: &mut StartResponse) -> Body {
    let mut writer = start_response.start("200 OK", &[("Content-Type", "text/plain")]);
    match &*environ.path() {
        "/blocks" => Body::blocks(Falls(0..3)),
        "/list" => Body::list(vec!["0".as_bytes(), b"12"]).on_close(|| panic!("closed on purpose")),
        path => {
            let wrote = if path == "/written" { writer.write_all(b"0") } else { Ok(()) };
            let rest = if path == "/written" { vec!["12"] } else { vec!["0", "12"] };
            wrote.map(|()| Body::blocks(rest).on_close(|| panic!("closed on purpose"))).into()
        }
    }
}

#[test]
fn p_err_06_a_panic_at_the_end_of_a_body_is_logged_once_whoever_has_changed_or_replaced_it() {
    let content = |limit| {
        move |environ: &Environ| {
            let mut response = Response::of(&falls, environ);
            response.content(limit);
            response
        }
    };
    let replaces = |environ: &Environ, start_response: &mut StartResponse| {
        let body = falls(environ, start_response);
        start_response.replace("404 Not Found", &Headers::new()).map(|_| body)
    };
    let tagged = |environ: &Environ, start_response: &mut StartResponse| {
        let body = falls(environ, start_response);
        start_response.replace("200 OK", &Headers::from(&[("ETag", "\"1\"")])).map(|_| body)
    };
    let houses: [(&str, Box<dyn Application>); 11] = [
        ("nobody", Box::new(falls)),
        ("the log", Box::new(AccessLog::common(falls, io::sink()))),
        ("map_blocks", Box::new(app(|environ, start_response| falls(environ, start_response).map_blocks(Ok)))),
        ("conditions", Box::new(ConditionalGet::new(falls))),
        ("what the client has", Box::new(ConditionalGet::new(tagged))),
        ("what the client has not", Box::new(ConditionalGet::new(tagged))),
        ("a response", Box::new(simple(|environ: &Environ| Response::of(&falls, environ)))),
        ("all content", Box::new(simple(content(3)))),
        ("some content", Box::new(simple(content(2)))),
        ("pages", Box::new(ErrorPages::new(falls).page(404..=404, "a/b", |_, _| "page".into()))),
        ("a page", Box::new(ErrorPages::new(replaces).page(404..=404, "a/b", |_, _| "page".into()))),
    ];
    for (name, house) in houses {
        let house = serve(house);
        for path in ["/close", "/blocks", "/list", "/written"] {
            // What is written cannot be replaced.
            if matches!((path, name), ("/written", "a page" | "what the client has" | "what the client has not")) {
                continue;
            }
            let (condition, text) = match name {
                "what the client has" => ("If-None-Match: *\r\n", ""),
                "what the client has not" => ("If-Match: \"other\"\r\n", "Precondition Failed\n"),
                "a page" => ("", "page"),
                _ => ("", "012"),
            };
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{condition}Connection: close\r\n\r\n");
            let response = house.ask_one(request.as_bytes());
            assert_eq!(response.text(), text, "{path} through {name}");
            house.log.take_accesses(1);
            assert_eq!(house.log.causes(), [Cause::ClosePanic], "{path} through {name}");
            house.log.take(Cause::ClosePanic);
        }
    }
}

#[test]
fn p_mw_08_two_requests_at_once_through_one_middleware_do_not_mix() {
    for (name, wrap, _) in EVERY {
        let wrapped = wrap(Box::new(app(|environ: &Environ, start_response: &mut StartResponse| {
            let query = environ.query_string().to_owned();
            start_response.start("200 OK", &[("X-Query", &query)]);
            Body::blocks([query, String::new()])
        })));
        let ((mut one, _), (mut two, _)) = (nowhere(), nowhere());
        let first = wrapped.call(&request("1").environ(), &mut one);
        let second = wrapped.call(&request("2").environ(), &mut two);
        let text = |body: Body| body.into_blocks().map(Result::unwrap).collect::<Vec<_>>().concat();
        assert_eq!(
            (text(second.resolve(&mut two)), text(first.resolve(&mut one))),
            (b"2".to_vec(), b"1".to_vec()),
            "{name}"
        );
        assert_eq!(one.headers().unwrap().get("X-Query").as_deref(), Some("1"), "{name}");
        assert_eq!(two.headers().unwrap().get("X-Query").as_deref(), Some("2"), "{name}");
    }
}

#[test]
fn p_mw_01_lint_on_both_sides_has_nothing_to_say_about_any_middleware() {
    for (name, wrap, _) in EVERY {
        for way in WAYS {
            let found = Arc::new(Mutex::new(Vec::new()));
            let (inside, outside) = (Arc::clone(&found), Arc::clone(&found));
            let keep = |found: &Mutex<Vec<String>>, finding: &doorway::middleware::Finding| {
                if finding.level >= Level::Warning && finding.culprit == Culprit::Middleware {
                    locked(found).push(finding.to_string());
                }
            };
            let inner = Lint::with(kit, move |finding| keep(&inside, finding));
            let outer = Lint::with(wrap(Box::new(inner)), move |finding| keep(&outside, finding));
            request(way).call(&outer);
            assert_eq!(*locked(&found), [""; 0], "{way} through {name}");
        }
    }
}

/// Everything that a server sends on one connection, without what differs from run to run.
fn wire(house: &House, request: &str) -> String {
    let mut client = house.client();
    client.send(request.as_bytes());
    let text = client.until_end().escape_ascii().to_string();
    // Then its reports are there as well.
    house.log.take_accesses(1);
    let lines = text.split("\\r\\n").filter(|line| !line.starts_with("Date: ") && !line.starts_with("Server-Timing: "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn p_mw_01_on_the_wire_every_middleware_leaves_every_byte_as_it_is() {
    let (bare, mut reported) = (serve(kit), 0);
    for (name, wrap, _) in EVERY.into_iter().filter(|(_, _, changes)| !changes) {
        let house = serve(wrap(Box::new(kit)));
        for way in WAYS.into_iter().chain(WAYS_OF_PANICS) {
            for request in [
                format!(
                    "GET /kit?{way} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: ::1\r\nConnection: close\r\n\r\n"
                ),
                format!("HEAD /kit?{way} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
                format!("PUT /kit/a//..?{way} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nabcd"),
            ] {
                assert_eq!(wire(&bare, &request), wire(&house, &request), "{name}: {request}");
            }
        }
        let causes =
            |house: &House| house.log.reports().into_iter().map(|seen| (seen.cause, seen.detail)).collect::<Vec<_>>();
        assert_eq!(causes(&bare)[reported..], causes(&house), "{name}");
        reported = causes(&bare).len();
    }
}

#[test]
fn p_mw_06_on_the_wire_a_middleware_that_changes_bytes_sends_the_changed_ones_whole() {
    let house = serve(example_middleware::shout(app(|environ: &Environ, start_response: &mut StartResponse| {
        let mut writer = start_response.start("200 OK", &[("Content-Length", "4")]);
        if environ.query_string() == "written" {
            writer.write_all(b"a!").unwrap();
            return Body::from("b!");
        }
        Body::from(file_with("a!b!"))
    })));
    for target in ["/", "/?written"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let response = house.ask_one(request.as_bytes());
        assert_eq!((response.delimiter, response.text()), (Delimiter::Chunked, "a!!b!!"));
    }
    assert_eq!(house.log.reports(), []);
}

#[test]
fn p_mw_01_all_of_them_around_each_other_are_still_one_application() {
    let mut all: Box<dyn Application> = Box::new(kit);
    for (_, wrap, changes) in EVERY {
        if !changes {
            let environ = request("whole").environ();
            assert!(environ.path().starts_with("/kit"));
            all = wrap(all);
        }
    }
    for way in WAYS {
        // Two of them are mounts at the root and one is at /kit, which all requests are for.
        let (bare, through) = (request(way).call(&kit), request(way).call(&all));
        assert_eq!(
            (bare.status.code(), bare.blocks, bare.error),
            (through.status.code(), through.blocks, through.error)
        );
    }
}

/// The kit is only worth something if a middleware that sins does not pass it.
mod the_kit_catches {
    use super::*;

    fn around(inner: Box<dyn Application>, change: fn(Body) -> Body) -> Box<dyn Application> {
        Box::new(app(move |environ: &Environ, start_response: &mut StartResponse| {
            change(inner.call(environ, start_response))
        }))
    }

    #[test]
    #[should_panic = "whole through a sinner"]
    fn a_length_that_is_lost() {
        same_lengths("a sinner", |inner| around(inner, |body| body.map_blocks(Ok)));
    }

    #[test]
    #[should_panic = "a sinner asks for a block before it returns"]
    fn a_body_that_is_gathered() {
        block_by_block("a sinner", |inner| {
            around(inner, |body| Body::list(body.into_blocks().map(Result::unwrap).collect::<Vec<_>>()))
        });
    }

    #[test]
    #[should_panic = "a sinner waits for several blocks"]
    fn a_block_that_is_held_back() {
        block_by_block("a sinner", |inner| {
            around(inner, |body| {
                Body::deferred(|start_response| {
                    let mut blocks = body.resolve(start_response).into_blocks();
                    Body::blocks(std::iter::from_fn(move || {
                        blocks.find(|block| block.as_ref().is_ok_and(|b| !b.is_empty()))
                    }))
                })
            })
        });
    }

    #[test]
    #[should_panic = "late-whole through a sinner"]
    fn a_body_that_is_not_made_late() {
        same_answers("a sinner", |inner| around(inner, |body| Body::blocks(body.into_blocks())), false);
    }

    #[test]
    #[should_panic = "whole through a sinner, dropped unresolved"]
    fn a_body_that_is_never_closed() {
        closed_once("a sinner", |inner| {
            around(inner, |body| {
                std::mem::forget(body);
                Body::empty()
            })
        });
    }

    #[test]
    #[should_panic = "late-twice through a sinner"]
    fn a_head_that_is_decided_once() {
        same_answers(
            "a sinner",
            |inner| {
                Box::new(app(move |environ: &Environ, start_response: &mut StartResponse| {
                    let mut first = true;
                    start_response.on_start(move |_, headers| {
                        if !std::mem::take(&mut first) {
                            headers.clear();
                        }
                    });
                    inner.call(environ, start_response)
                }))
            },
            false,
        );
    }
}
