//! What a request costs, piece by piece and as a whole. Names never change, so that commits can be compared.
//!
//! Each piece asserts its result before it is timed. `README.md` beside this file says how to compare.

use std::hint::black_box;
use std::io::{self, Cursor, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use doorway::http::chunked::{CRLF, Decoder, LAST_CHUNK, Step, size_line};
use doorway::http::date::imf_fixdate;
use doorway::http::head::{Limits, Parsed, Spans, parse};
use doorway::multipart::{Limits as FormLimits, Parts};
use doorway::{Body, Environ, Server, StartResponse, serve_connection};

/// What a small client sends: 57 bytes.
const SHORT: &[u8] = b"GET /user HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept: */*\r\n\r\n";

/// The request with which parsers have been compared since picohttpparser: 703 bytes, nine fields.
const BROWSER: &[u8] = b"GET /wp-content/uploads/2010/03/hello-kitty-darth-vader-pink.jpg HTTP/1.1\r\n\
Host: www.kittyhell.com\r\n\
User-Agent: Mozilla/5.0 (Macintosh; U; Intel Mac OS X 10.6; ja-JP-mac; rv:1.9.2.3) Gecko/20100401 Firefox/3.6.3 Pathtraq/0.9\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
Accept-Language: ja,en-us;q=0.7,en;q=0.3\r\n\
Accept-Encoding: gzip,deflate\r\n\
Accept-Charset: Shift_JIS,utf-8;q=0.7,*;q=0.7\r\n\
Keep-Alive: 115\r\n\
Connection: keep-alive\r\n\
Cookie: wp_ozh_wsa_visits=2; wp_ozh_wsa_visit_lasttime=xxxxxxxxxx; __utma=xxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.x; \
__utmz=xxxxxxxxx.xxxxxxxxxx.x.x.utmccn=(referral)|utmcsr=reader.livedoor.com|utmcct=/reader/|utmcmd=referral\r\n\r\n";

/// Heads of twenty clients: browsers, tools, libraries and front servers, which spell and order their fields in their own ways.
fn clients() -> Vec<Vec<u8>> {
    const AGENT: &str =
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
    const ACCEPT: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
    let fields = [
        "Host: a.test|Connection: keep-alive|sec-ch-ua: \"Chromium\";v=\"140\"|sec-ch-ua-mobile: ?0|sec-ch-ua-platform: \"Linux\"|\
         Upgrade-Insecure-Requests: 1|User-Agent: AGENT|Accept: ACCEPT|Sec-Fetch-Site: none|Sec-Fetch-Mode: navigate|Sec-Fetch-User: ?1|\
         Sec-Fetch-Dest: document|Accept-Encoding: gzip, deflate, br, zstd|Accept-Language: en-US,en;q=0.9|Cookie: session=3f9a1c7e5b2d4860",
        "Host: a.test|User-Agent: AGENT|Accept: ACCEPT|Accept-Language: en-US,en;q=0.5|Accept-Encoding: gzip, deflate, br, zstd|\
         Connection: keep-alive|Cookie: session=3f9a1c7e5b2d4860; theme=dark|Upgrade-Insecure-Requests: 1|Sec-Fetch-Dest: document|\
         Sec-Fetch-Mode: navigate|Sec-Fetch-Site: same-origin|Sec-Fetch-User: ?1|Priority: u=0, i",
        "Host: a.test|Accept: ACCEPT|Sec-Fetch-Site: none|Cookie: a=b|Sec-Fetch-Dest: document|Accept-Language: de-DE|\
         Sec-Fetch-Mode: navigate|User-Agent: AGENT|Accept-Encoding: gzip, deflate, br|Connection: keep-alive",
        "Host: a.test|User-Agent: curl/8.14.1|Accept: */*",
        "Host: a.test|User-Agent: Wget/1.25.0|Accept: */*|Accept-Encoding: identity|Connection: Keep-Alive",
        "Host: a.test|User-Agent: python-requests/2.32|Accept-Encoding: gzip, deflate|Accept: */*|Connection: keep-alive",
        "Host: a.test|User-Agent: Go-http-client/1.1|Accept-Encoding: gzip",
        "Host: a.test|Connection: Keep-Alive|Accept-Encoding: gzip|User-Agent: okhttp/4.12.0",
        "host: a.test|connection: keep-alive|accept: */*|accept-language: *|sec-fetch-mode: cors|user-agent: node|\
         accept-encoding: br, gzip, deflate",
        "accept: application/json|content-type: application/json|user-agent: axios/1.7|content-length: 0|host: a.test|Connection: close",
        "X-Real-IP: 192.0.2.7|X-Forwarded-For: 192.0.2.7|X-Forwarded-Proto: https|Host: a.test|Connection: close|User-Agent: AGENT|\
         Accept: ACCEPT|Accept-Encoding: gzip, br|Accept-Language: fr|Cookie: id=1; theme=dark",
        "host: a.test|user-agent: AGENT|accept: ACCEPT|x-forwarded-for: 192.0.2.7|x-forwarded-proto: https|x-request-id: 7f3c|\
         x-envoy-expected-rq-timeout-ms: 15000",
        "X-Forwarded-Host: a.test|X-Forwarded-Port: 443|X-Forwarded-Server: front|Host: a.test|User-Agent: AGENT|Accept: */*|\
         X-Requested-With: XMLHttpRequest|Referer: https://a.test/list?page=3",
        "Host: a.test|User-Agent: ELB-HealthChecker/2.0|Accept-Encoding: gzip, compressed|Connection: close",
        "Host: a.test|User-Agent: Prometheus/3.0|Accept: application/openmetrics-text;version=1.0.0|Accept-Encoding: gzip|\
         X-Prometheus-Scrape-Timeout-Seconds: 10",
        "Connection: keep-alive|Accept: */*|From: bot@example.org|User-Agent: AGENT|Accept-Encoding: gzip, deflate, br|\
         If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT|Host: a.test",
        "Host: a.test|User-Agent: AGENT|Accept: image/avif,image/webp,*/*|Range: bytes=0-1023|Referer: https://a.test/|\
         If-None-Match: \"5f3b-1a2b3c4d\"|Cache-Control: max-age=0|DNT: 1|Sec-GPC: 1",
        "Host: a.test|Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.ZRrHA1JJJW8opsbCGfG_HACGpVUMN_a9IV7pAx_Zmeo|Accept: application/json|\
         User-Agent: app/1.0 CFNetwork/1410 Darwin/22.6.0|Accept-Language: en-GB|traceparent: 00-0af7651916cd43dd8448eb211c80319c-01",
        "Upgrade: websocket|Connection: Upgrade|Host: a.test|Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==|Sec-WebSocket-Version: 13|\
         Origin: https://a.test|Sec-WebSocket-Extensions: permessage-deflate",
        "User-Agent: AGENT|Host: a.test|Accept: */*|X-API-Key: 0123456789abcdef|X-Tenant: example|X-Trace: 1-2-3|Pragma: no-cache",
    ];
    let head = |fields: &&str| {
        let fields = fields.replace("AGENT", AGENT).replace("ACCEPT", ACCEPT).replace('|', "\r\n");
        format!("GET /list?page=3 HTTP/1.1\r\n{fields}\r\n\r\n").into_bytes()
    };
    fields.iter().map(head).collect()
}

/// How many requests one connection in memory carries, so that its opening does not weigh.
const EXCHANGES: usize = 64;

fn hello(_environ: &Environ, start_response: &mut StartResponse) -> Body {
    start_response.start("200 OK", &[("Content-Type", "text/plain")]);
    Body::from("Hello, World!")
}

/// The length of a whole head; `None` for one without its end.
fn head_len(bytes: &[u8], spans: &mut Spans) -> Option<usize> {
    match parse(bytes, &Limits::default(), spans) {
        Parsed::Complete(head) => Some(head.len()),
        Parsed::Incomplete => None,
        Parsed::Invalid(cause) => panic!("{cause}"),
    }
}

fn head_parse(criterion: &mut Criterion) {
    let incomplete = &BROWSER[..BROWSER.len() - 1];
    assert_eq!((SHORT.len(), BROWSER.len()), (57, 703));
    let mut group = criterion.benchmark_group("head_parse");
    for (name, bytes, expected) in [
        ("short_57B", SHORT, Some(57)),
        ("browser_703B", BROWSER, Some(703)),
        // All but the last byte: what is spent on a head that comes in two pieces.
        ("incomplete_703B", incomplete, None),
    ] {
        let mut spans = Spans::new();
        assert_eq!(head_len(bytes, &mut spans), expected, "{name}");
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| head_len(black_box(bytes), &mut spans)));
    }
    // The same head again and again is what a parser can guess; clients in turn are not.
    let (clients, mut spans) = (clients(), Spans::new());
    let all = |spans: &mut Spans| clients.iter().filter_map(|head| head_len(black_box(head), spans)).sum::<usize>();
    let bytes: usize = clients.iter().map(Vec::len).sum();
    assert_eq!((clients.len(), all(&mut spans)), (20, bytes));
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("mixed_20_clients", |bencher| bencher.iter(|| all(&mut spans)));
    group.finish();
}

