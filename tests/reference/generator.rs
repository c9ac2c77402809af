//! Requests made from the grammar, with one thing wrong on purpose or none, and small changes to saved ones. Seeded: a number gives
//! the same bytes for ever.

use super::Fault;

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A number from `start` to `end`, both included.
    pub fn between(&mut self, start: usize, end: usize) -> usize {
        start + self.below(end - start + 1)
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    pub fn of(&mut self, bytes: &[u8]) -> u8 {
        bytes[self.below(bytes.len())]
    }

    /// So many bytes out of those given.
    pub fn run(&mut self, length: usize, of: &[u8]) -> Vec<u8> {
        (0..length).map(|_| self.of(of)).collect()
    }

    /// Letters in either case.
    pub fn any_case(&mut self, text: &str) -> Vec<u8> {
        let swap =
            |byte: u8| if byte.is_ascii_lowercase() { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
        match self.below(4) {
            0 => text.bytes().map(|byte| if self.once_in(2) { swap(byte) } else { byte }).collect(),
            1 => text.to_ascii_lowercase().into_bytes(),
            _ => text.as_bytes().to_vec(),
        }
    }
}

pub const TCHARS: &[u8] = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-0123456789";
const NO_TCHARS: &[u8] = b"\"(),/;<=>?@[\\]{}\0\x01\x1f\x7f\x80\xff";
const PATH: &[u8] = b"abcXYZ019-._~!$&'()*+,;=:@/%\"<>[]^`{|}";
const CONTROLS: &[u8] = b"\0\x01\x02\x07\x08\x0b\x0c\x0e\x1b\x1f\x7f";

/// A field line in its pieces, so that each can go wrong.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: Vec<u8>,
    pub colon: Vec<u8>,
    pub value: Vec<u8>,
    pub end: Vec<u8>,
}

impl Line {
    fn new(name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Line {
        Line { name: name.into(), colon: b":".to_vec(), value: value.into(), end: b"\r\n".to_vec() }
    }
}

/// A request in its pieces.
#[derive(Clone, Debug)]
pub struct Parts {
    pub before: Vec<u8>,
    pub method: Vec<u8>,
    pub space: Vec<u8>,
    pub target: Vec<u8>,
    pub second_space: Vec<u8>,
    pub version: Vec<u8>,
    pub line_end: Vec<u8>,
    pub fields: Vec<Line>,
    pub end: Vec<u8>,
    pub content: Vec<u8>,
}

impl Parts {
    pub fn bytes(&self) -> Vec<u8> {
        let line = [&self.before, &self.method, &self.space, &self.target, &self.second_space, &self.version];
        let mut all = line.into_iter().flatten().copied().collect::<Vec<u8>>();
        all.extend(&self.line_end);
        for field in &self.fields {
            for part in [&field.name, &field.colon, &field.value, &field.end] {
                all.extend(part);
            }
        }
        all.extend(&self.end);
        all.extend(&self.content);
        all
    }

    fn without(&mut self, name: &str) {
        self.fields.retain(|field| !super::same(&field.name, name));
    }

    /// Sets the content and the field that frames it.
    fn framed(&mut self, name: &str, value: impl Into<Vec<u8>>, content: impl Into<Vec<u8>>) {
        self.without("Content-Length");
        self.without("Transfer-Encoding");
        self.without("Expect");
        self.fields.push(Line::new(name, value));
        self.content = content.into();
    }
}

/// How much room the limits leave.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub target: usize,
    pub field_line: usize,
    pub fields: usize,
    pub head: usize,
    pub content: usize,
}

