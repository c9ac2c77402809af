//! The client side of the gateway protocols, written from their specifications and not from the server: packets of variables in three
//! forms, and their answers read to one form.

#![allow(dead_code)]

use doorway::Door;

/// The doors with a packet in front.
pub const DOORS: [Door; 3] = [Door::Uwsgi, Door::Scgi, Door::FastCgi];

/// An answer, whatever door it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: String,
    pub fields: Vec<(String, String)>,
    pub content: Vec<u8>,
    /// FastCGI: END_REQUEST came.
    pub ended: bool,
}

impl Reply {
    pub fn code(&self) -> u16 {
        self.status[..3].parse().expect("a status")
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.content).expect("text")
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The variables of a plain request.
pub fn get(path: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    variables(&[("REQUEST_METHOD", "GET"), ("PATH_INFO", path)])
}

pub fn post(path: &str, length: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    variables(&[("REQUEST_METHOD", "POST"), ("PATH_INFO", path), ("CONTENT_LENGTH", &length.to_string())])
}

pub fn variables(pairs: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// A whole request as the front server of a door sends it.
pub fn packet(door: Door, variables: &[(Vec<u8>, Vec<u8>)], content: &[u8]) -> Vec<u8> {
    match door.name() {
        "uwsgi" => uwsgi(variables, content),
        "scgi" => scgi(variables, content),
        "fastcgi" => fastcgi(1, false, variables, content),
        other => panic!("no packet at {other:?}"),
    }
}

pub fn uwsgi(variables: &[(Vec<u8>, Vec<u8>)], content: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for text in variables.iter().flat_map(|(name, value)| [name, value]) {
        block.extend_from_slice(&u16::try_from(text.len()).expect("a short text").to_le_bytes());
        block.extend_from_slice(text);
    }
    let [low, high] = u16::try_from(block.len()).expect("a block that fits").to_le_bytes();
    [&[0, low, high, 0][..], &block, content].concat()
}

/// CONTENT_LENGTH comes first and always, SCGI is there.
pub fn scgi(variables: &[(Vec<u8>, Vec<u8>)], content: &[u8]) -> Vec<u8> {
    let is_length = |pair: &&(Vec<u8>, Vec<u8>)| pair.0 == b"CONTENT_LENGTH";
    let mut all = vec![(b"CONTENT_LENGTH".to_vec(), content.len().to_string().into_bytes())];
    if variables.iter().any(|pair| is_length(&pair)) {
        all = variables.iter().filter(is_length).cloned().collect();
    }
    all.push((b"SCGI".to_vec(), b"1".to_vec()));
    all.extend(variables.iter().filter(|pair| !is_length(pair)).cloned());
    netstring(&all, content)
}

pub fn netstring(variables: &[(Vec<u8>, Vec<u8>)], content: &[u8]) -> Vec<u8> {
    let block: Vec<u8> = variables.iter().flat_map(|(name, value)| [&name[..], b"\0", value, b"\0"].concat()).collect();
    [format!("{}:", block.len()).as_bytes(), &block, b",", content].concat()
}

pub fn record(kind: u8, id: u16, content: &[u8], padding: u8) -> Vec<u8> {
    let [high_id, low_id] = id.to_be_bytes();
    let [high, low] = u16::try_from(content.len()).expect("a record that fits").to_be_bytes();
    [&[1, kind, high_id, low_id, high, low, padding, 0][..], content, &vec![b'~'; usize::from(padding)]].concat()
}

pub fn begin(id: u16, role: u8, keeps: bool) -> Vec<u8> {
    record(1, id, &[0, role, u8::from(keeps), 0, 0, 0, 0, 0], 0)
}

/// The pairs of PARAMS, not yet in records.
pub fn params(variables: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in variables {
        for text in [name, value] {
            match u8::try_from(text.len()).ok().filter(|length| *length < 128) {
                Some(length) => out.push(length),
                None => {
                    let length = u32::try_from(text.len()).expect("a short text");
                    out.extend_from_slice(&(length | 0x8000_0000).to_be_bytes());
                }
            }
        }
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    }
    out
}

pub fn fastcgi(id: u16, keeps: bool, variables: &[(Vec<u8>, Vec<u8>)], content: &[u8]) -> Vec<u8> {
    fastcgi_in(id, keeps, variables, content, |_| (usize::from(u16::MAX), 0))
}

/// With records whose size and padding `shape` chooses, by their number.
pub fn fastcgi_in(
    id: u16,
    keeps: bool,
    variables: &[(Vec<u8>, Vec<u8>)],
    content: &[u8],
    mut shape: impl FnMut(usize) -> (usize, u8),
) -> Vec<u8> {
    let mut out = begin(id, 1, keeps);
    let mut number = 0;
    for (kind, mut rest) in [(4, &params(variables)[..]), (5, content)] {
        while !rest.is_empty() {
            let (size, padding) = shape(number);
            number += 1;
            let (part, behind) = rest.split_at(size.clamp(1, rest.len()));
            out.extend(record(kind, id, part, padding));
            rest = behind;
        }
        out.extend(record(kind, id, b"", shape(number).1));
    }
    out
}

/// The answer at a door. `None` where there is none.
pub fn read_reply(door: Door, bytes: &[u8]) -> Option<Reply> {
    match door.name() {
        "uwsgi" => read_head(bytes, "HTTP/1.1 ", false),
        "scgi" | "cgi" => read_head(bytes, "Status: ", false),
        "fastcgi" => {
            let (mut rest, mut stdout, mut ended) = (bytes, Vec::new(), false);
            let mut closed = false;
            while !rest.is_empty() {
                assert!(!ended, "bytes behind END_REQUEST");
                let (kind, _, content, behind) = read_record(rest);
                rest = behind;
                match kind {
                    6 => {
                        assert!(!closed, "STDOUT behind its end");
                        closed = content.is_empty();
                        stdout.extend_from_slice(content);
                    }
                    3 => ended = true,
                    other => panic!("a record of type {other}"),
                }
            }
            read_head(&stdout, "Status: ", ended)
        }
        other => panic!("no packet at {other:?}"),
    }
}

/// Kind, id, content, and what follows.
pub fn read_record(bytes: &[u8]) -> (u8, u16, &[u8], &[u8]) {
    assert!(bytes.len() >= 8, "half a header: {bytes:?}");
    assert_eq!(bytes[0], 1, "the version");
    let content = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
    let whole = 8 + content + usize::from(bytes[6]);
    assert!(bytes.len() >= whole, "half a record");
    (bytes[1], u16::from_be_bytes([bytes[2], bytes[3]]), &bytes[8..8 + content], &bytes[whole..])
}

fn read_head(bytes: &[u8], before_status: &str, ended: bool) -> Option<Reply> {
    if bytes.is_empty() {
        return None;
    }
    let at = bytes.windows(4).position(|part| part == b"\r\n\r\n").unwrap_or_else(|| {
        panic!("no whole head: {}", bytes.escape_ascii());
    });
    let head = std::str::from_utf8(&bytes[..at]).expect("a head in text");
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let status = status.strip_prefix(before_status).unwrap_or_else(|| panic!("not {before_status}: {status}"));
    let fields = lines.map(|line| line.split_once(": ").expect("a field")).map(|(a, b)| (a.to_owned(), b.to_owned()));
    Some(Reply { status: status.to_owned(), fields: fields.collect(), content: bytes[at + 4..].to_vec(), ended })
}