/// The number of bytes of data in a chunked content.
fn chunked_len(mut bytes: &[u8]) -> usize {
    let (mut decoder, mut total) = (Decoder::default(), 0);
    loop {
        let (consumed, step) = decoder.step(bytes);
        bytes = &bytes[consumed..];
        match step {
            Step::Data { len } => {
                decoder.advance(len as u64);
                bytes = &bytes[len..];
                total += len;
            }
            Step::End => return total,
            Step::Incomplete | Step::Invalid(_) => panic!("a whole content"),
        }
    }
}

fn chunked_decode(criterion: &mut Criterion) {
    const SIZE: usize = 64 * 1024;
    let mut content = Vec::new();
    for block in vec![b'x'; SIZE].chunks(1024) {
        write!(content, "{:x}\r\n", block.len()).unwrap();
        content.extend_from_slice(block);
        content.extend_from_slice(b"\r\n");
    }
    content.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(chunked_len(&content), SIZE);
    let mut group = criterion.benchmark_group("chunked_decode");
    group.throughput(Throughput::Bytes(SIZE as u64));
    group.bench_function("64KiB", |bencher| bencher.iter(|| chunked_len(black_box(&content))));
    group.finish();
}

fn chunked_encode(criterion: &mut Criterion) {
    const SIZE: usize = 64 * 1024;
    let content = vec![b'x'; SIZE];
    let encode = |content: &[u8], out: &mut Vec<u8>| {
        out.clear();
        for block in content.chunks(1024) {
            out.extend_from_slice(size_line(block.len(), &mut [0; 18]));
            out.extend_from_slice(block);
            out.extend_from_slice(CRLF);
        }
        out.extend_from_slice(LAST_CHUNK);
        out.len()
    };
    let mut out = Vec::new();
    encode(&content, &mut out);
    assert_eq!(chunked_len(&out), SIZE);
    let mut group = criterion.benchmark_group("chunked_encode");
    group.throughput(Throughput::Bytes(SIZE as u64));
    group.bench_function("64KiB", |bencher| bencher.iter(|| encode(black_box(&content), &mut out)));
    group.finish();
}