/// A request that breaks no rule. `https` says that an absolute target may say so.
pub fn valid(random: &mut Random, room: &Room, https: bool) -> Parts {
    let is_one_zero = random.once_in(8);
    let method = match random.below(12) {
        0..=4 => b"GET".to_vec(),
        5..=6 => b"POST".to_vec(),
        7 => random.pick(&["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"]).into(),
        8 => random.pick(&["HEAD", "OPTIONS", "get", "Post", "TRACE", "PRI", "M-SEARCH"]).into(),
        9 => {
            let length = random.between(1, 32);
            random.run(length, TCHARS)
        }
        _ => b"GET".to_vec(),
    };
    let method = if method == b"CONNECT" { b"GET".to_vec() } else { method };
    let version = match (is_one_zero, random.below(10)) {
        (true, _) => b"HTTP/1.0".to_vec(),
        (_, 0) => format!("HTTP/1.{}", random.between(1, 9)).into_bytes(),
        _ => b"HTTP/1.1".to_vec(),
    };
    let target = target(random, &method, room, https);
    let is_absolute = !target.starts_with(b"/") && target != b"*";
    let mut parts = Parts {
        before: b"\r\n".repeat(random.below(12).saturating_sub(9)),
        method,
        space: b" ".to_vec(),
        target,
        second_space: b" ".to_vec(),
        version,
        line_end: b"\r\n".to_vec(),
        fields: Vec::new(),
        end: b"\r\n".to_vec(),
        content: Vec::new(),
    };
    if !is_one_zero || random.once_in(2) {
        let host = match random.below(12) {
            0 if !is_absolute => Vec::new(),
            _ => host(random, room.field_line.min(40) - 8),
        };
        parts.fields.push(Line::new(random.any_case("Host"), host));
    }
    for _ in 0..random.below(room.fields.min(9) - 2) {
        let line = field(random, room);
        parts.fields.push(line);
    }
    for _ in 0..random.below(8).saturating_sub(5) {
        let options =
            ["close", "keep-alive", "Keep-Alive , x", "upgrade", ",, keep-alive,", "x\t,close", "closed", "x"];
        let option = random.pick(&options);
        parts.fields.push(Line::new(random.any_case("Connection"), random.any_case(option)));
    }
    content(random, &mut parts, is_one_zero, room);
    // In any order.
    for at in (1..parts.fields.len()).rev() {
        let other = random.below(at + 1);
        parts.fields.swap(at, other);
    }
    for field in &mut parts.fields {
        if random.once_in(3) {
            let space = random.pick(&[&b" "[..], b"", b"\t", b" \t ", b"  "]);
            let behind = random.pick(&[&b""[..], b" ", b"\t "]);
            field.value = [space, &field.value, behind].concat();
        } else {
            field.value.insert(0, b' ');
        }
        field.value.truncate(room.field_line - field.name.len() - 1);
    }
    parts
}

fn target(random: &mut Random, method: &[u8], room: &Room, https: bool) -> Vec<u8> {
    if method == b"OPTIONS" && random.once_in(2) {
        return b"*".to_vec();
    }
    let mut target = Vec::new();
    if random.once_in(6) {
        let scheme = if https && random.once_in(2) { "https" } else { "http" };
        target.extend(random.any_case(scheme));
        target.extend(b"://");
        target.extend(host(random, 18));
        if random.once_in(3) {
            return if random.once_in(2) { [&target[..], b"?q"].concat() } else { target };
        }
    }
    let length = match random.below(20) {
        0 => room.target.min(300),
        1..=3 => room.target.min(60),
        _ => room.target.min(16),
    };
    target.push(b'/');
    while target.len() + 6 < length {
        match random.below(8) {
            0 => target.extend(random.pick(&[
                &b"%2F"[..],
                b"%41",
                b"%E4",
                b"%c3%a4",
                b"%25",
                b"%",
                b"%zz",
                b"%4",
                b"%01",
            ])),
            1 => target.extend(random.pick(&[&b"../"[..], b"./", b"//", b"/"])),
            2 => break,
            _ => target.push(random.of(PATH)),
        }
    }
    if random.once_in(3) {
        target.push(b'?');
        while target.len() + 3 < length && !random.once_in(9) {
            target.extend(random.pick(&[&b"a=b"[..], b"&", b"?", b"%00", b"/", b"=", b"+"]));
        }
    }
    // An escape that only came about at a seam.
    while let Some(at) = target.windows(3).position(|escape| escape == b"%00") {
        if target[..at].contains(&b'?') {
            break;
        }
        target[at] = b'x';
    }
    target
}

/// host or host:port.
pub fn host(random: &mut Random, most: usize) -> Vec<u8> {
    let mut host = match random.below(9) {
        0 => b"localhost".to_vec(),
        1 => b"127.0.0.1".to_vec(),
        2 => random.pick(&[&b"[::1]"[..], b"[::]", b"[2001:db8::1]", b"[1::2:3]", b"[::ffff:1.2.3.4]"]).to_vec(),
        3 => {
            let length = random.between(1, 9);
            random.run(length, b"abc019-._~!$&'()*+,;=")
        }
        4 => b"a%20b".to_vec(),
        _ => b"example.org".to_vec(),
    };
    if random.once_in(3) {
        let port = random.pick(&["0", "80", "8000", "65535", "00080", "443", ""]);
        host.extend([b":", port.as_bytes()].concat());
    }
    if host.len() > most { b"a".to_vec() } else { host }
}

