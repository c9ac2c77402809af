//! WebSockets and other upgrades through `app::Proxy`: what passes, what does not, and how it ends.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use doorway::{Body, Cause, Door, Environ, Server, StartResponse, app};
use support::{Client, Collected, House, PATIENCE, has_head, scripted, serve, serve_with};

const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn handshake(fields: &str) -> String {
    format!(
        "GET /live?a HTTP/1.1\r\nHost: site.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
    )
}

/// An upstream that says this to each handshake and hands out its head and the connection.
fn upstream(answer: impl Into<String>) -> (SocketAddr, Receiver<(String, TcpStream)>) {
    let answer = answer.into();
    let (sender, connections): (Sender<(String, TcpStream)>, _) = channel();
    let address = scripted(has_head, move |mut stream, head| {
        stream.write_all(answer.as_bytes()).unwrap();
        // The test may have ended.
        let _ = sender.send((String::from_utf8(head).unwrap(), stream));
    });
    (address, connections)
}

fn proxy(address: SocketAddr) -> app::Proxy {
    app::Proxy::to(&format!("http://{address}")).unwrap()
}

/// A client whose handshake went through, and the connection at the other end.
fn connected(house: &House, connections: &Receiver<(String, TcpStream)>) -> (Client<TcpStream>, TcpStream) {
    let mut client = house.client();
    client.send(handshake("").as_bytes());
    assert_eq!(client.response().status, 101);
    (client, connections.recv_timeout(PATIENCE).unwrap().1)
}

fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn rfc6455_4_a_handshake_passes_with_its_fields_and_then_bytes_pass_both_ways() {
    let (address, connections) = upstream(format!("{ANSWER}first"));
    let house = serve(proxy(address));
    let mut client = house.client();
    // Neither side waits for the other: what stands behind the heads is no part of them.
    let fields = "Origin: http://site.example\r\nSec-WebSocket-Protocol: a, b\r\nCookie: c=d\r\n";
    client.send(format!("{}early", handshake(fields)).as_bytes());
    let response = client.response();
    assert_eq!((response.status, response.field("Upgrade")), (101, Some("websocket")));
    assert_eq!(response.field("Connection"), Some("Upgrade"));
    assert_eq!(response.field("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    client.until(b"first");
    let (head, mut behind) = connections.recv_timeout(PATIENCE).unwrap();
    assert!(head.starts_with("GET /live?a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"), "{head}");
    for line in [
        "Sec-Websocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-Websocket-Version: 13",
        "Sec-Websocket-Protocol: a, b",
        "Cookie: c=d",
        "X-Forwarded-Host: site.example",
    ] {
        assert_eq!(head.lines().filter(|other| *other == line).count(), 1, "{line}\n{head}");
    }
    // A server compares these two: a page of this server is one of its own.
    assert!(head.contains(&format!("\r\nHost: {address}\r\n")), "{head}");
    assert!(head.contains(&format!("\r\nOrigin: http://{address}\r\n")), "{head}");
    assert_eq!(read(&mut behind, 5), b"early");
    let large: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    std::thread::scope(|scope| {
        let mut writer = behind.try_clone().unwrap();
        let sent = &large;
        scope.spawn(move || writer.write_all(sent).unwrap());
        let mut writer = client.stream.try_clone().unwrap();
        scope.spawn(move || writer.write_all(sent).unwrap());
        assert_eq!(read(&mut behind, large.len()), large);
        client.until(&large[large.len() - 1000..]);
    });
    // A half-close passes too, in this direction and then in the other.
    client.stop_sending();
    assert_eq!(behind.read(&mut [0]).unwrap(), 0);
    behind.write_all(b"last").unwrap();
    drop(behind);
    let all = client.until_close();
    assert_eq!(all.len(), 5 + large.len() + 4);
    assert_eq!(house.log.take_accesses(1), [(101, all.len() as u64)]);
    assert!(house.log.reports().is_empty(), "{:?}", house.log.reports());
}

#[test]
fn rfc6454_7_a_page_of_another_site_stays_one() {
    let (address, connections) = upstream(ANSWER);
    for (origin, keeps_host) in [
        ("http://evil.example", false),
        ("http://site.example:81", false),
        ("null", false),
        ("http://site.example", true),
    ] {
        let house = serve(if keeps_host { proxy(address).keep_host() } else { proxy(address) });
        let mut client = house.client();
        client.send(handshake(&format!("Origin: {origin}\r\n")).as_bytes());
        assert_eq!(client.response().status, 101);
        let (head, _) = connections.recv_timeout(PATIENCE).unwrap();
        assert!(head.contains(&format!("\r\nOrigin: {origin}\r\n")), "{head}");
    }
}

#[test]
fn rfc6454_7_a_page_of_this_site_is_one_of_the_upstream_by_tls_too_that_a_front_server_has_taken_off() {
    let (address, connections) = upstream(ANSWER);
    let house = serve(proxy(address));
    for origin in ["http://site.example", "https://site.example"] {
        let mut client = house.client();
        client.send(handshake(&format!("Origin: {origin}\r\n")).as_bytes());
        assert_eq!(client.response().status, 101);
        let (head, _) = connections.recv_timeout(PATIENCE).unwrap();
        assert!(head.contains(&format!("\r\nOrigin: http://{address}\r\n")), "{head}");
    }
}

#[test]
fn rfc9110_7_8_a_switch_to_what_was_not_asked_for_is_a_502() {
    let head = |fields: &str| format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
    for answer in [
        head(""),
        head("Connection: Upgrade\r\n"),
        head("Upgrade: h2c\r\n"),
        head("Upgrade: websocket\r\nUpgrade: h2c\r\n"),
        head("Upgrade: websocket, h2c\r\n"),
    ] {
        let (address, connections) = upstream(answer.as_str());
        let house = serve(proxy(address));
        let mut client = house.client();
        client.send(handshake("").as_bytes());
        assert_eq!(client.response().status, 502, "{answer}");
        assert!(house.log.take(Cause::ApplicationError).detail.contains("5003 upstream-invalid"), "{answer}");
        let (_, mut behind) = connections.recv_timeout(PATIENCE).unwrap();
        assert_eq!(behind.read(&mut [0]).unwrap(), 0, "the connection ends");
    }
}

#[test]
fn an_upstream_that_does_not_switch_answers_as_ever_and_the_connection_stays() {
    for (answer, status, text) in [
        ("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\nUpgrade: x\r\n\r\nno", 426, "no"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, "ok"),
        ("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403, ""),
    ] {
        let (address, connections) = upstream(answer);
        let house = serve(proxy(address));
        let mut client = house.client();
        for _ in 0..2 {
            // What follows is a request and nothing else: nobody has switched.
            client.send(handshake("").as_bytes());
            let response = client.response();
            assert_eq!((response.status, response.text()), (status, text));
            drop(connections.recv_timeout(PATIENCE).unwrap());
        }
    }
}

#[test]
fn no_other_protocol_passes_unless_the_deployer_names_it() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n";
    let (address, connections) = upstream("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let house = serve(proxy(address));
    let mut client = house.client();
    client.send(request.as_bytes());
    assert_eq!(client.response().text(), "ok");
    let (head, _) = connections.recv_timeout(PATIENCE).unwrap();
    assert!(!head.contains("pgrade") && !head.to_lowercase().contains("http2-settings"), "{head}");

    let (address, connections) = upstream("HTTP/1.1 101 Fine\r\nUpgrade: tcp\r\n\r\nhello");
    let house = serve(proxy(address).upgrade_to("tcp"));
    let mut client = house.client();
    client.send(request.replace("h2c", "h2c, tcp").as_bytes());
    assert_eq!((client.response().field("Upgrade"), client.until(b"hello").len()), (Some("tcp"), 5));
    let (head, _) = connections.recv_timeout(PATIENCE).unwrap();
    assert!(head.contains("\r\nUpgrade: tcp\r\n") && !head.to_lowercase().contains("http2-settings"), "{head}");
}

#[test]
fn a_handshake_that_cannot_switch_is_a_501_that_says_so() {
    let (address, connections) = upstream(ANSWER);
    let house = serve(proxy(address));
    let response = house.ask_one(handshake("").replace("HTTP/1.1", "HTTP/1.0").as_bytes());
    assert_eq!(
        (response.status, response.text()),
        (501, "501 Not Implemented: an upgrade such as a WebSocket, which cannot be passed on from here.\n")
    );
    let seen = house.log.take(Cause::ApplicationError);
    assert!(seen.detail.contains("let the page connect to the upstream itself"), "{}", seen.line);

    let log = Collected::default();
    let server = Server::bind("127.0.0.1:0").unwrap().door(Door::Scgi).log(log.clone());
    let handle = server.spawn(proxy(address)).unwrap();
    let block = "CONTENT_LENGTH\x000\0SCGI\x001\0REQUEST_METHOD\0GET\0REQUEST_URI\0/\0SERVER_PROTOCOL\0HTTP/1.1\0\
        HTTP_UPGRADE\0websocket\0HTTP_CONNECTION\0Upgrade\0HTTP_SEC_WEBSOCKET_KEY\0x\0";
    let mut front = TcpStream::connect(handle.addr()).unwrap();
    front.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(front, "{}:{block},", block.len()).unwrap();
    let mut answer = String::new();
    front.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("Status: 501 "), "{answer}");
    assert!(connections.try_recv().is_err(), "nobody was asked");
}

#[test]
fn a_side_that_breaks_ends_the_other() {
    let (address, connections) = upstream(ANSWER);
    let house = serve(proxy(address));
    let (mut client, behind) = connected(&house, &connections);
    client.send(b"unread, so that the end is a reset");
    drop(behind);
    client.until_end();
    drop(client);
    let (client, mut behind) = connected(&house, &connections);
    behind.write_all(b"unread").unwrap();
    client.stream.shutdown(Shutdown::Both).unwrap();
    drop(client);
    let _ = behind.read_to_end(&mut Vec::new());
    drop(behind);
    house.until("all ended", |stats| stats.open == 0);
}

#[test]
fn nothing_said_for_the_deadline_ends_both_and_a_word_in_either_direction_puts_it_off() {
    let (address, connections) = upstream(ANSWER);
    let house = serve(proxy(address).tunnel_deadline(Duration::from_millis(150)));
    let (mut client, mut behind) = connected(&house, &connections);
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_millis(600) {
        // Each waits for the other: no direction is silent for long, and one of them says nothing at all.
        behind.write_all(b"x").unwrap();
        client.until(b"x");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(behind.read(&mut [0]).unwrap(), 0);
    client.until_end();
}

#[test]
fn past_the_limit_of_the_server_is_a_503_and_the_upstream_is_let_go() {
    let (address, connections) = upstream(ANSWER);
    let house = serve_with(proxy(address), |settings| settings.upgrades = 1);
    let (_client, _behind) = connected(&house, &connections);
    let mut second = house.client();
    second.send(handshake("").as_bytes());
    assert_eq!(second.response().status, 503);
    house.log.take(Cause::UpgradeLimit);
    let (_, mut behind) = connections.recv_timeout(PATIENCE).unwrap();
    assert_eq!(behind.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_stop_whose_grace_is_over_ends_both_sides() {
    let (address, connections) = upstream(ANSWER);
    let house = serve(proxy(address));
    let (mut client, mut behind) = connected(&house, &connections);
    assert_eq!(house.handle.shutdown(Duration::from_millis(20)).open, 0);
    assert_eq!(behind.read(&mut [0]).unwrap_or(0), 0);
    client.until_end();
}

#[test]
fn a_stream_that_cannot_be_read_and_written_at_once_ends_and_the_log_says_so() {
    let (address, connections) = upstream(ANSWER);
    let log = Collected::default();
    let stream = std::io::Cursor::new(handshake("").into_bytes());
    Server::unbound().log(log.clone()).serve_connection(stream, proxy(address));
    assert_eq!(log.texts(), ["tunnel: unsupported\n"]);
    let (_, mut behind) = connections.recv_timeout(PATIENCE).unwrap();
    assert_eq!(behind.read(&mut [0]).unwrap(), 0);
}

#[test]
fn two_of_them_in_a_row_and_a_doorway_behind_pass_it_on() {
    fn shout(environ: &Environ, start_response: &mut StartResponse) -> Body {
        assert!(environ.offers_upgrade("websocket"));
        start_response.start("101 Switching Protocols", &[]);
        Body::upgrade("websocket", |mut connection| {
            let mut room = [0; 64];
            while let Ok(length @ 1..) = connection.read(&mut room) {
                connection.write_all(&room[..length].to_ascii_uppercase()).unwrap();
            }
        })
    }
    let last = serve(shout);
    let middle = serve(proxy(last.tcp()));
    let first = serve(proxy(middle.tcp()));
    let mut client = first.client();
    client.send(handshake("").as_bytes());
    assert_eq!(client.response().status, 101);
    client.send(b"hello");
    client.until(b"HELLO");
    client.stop_sending();
    assert_eq!(client.until_close(), b"HELLO");
}
