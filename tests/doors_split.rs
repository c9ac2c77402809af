//! Promise: however a packet is cut, by the network or by its sender, it is read as the whole or refused as a part, and no bytes at all
//! make a gateway door panic, answer twice or hold a thread.

mod packets;
mod support;

use std::io::{self, Read};
use std::time::Duration;

use doorway::{Body, Door, Environ, Server, StartResponse};
use packets::{DOORS, Reply, fastcgi_in, packet, post, read_reply, variables};
use support::{Client, Collected, in_memory_over, serve_over, show};

fn tell(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
    let mut content = Vec::new();
    environ.input().read_to_end(&mut content)?;
    start_response.start("200 OK", &[("X-Path", &environ.path()), ("X-Query", environ.query_string())]);
    Ok(content.into())
}

fn deliver<'a>(door: Door, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Option<Reply>, Collected) {
    let (out, log) = in_memory_over(Server::unbound().door(door), pieces, tell, |_| {});
    (read_reply(door, &out), log)
}

/// Valid packets of each door, with and without content.
fn valid() -> Vec<(Door, Vec<u8>)> {
    let mut pairs = post("/split", 11);
    pairs.extend(variables(&[("QUERY_STRING", "a=b"), ("HTTP_HOST", "example.org"), ("HTTP_X_EMPTY", "")]));
    let mut all: Vec<(Door, Vec<u8>)> =
        DOORS.into_iter().map(|door| (door, packet(door, &pairs, b"hello world"))).collect();
    all.extend(DOORS.into_iter().map(|door| (door, packet(door, &packets::get("/"), b""))));
    pairs.push((b"HTTP_X_LONG".to_vec(), vec![b'v'; 200]));
    all.push((Door::FastCgi, fastcgi_in(300, false, &pairs, b"hello world", |number| (3 + number % 5, 2))));
    all
}

#[test]
fn every_truncation_of_a_packet_is_an_answer_or_a_clean_close() {
    for (door, whole) in valid() {
        let (right, _) = deliver(door, [&whole[..]]);
        let right = right.expect("an answer");
        assert_eq!(right.code(), 200, "{door:?}");
        for length in 0..whole.len() {
            let (reply, log) = deliver(door, [&whole[..length]]);
            let reports = log.reports();
            match reply {
                // FastCGI may leave the last, empty record to come: the content is whole without it.
                Some(reply) if reply.code() == 200 => {
                    assert_eq!((reply, reports.len()), (right.clone(), 0), "{length}")
                }
                Some(reply) => assert_eq!((reply.code(), reports.len()), (400, 1), "{door:?} {length}: {reports:?}"),
                None => assert!(length == 0 || door == Door::FastCgi && length < 16, "{door:?} {length}: {reports:?}"),
            }
        }
    }
}

#[test]
fn every_byte_split_of_a_packet_is_read_as_the_whole() {
    for (door, whole) in valid() {
        let (right, _) = deliver(door, [&whole[..]]);
        for at in 1..whole.len() {
            let (reply, log) = deliver(door, [&whole[..at], &whole[at..]]);
            assert_eq!((&reply, log.reports().len()), (&right, 0), "{door:?} {at}");
        }
        for size in [1, 2, 3, 7] {
            let (reply, log) = deliver(door, whole.chunks(size));
            assert_eq!((&reply, log.reports().len()), (&right, 0), "{door:?} in pieces of {size}");
        }
    }
}

#[test]
fn a_large_packet_is_read_whole_whether_it_comes_at_once_or_in_pieces() {
    let content = vec![b'c'; 20_000];
    for door in DOORS {
        let mut pairs = post("/large", content.len());
        pairs.extend((0..500).map(|number| (format!("HTTP_X_{number}").into_bytes(), vec![b'v'; 100])));
        let whole = packet(door, &pairs, &content);
        assert!(whole.len() > 70_000);
        for size in [whole.len(), 4_096, 1_000] {
            let (reply, log) = deliver(door, whole.chunks(size));
            assert_eq!(reply.expect("an answer").content, content, "{door:?} {size}: {:?}", log.reports());
        }
    }
}

/// A generator that always gives the same numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// One small damage after the other.
fn damage(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes[at] = random.next() as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, [0, 1, 0x7f, 0x80, 0xff, b':', b','][random.below(7)]),
            4 => drop(bytes.remove(at)),
            5 => {
                let end = at + random.below(bytes.len() - at);
                bytes.extend_from_within(at..end);
            }
            _ => bytes[at] = [0, 0xff, 0x80, 1, 9][random.below(5)],
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// How often the randomised test runs: more with `DOORWAY_CASES`.
fn cases() -> usize {
    std::env::var("DOORWAY_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(6_000)
}

#[test]
fn damaged_packets_are_answered_or_closed_alike_however_they_are_cut() {
    let (seed, mut accepted) = (0x0d00_12d0, 0);
    let mut random = Random(seed);
    let packets = valid();
    for case in 0..cases() {
        let (door, whole) = &packets[random.below(packets.len())];
        let bytes = damage(whole.clone(), &mut random);
        // Most are served at the door they were made for.
        let door = if random.below(10) == 0 { DOORS[random.below(3)] } else { *door };
        let read = |pieces: Vec<&[u8]>| {
            let (out, log) = in_memory_over(Server::unbound().door(door), pieces, tell, |_| {});
            // Damaged management records are answered too, so only what was logged and how much was said is compared.
            (
                out.starts_with(b"HTTP/1.1 200") || out.windows(11).any(|part| part == b"Status: 200"),
                log.causes(),
                out.len(),
            )
        };
        let at_once = read(vec![&bytes]);
        accepted += usize::from(at_once.0);
        let at = random.below(bytes.len());
        let cut = read(vec![&bytes[..at], &bytes[at..]]);
        assert_eq!(at_once.0, cut.0, "case {case}, {door:?} cut at {at}: {}", show(&bytes));
        assert!(at_once.1.len() <= 2, "case {case}, {door:?}: {:?}, {}", at_once.1, show(&bytes));
    }
    assert!(accepted > cases() / 10, "{accepted} of {} were accepted", cases());
}

#[test]
fn damaged_packets_leave_no_thread_behind() {
    let mut random = Random(0x7007);
    for door in DOORS {
        let server = Server::bind("127.0.0.1:0").unwrap().door(door);
        let house = serve_over(server, tell, |settings| {
            settings.head_deadline = Duration::from_millis(200);
            settings.first_byte_deadline = Duration::from_millis(200);
            settings.content_stall = Duration::from_millis(200);
            settings.idle_deadline = Duration::from_millis(200);
            settings.linger_deadline = Duration::from_millis(200);
        });
        let whole = packet(door, &post("/", 11), b"hello world");
        let mut clients: Vec<_> = (0..60)
            .map(|_| {
                let mut client = house.client();
                client.send(&damage(whole.clone(), &mut random));
                client
            })
            .collect();
        let mut good = Client::connect(house.tcp());
        good.send(&whole);
        assert_eq!(read_reply(door, &good.until_close()).expect("an answer").content, b"hello world");
        for client in &mut clients {
            client.until_end();
        }
        house.until("nothing left", |stats| stats.open == 0 && stats.busy == 0);
    }
}