fn date(criterion: &mut Criterion) {
    assert_eq!(&imf_fixdate(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
    criterion.bench_function("date", |bencher| bencher.iter(|| imf_fixdate(black_box(784_111_777))));
}

/// A client in memory: says everything at once and only counts what it hears.
struct Client {
    says: Cursor<Vec<u8>>,
    heard: Arc<AtomicUsize>,
}

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.says.read(buffer)
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.heard.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The number of bytes that come back for pipelined requests.
fn exchange(requests: Vec<u8>) -> usize {
    exchange_with(requests, hello)
}

fn exchange_with(requests: Vec<u8>, application: fn(&Environ, &mut StartResponse) -> Body) -> usize {
    let heard = Arc::new(AtomicUsize::new(0));
    let client = Client { says: Cursor::new(requests), heard: Arc::clone(&heard) };
    serve_connection(client, application);
    heard.load(Ordering::Relaxed)
}

/// A head as applications with a session and a policy have it: ten fields, 430 bytes.
fn ten_fields(_environ: &Environ, start_response: &mut StartResponse) -> Body {
    let fields = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Cache-Control", "no-cache, private"),
        ("ETag", "\"5f3b-1a2b3c4d\""),
        ("Vary", "Accept-Encoding, Cookie"),
        ("Set-Cookie", "session=0123456789abcdef; Path=/; HttpOnly; SameSite=Lax"),
        ("Content-Security-Policy", "default-src 'self'; img-src 'self' data:"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "same-origin"),
        ("Strict-Transport-Security", "max-age=31536000"),
        ("Content-Language", "en"),
    ];
    start_response.start("200 OK", &fields);
    Body::empty()
}

/// Exchanges without a socket: a small head, checked and written, and a larger one.
fn response_head(criterion: &mut Criterion) {
    let requests = SHORT.repeat(EXCHANGES);
    let mut group = criterion.benchmark_group("response_head");
    group.throughput(Throughput::Elements(EXCHANGES as u64));
    for (name, application) in
        [("exchange_1_field", hello as fn(&Environ, &mut StartResponse) -> Body), ("exchange_10_fields", ten_fields)]
    {
        let one = exchange_with(SHORT.to_vec(), application);
        assert_eq!(exchange_with(requests.clone(), application), one * EXCHANGES, "{name}");
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || requests.clone(),
                |requests| exchange_with(requests, application),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn environ(criterion: &mut Criterion) {
    let one = exchange(BROWSER.to_vec());
    assert!(one > 100, "{one} bytes are no response");
    let requests = BROWSER.repeat(EXCHANGES);
    assert_eq!(exchange(requests.clone()), one * EXCHANGES);
    let mut group = criterion.benchmark_group("environ");
    group.throughput(Throughput::Elements(EXCHANGES as u64));
    group.bench_function("exchange", |bencher| {
        bencher.iter_batched(|| requests.clone(), exchange, criterion::BatchSize::SmallInput);
    });
    // Those that keep the connection, three times over.
    let mut mixed = clients();
    mixed.retain(|head| !String::from_utf8_lossy(head).contains("onnection: close"));
    let requests = mixed.concat().repeat(3);
    group.throughput(Throughput::Elements(3 * mixed.len() as u64));
    assert_eq!(exchange(requests.clone()), one * 3 * mixed.len());
    group.bench_function("exchange_mixed", |bencher| {
        bencher.iter_batched(|| requests.clone(), exchange, criterion::BatchSize::SmallInput);
    });
    group.finish();
}

fn loopback(criterion: &mut Criterion) {
    const REQUEST: &[u8] = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    const LAST: &[u8] = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let handle = Server::bind("127.0.0.1:0").unwrap().spawn(hello).unwrap();
    let connect = || {
        let client = TcpStream::connect(handle.addr()).unwrap();
        client.set_nodelay(true).unwrap();
        client
    };
    let ask_and_close = || {
        let (mut client, mut response) = (connect(), Vec::with_capacity(1024));
        client.write_all(LAST).unwrap();
        client.read_to_end(&mut response).unwrap();
        response
    };
    let response = ask_and_close();
    assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n") && response.ends_with(b"Hello, World!"));

    let mut group = criterion.benchmark_group("loopback");
    let mut client = connect();
    // The same response without the line that says that the connection ends.
    let length = response.len() - b"Connection: close\r\n".len();
    let mut room = vec![0; length];
    let mut ask = || {
        client.write_all(REQUEST).unwrap();
        client.read_exact(&mut room).unwrap();
        room.ends_with(b"Hello, World!")
    };
    assert!(ask() && ask());
    group.bench_function("keepalive_1conn", |bencher| bencher.iter(&mut ask));
    group.bench_function("close_each", |bencher| bencher.iter(|| ask_and_close().len()));
    group.finish();
}

/// A form with one file, in memory and in pieces as they are received.
fn multipart(criterion: &mut Criterion) {
    const SIZE: usize = 1024 * 1024;
    let mut seed = 1_u64;
    let random: Vec<u8> = std::iter::repeat_with(|| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as u8
    })
    .take(SIZE)
    .collect();
    let mut group = criterion.benchmark_group("multipart");
    group.throughput(Throughput::Bytes(SIZE as u64));
    let repeated = |piece: &[u8]| -> Vec<u8> { piece.iter().copied().cycle().take(SIZE).collect() };
    let letters = "a".repeat(70);
    // Beginnings of the longest delimiter, of lengths that no processor can guess.
    let longest = format!("\r\n--{letters}");
    let beginnings = random.iter().flat_map(|byte| &longest.as_bytes()[..usize::from(byte % 74)]);
    let beginnings: Vec<u8> = beginnings.copied().take(SIZE).collect();
    for (name, boundary, file) in [
        ("random", "boundary", random.clone()),
        ("near_boundaries", "boundary", repeated(b"\r\n--boundarx")),
        ("near_boundaries_of_1_letter", "b", repeated(b"\r\n--")),
        ("near_boundaries_of_70_letters", &letters, beginnings),
    ] {
        let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"a\"; filename=\"b\"\r\n\r\n");
        let form = [head.as_bytes(), &file, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
        let read = || {
            let mut parts = Parts::new(&form[..], boundary.as_bytes(), FormLimits::default()).unwrap();
            io::copy(&mut parts.next_part().unwrap().unwrap(), &mut io::sink()).unwrap()
        };
        assert_eq!(read(), SIZE as u64);
        group.bench_function(name, |bencher| bencher.iter(|| black_box(read())));
    }
    group.finish();
}

criterion_group!(all, head_parse, chunked_decode, chunked_encode, response_head, date, environ, multipart, loopback);
criterion_main!(all);