fn field(random: &mut Random, room: &Room) -> Line {
    let name = match random.below(14) {
        0 => random.any_case("Cookie"),
        1 => random.any_case("Accept"),
        2 => random.any_case("User-Agent"),
        3 => random.any_case("X-Forwarded-For"),
        4 => b"X_A".to_vec(),
        5 => b"X-A".to_vec(),
        6 => random.pick(&["Proxy", "TE", "Keep-Alive", "Upgrade", "Trailer", "X.A", "x-a", "Proxy-Connection"]).into(),
        7 => {
            random.pick(&["Content-Lengt", "Content-Lengths", "Hosts", "Transfer-Encodin", "Expects", "Status"]).into()
        }
        8 => {
            let length = random.between(1, 12);
            random.run(length, TCHARS)
        }
        _ => {
            let length = random.between(1, 17);
            random.run(length, LETTERS)
        }
    };
    // What may stand once stands where the generator puts it.
    let is_once =
        ["Host", "Expect", "Content-Type", "Authorization", "Content-Length", "Transfer-Encoding", "Connection"]
            .iter()
            .any(|once| super::same(&name, once));
    let name = if is_once { b"X-B".to_vec() } else { name };
    let most = room.field_line - name.len() - 4;
    let length = match random.below(30) {
        0 => most.min(400),
        1..=6 => 0,
        _ => random.below(most.min(40) + 1),
    };
    let value = match random.below(5) {
        0 => (0..length).map(|_| random.of(b"\t abc\"(),/:;<=>?@[\\]{}\x80\xe4\xff")).collect(),
        _ => random.run(length, b"abcdefghij klm=;,-/0123456789"),
    };
    Line::new(name, value)
}

fn content(random: &mut Random, parts: &mut Parts, is_one_zero: bool, room: &Room) {
    let length = match random.below(6) {
        0 => room.content.min(300),
        1 => 0,
        _ => random.below(room.content.min(40) + 1),
    };
    match random.below(10) {
        0..=2 => {
            let zeros = "0".repeat(random.below(12).saturating_sub(8));
            parts.fields.push(Line::new(random.any_case("Content-Length"), format!("{zeros}{length}")));
            parts.content = random.run(length, b"ab\r\n\0G 0;\xff");
        }
        3..=5 if !is_one_zero => {
            parts.fields.push(Line::new(random.any_case("Transfer-Encoding"), random.any_case("chunked")));
            parts.content = chunked(random, length, room);
        }
        _ => return,
    }
    if random.once_in(5) {
        parts.fields.push(Line::new("Content-Type", "text/plain"));
    }
    if random.once_in(6) {
        let value = if is_one_zero { b"anything".to_vec() } else { random.any_case("100-continue") };
        parts.fields.push(Line::new(random.any_case("Expect"), value));
    }
}

/// A chunked content of so many bytes of data.
pub fn chunked(random: &mut Random, mut left: usize, room: &Room) -> Vec<u8> {
    let mut out = Vec::new();
    while left > 0 {
        let size = random.between(1, left.min(20));
        left -= size;
        chunk(random, size, &mut out);
    }
    last_chunk(random, &mut out);
    for _ in 0..random.below(8).saturating_sub(5) {
        let field = field(random, room);
        out.extend([&field.name[..], b":", &field.value, b"\r\n"].concat());
    }
    out.extend(b"\r\n");
    out
}

fn chunk(random: &mut Random, size: usize, out: &mut Vec<u8>) {
    let zeros = "0".repeat(random.below(24).saturating_sub(10).min(14));
    let digits = if random.once_in(2) { format!("{zeros}{size:x}") } else { format!("{zeros}{size:X}") };
    out.extend(digits.bytes());
    extension(random, out);
    out.extend(b"\r\n");
    out.extend(random.run(size, b"ab\r\n\0G 0;\xff"));
    out.extend(b"\r\n");
}

fn last_chunk(random: &mut Random, out: &mut Vec<u8>) {
    out.extend(b"0".repeat(random.between(1, 3)));
    extension(random, out);
    out.extend(b"\r\n");
}

fn extension(random: &mut Random, out: &mut Vec<u8>) {
    let spaced = |random: &mut Random, out: &mut Vec<u8>, text: &[u8]| {
        for part in [&b""[..], text] {
            out.extend(part);
            out.extend(random.pick(&[&b""[..], b"", b"", b"", b" ", b"\t "]));
        }
    };
    for _ in 0..random.below(8).saturating_sub(5) {
        spaced(random, out, b";");
        let length = random.between(1, 6);
        out.extend(random.run(length, TCHARS));
        match random.below(3) {
            0 => {}
            1 => {
                spaced(random, out, b"=");
                let length = random.between(1, 6);
                out.extend(random.run(length, TCHARS));
            }
            _ => {
                spaced(random, out, b"=");
                out.push(b'"');
                for _ in 0..random.below(6) {
                    out.extend(random.pick(&[&b"a"[..], b" ", b"\t", b";", b"\\\"", b"\\\\", b"\xe4", b"="]));
                }
                out.push(b'"');
            }
        }
    }
}

/// Breaks a request so that it has this fault, or most likely has.
pub fn spoil(random: &mut Random, parts: &mut Parts, fault: Fault, room: &Room) {
    if parts.fields.is_empty() {
        parts.fields.push(Line::new("X", " y"));
    }
    let at = random.below(parts.fields.len());
    let insert = |random: &mut Random, bytes: &mut Vec<u8>, byte: u8| {
        let place = random.below(bytes.len() + 1);
        bytes.insert(place, byte);
    };
    let one_one = |parts: &mut Parts| parts.version = b"HTTP/1.1".to_vec();
    let hosted = |parts: &mut Parts| {
        parts.without("Host");
        parts.fields.insert(0, Line::new("Host", " a"));
    };
    match fault {
        Fault::LfAlone => match random.below(6) {
            0 => parts.line_end = b"\n".to_vec(),
            1 => parts.end = b"\n".to_vec(),
            2 => insert(random, &mut parts.target, b'\n'),
            3 => parts.before = b"\n".to_vec(),
            4 => insert(random, &mut parts.fields[at].value, b'\n'),
            _ => parts.fields[at].end = b"\n".to_vec(),
        },
        Fault::CrAlone => match random.below(6) {
            0 => parts.line_end = b"\r".to_vec(),
            1 => parts.end = b"\rX".to_vec(),
            2 => insert(random, &mut parts.target, b'\r'),
            3 => parts.before = b"\r".to_vec(),
            4 => insert(random, &mut parts.fields[at].value, b'\r'),
            _ => parts.fields[at].end = b"\r\r\n".to_vec(),
        },
        Fault::ThreeEmptyLines => parts.before = b"\r\n".repeat(random.between(3, 5)),
        Fault::LineShape => match random.below(6) {
            0 => parts.before.extend(b" "),
            1 => parts.space = b"\t".to_vec(),
            2 => parts.second_space = b"  ".to_vec(),
            3 => parts.version.extend(random.pick(&[&b" "[..], b"\t", b" x"])),
            4 => parts.version.clear(),
            _ => {
                parts.second_space.clear();
                parts.version.clear();
            }
        },
        Fault::MethodNoToken => {
            let byte = random.of(NO_TCHARS);
            insert(random, &mut parts.method, byte);
        }
        Fault::MethodOver32 => {
            let length = random.between(33, 60);
            parts.method = random.run(length, TCHARS);
        }
        Fault::TargetOctet => match random.below(6) {
            0 => parts.target.clear(),
            1 => parts.space = b"  ".to_vec(),
            2 => insert(random, &mut parts.target, b'#'),
            3 => parts.target = random.pick(&["/\\", "/a\\..\\b?c", "http://a/\\", "/\\%00"]).into(),
            _ => {
                let byte = random.of(b"\0\x01\t\x0b\x1f\x7f\x80\xc3\xff");
                insert(random, &mut parts.target, byte);
            }
        },
        Fault::TargetOverLimit => {
            let length = room.target + random.between(1, 3) - parts.target.len().min(room.target);
            parts.target.extend(b"a".repeat(length));
        }
        Fault::VersionShape => {
            let wrong = [
                "http/1.1",
                "HTTP/1.10",
                "HTTP/01.1",
                "HTTP/ 1.1",
                "HTTP/1",
                "HTTP",
                "HTTP/1,1",
                "HTTP/x.1",
                "x",
                "HTTP/1.1x",
            ];
            parts.version = random.pick(&wrong).into();
        }
        Fault::VersionNotOne => parts.version = random.pick(&["HTTP/2.0", "HTTP/0.9", "HTTP/3.0", "HTTP/9.9"]).into(),
        Fault::TargetNoForm => match random.below(4) {
            0 => parts.method = b"CONNECT".to_vec(),
            1 => parts.target = b"*".to_vec(),
            2 => parts.target = b"example.org:80".to_vec(),
            _ => {
                parts.target =
                    random.pick(&["a", "http:/a", "http:a", "://a", "1http://a/", "?a", "**", "[::1]"]).into()
            }
        },
        Fault::SchemeUnknown => parts.target = random.pick(&["ftp://a/", "h2://a/", "file:///x", "httpx://a/"]).into(),
        Fault::UserInformation => parts.target = random.pick(&["http://u@a/", "http://u:p@a", "http://@a/"]).into(),
        Fault::EncodedNul => {
            parts.target.truncate(room.target - 6);
            parts.target.insert(0, b'/');
            parts.target.splice(1..1, *b"%00");
        }
        Fault::Tunnel => {
            parts.method = b"CONNECT".to_vec();
            parts.target = random.pick(&["a:443", "example.org:80", "[::1]:8443", "127.0.0.1:1"]).into();
        }
        Fault::NameNoToken => match random.below(4) {
            0 => parts.fields[at].name.clear(),
            _ => {
                let byte = random.of(NO_TCHARS);
                insert(random, &mut parts.fields[at].name, byte);
            }
        },
        Fault::SpaceBeforeColon => parts.fields[at].colon = random.pick(&[&b" :"[..], b"\t:", b"  :"]).to_vec(),
        Fault::NoColon => {
            parts.fields[at].colon.clear();
            parts.fields[at].value.clear();
        }
        Fault::Folded => {
            let fold = random.pick(&[&b" folded"[..], b"\tfolded", b" X: y", b" "]);
            parts.fields[at].name.splice(0..0, [fold, b"\r\n"].concat());
        }
        Fault::ValueControl => {
            let byte = random.of(CONTROLS);
            insert(random, &mut parts.fields[at].value, byte);
        }
        Fault::LineOverLimit => {
            let field = &mut parts.fields[at];
            let more = room.field_line + 1 - (field.name.len() + 1 + field.value.len()).min(room.field_line);
            if random.once_in(2) { field.name.extend(b"n".repeat(more)) } else { field.value.extend(b"v".repeat(more)) }
        }
        Fault::FieldsOverLimit => {
            while parts.fields.len() <= room.fields {
                parts.fields.push(Line::new("A", ""));
            }
        }
        Fault::HeadOverLimit => {
            parts.fields.truncate(1);
            while parts.bytes().len() - parts.content.len() <= room.head {
                let length = room.field_line - 3;
                parts.fields.push(Line::new("A", b"v".repeat(length)));
            }
        }
        Fault::SaidTwice => {
            let names = ["Host", "Content-Length", "Transfer-Encoding", "Content-Type", "Expect", "Authorization"];
            let name = random.pick(&names);
            let value =
                parts.fields.iter().find(|field| super::same(&field.name, name)).map(|field| field.value.clone());
            let value = value.unwrap_or_else(|| random.pick(&[&b"a"[..], b"5", b"chunked", b"100-continue"]).to_vec());
            for _ in 0..2 {
                parts.fields.push(Line::new(random.any_case(name), value.clone()));
            }
        }
        Fault::NoHost => {
            one_one(parts);
            parts.without("Host");
        }
        Fault::BadHost => {
            let wrong = [
                "a b", "a/b", "u@a", ":", "a:99999", "a:x", "[::1", "::1", "a\\b", "a%2", ":80", "[v1.a]", "a,b c",
                "a\"b", "[:::]",
            ];
            parts.without("Host");
            parts.fields.push(Line::new("Host", random.pick(&wrong)));
        }
        Fault::Underscore => parts.fields[at].name = random.pick(&["X_A", "Content_Length", "_", "a_"]).into(),
        Fault::OtherExpectation => {
            one_one(parts);
            hosted(parts);
            parts.without("Expect");
            let value = random.pick(&["x", "100-continue, x", "", "100", "100-continue;a", "200-ok"]);
            parts.fields.push(Line::new("Expect", value));
        }
        Fault::HeadCut => {
            parts.content.clear();
            let length = parts.bytes().len() - 1;
            let cut = random.between(1, length);
            let mut bytes = parts.bytes();
            bytes.truncate(cut);
            *parts = Parts {
                before: bytes,
                method: Vec::new(),
                space: Vec::new(),
                target: Vec::new(),
                second_space: Vec::new(),
                version: Vec::new(),
                line_end: Vec::new(),
                fields: Vec::new(),
                end: Vec::new(),
                content: Vec::new(),
            };
        }
        Fault::LengthNoNumber => {
            let wrong = [
                "+5",
                "-1",
                "0x5",
                "5 5",
                "3, 3",
                "",
                "00000000000000000005",
                "18446744073709551616",
                "5a",
                "1e3",
                "5.0",
            ];
            parts.framed("Content-Length", random.pick(&wrong), "hello");
        }
        Fault::LengthAndCoding => {
            parts.framed("Content-Length", "5", "hello");
            parts
                .fields
                .push(Line::new("Transfer-Encoding", random.pick(&["chunked", "gzip", "", "chunked, chunked"])));
        }
        Fault::OtherCoding => {
            one_one(parts);
            hosted(parts);
            parts.framed(
                "Transfer-Encoding",
                random.pick(&["gzip", "identity", "xchunked", "chunkedx", "deflate"]),
                "hello",
            );
        }
        Fault::CodingNoToken => {
            one_one(parts);
            hosted(parts);
            let wrong =
                ["gzip, chunked", "chunked, chunked", "chunked;a", "", ",chunked", "\"chunked\"", "chunked chunked"];
            parts.framed("Transfer-Encoding", random.pick(&wrong), "0\r\n\r\n");
        }
        Fault::CodingInOneZero => {
            parts.version = b"HTTP/1.0".to_vec();
            parts.framed("Transfer-Encoding", "chunked", "0\r\n\r\n");
        }
        Fault::ContentOverLimit => {
            one_one(parts);
            hosted(parts);
            match random.below(3) {
                0 => parts.framed("Transfer-Encoding", "chunked", "FFFFFFFFFFFFFFFF\r\nx"),
                1 => parts.framed("Transfer-Encoding", "chunked", "2\r\nab\r\n1000000\r\nx"),
                _ => parts.framed(
                    "Content-Length",
                    random.pick(&["9999999999999999999", "16777217", "20000000"]),
                    "hello",
                ),
            }
        }
        Fault::SizeNoNumber
        | Fault::ExtensionShape
        | Fault::ExtensionOverLimit
        | Fault::DataWithoutEnd
        | Fault::MoreFrameThanData
        | Fault::TrailerShape
        | Fault::TrailerOverLimit => {
            one_one(parts);
            hosted(parts);
            let content = broken_chunked(random, fault, room);
            parts.framed("Transfer-Encoding", "chunked", content);
        }
        Fault::ContentCut => {
            one_one(parts);
            hosted(parts);
            if random.once_in(2) {
                parts.framed("Content-Length", "20", random.pick(&["", "hello", "nineteen bytes more"]));
            } else {
                let mut content = chunked(random, 12, room);
                let length = random.below(content.len());
                content.truncate(length);
                parts.framed("Transfer-Encoding", "chunked", content);
            }
        }
    }
}

/// A chunked content with this fault.
pub fn broken_chunked(random: &mut Random, fault: Fault, room: &Room) -> Vec<u8> {
    let mut out = Vec::new();
    if random.once_in(2) {
        chunk(random, 3, &mut out);
    }
    match fault {
        Fault::LfAlone => {
            out.extend(random.pick(&[&b"3\nabc"[..], b"\n", b"3;a\n", b"0\r\nX: y\n", b"0\r\n\n", b"3;a=\"\n"]))
        }
        Fault::CrAlone => {
            out.extend(random.pick(&[&b"3\rabc"[..], b"3;a\rb", b"0\r\nX: y\rz", b"0\r\n\rX", b"3\r\r\n"]))
        }
        Fault::SizeNoNumber => {
            let wrong: [&[u8]; 9] = [b"0x3", b"+3", b" 3", b"3_", b"-1", b"g", b"\r", b"", b"00000000000000003"];
            out.extend(random.pick(&wrong));
            out.extend(b"\r\nabc\r\n0\r\n\r\n");
        }
        Fault::ExtensionShape => {
            let wrong = [
                "",
                ";",
                "a=",
                "=b",
                " ",
                "a ",
                "a b",
                "a=b =c",
                " =b",
                "a=\"b",
                "a=\"b\"c",
                "a=b=c",
                "a\0",
                "(a)",
                "a=\"\x01\"",
                "a=\"\\\r",
            ];
            out.extend([b"3;", random.pick(&wrong).as_bytes(), b"\r\nabc\r\n0\r\n\r\n"].concat());
        }
        Fault::ExtensionOverLimit => {
            let length = random.between(256, 300);
            out.extend([&b"3;"[..], &b"a".repeat(length), b"\r\nabc\r\n0\r\n\r\n"].concat());
        }
        Fault::DataWithoutEnd => {
            out.extend(b"3\r\nabc");
            out.extend(random.pick(&[&b"d\r\n"[..], b"\n", b"\rX", b"0\r\n\r\n", b"\r\r\n"]));
        }
        Fault::MoreFrameThanData => {
            // Fewer and fatter, so that it takes no longer than it must.
            while out.len() <= 66 * 1024 * 21 / 20 {
                out.extend(b"0000000000000001\r\nx\r\n");
            }
            out.extend(b"0\r\n\r\n");
        }
        Fault::TrailerShape => {
            last_chunk(random, &mut out);
            out.extend(random.pick(&[
                &b"X : y"[..],
                b"X",
                b": y",
                b" X: y",
                b"X: y\r\n z",
                b"X: \0",
                b"X@: y",
                b"X: \x7f",
            ]));
            out.extend(b"\r\n\r\n");
        }
        Fault::TrailerOverLimit => {
            last_chunk(random, &mut out);
            match random.below(3) {
                0 => out.extend(b"X: y\r\n".repeat(room.fields + 1)),
                1 => out.extend([&b"X: "[..], &b"v".repeat(room.field_line - 2), b"\r\n"].concat()),
                _ => {
                    let line = [&b"X: "[..], &b"v".repeat(room.field_line - 3), b"\r\n"].concat();
                    out.extend(line.repeat(room.head / line.len() + 1));
                }
            }
            out.extend(b"\r\n");
        }
        _ => out.extend(b"zz\r\n"),
    }
    out
}

/// What an attacker likes to put in.
const FAVOURITES: [&[u8]; 34] = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"\0",
    b":",
    b";",
    b",",
    b"\r\n\r\n",
    b"\r\n ",
    b" :",
    b"0\r\n\r\n",
    b"\xff",
    b"%00",
    b"#",
    b"?",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Host: b\r\n",
    b"chunked",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"0",
    b"1",
    b"f",
    b"\"",
    b"X_Y: z\r\n",
    b"*",
    b"http://a",
];

/// Changes one to four places; `others` are what parts may come from.
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    for _ in 0..random.between(1, 4) {
        if bytes.is_empty() {
            bytes.push(random.byte());
        }
        let at = random.below(bytes.len());
        let end = random.between(at, bytes.len().min(at + 12));
        match random.below(12) {
            0 => bytes[at] = random.byte(),
            1 => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.remove(at)),
            3 => drop(bytes.drain(at..end)),
            4 => bytes.insert(at, random.byte()),
            5..=6 => drop(bytes.splice(at..at, random.pick(&FAVOURITES).iter().copied())),
            7 => {
                let part = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, part));
            }
            8 => {
                let other = &others[random.below(others.len())];
                let start = random.below(other.len().max(1));
                let stop = other.len().min(start + random.below(40));
                drop(bytes.splice(at..at, other[start.min(stop)..stop].iter().copied()));
            }
            9 => change_lines(random, bytes),
            10 => {
                // A number grows or shrinks.
                if let Some(place) = bytes[at..].iter().position(u8::is_ascii_digit) {
                    bytes[at + place] = random.of(b"0123456789aF");
                }
            }
            _ => bytes.truncate(at),
        }
    }
    bytes.truncate(8 * 1024);
}

/// Doubles, drops or exchanges whole lines.
fn change_lines(random: &mut Random, bytes: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (at, other) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(4) {
        0 => lines.insert(at, lines[other].clone()),
        1 => drop(lines.remove(at)),
        2 => lines.swap(at, other),
        _ => lines[at].make_ascii_uppercase(),
    }
    *bytes = lines.concat();
}
