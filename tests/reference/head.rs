//! Request line and field lines (RFC 9112 sections 2.2, 3 and 5).

use super::{Cursor, Fault, Policy, Reading, Stop, is_tchar, is_value_byte, without_space};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub method: Vec<u8>,
    pub target: Vec<u8>,
    /// The minor version, of HTTP/1.
    pub minor: u8,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Everything up to the content.
    pub length: usize,
}

/// Reads the head at the front.
pub fn read_head(bytes: &[u8], policy: &Policy) -> Reading<Head> {
    let most = bytes.len().min(policy.head);
    match read_lines(&mut Cursor { bytes: &bytes[..most], at: 0 }, policy) {
        Err(Stop::More) if most == policy.head => Err(Stop::Fault(Fault::HeadOverLimit)),
        reading => reading,
    }
}

// HTTP-message = start-line CRLF *( field-line CRLF ) CRLF [ message-body ]
fn read_lines(cursor: &mut Cursor<'_>, policy: &Policy) -> Reading<Head> {
    let mut empty_lines = 0;
    while cursor.peek()? == b'\r' {
        cursor.take()?;
        cursor.take_lf()?;
        empty_lines += 1;
        if empty_lines > 2 {
            return Err(Stop::Fault(Fault::ThreeEmptyLines));
        }
    }
    // request-line = method SP request-target SP HTTP-version
    let method = read_method(cursor)?;
    let target = read_target(cursor, policy)?;
    let minor = read_version(cursor)?;
    let mut fields = Vec::new();
    while cursor.peek()? != b'\r' {
        fields.push(read_field(cursor, fields.len(), policy)?);
    }
    cursor.take()?;
    cursor.take_lf()?;
    Ok(Head { method, target, minor, fields, length: cursor.at })
}

// method = token
fn read_method(cursor: &mut Cursor<'_>) -> Reading<Vec<u8>> {
    let mut method = Vec::new();
    loop {
        match cursor.peek()? {
            byte if is_tchar(byte) => method.push(byte),
            b' ' if !method.is_empty() => {
                cursor.take()?;
                return Ok(method);
            }
            b' ' | b'\t' => return Err(Stop::Fault(Fault::LineShape)),
            _ => return cursor.misplaced(Fault::LineShape, Fault::MethodNoToken),
        }
        if method.len() > 32 {
            return Err(Stop::Fault(Fault::MethodOver32));
        }
        cursor.take()?;
    }
}

// What any form of a request-target may hold: visible ASCII, and no fragment.
fn read_target(cursor: &mut Cursor<'_>, policy: &Policy) -> Reading<Vec<u8>> {
    let mut target = Vec::new();
    loop {
        match cursor.peek()? {
            byte @ (0x21..=0x22 | 0x24..=0x7E) => target.push(byte),
            b' ' if !target.is_empty() => {
                cursor.take()?;
                return Ok(target);
            }
            _ => return cursor.misplaced(Fault::LineShape, Fault::TargetOctet),
        }
        if target.len() > policy.target {
            return Err(Stop::Fault(Fault::TargetOverLimit));
        }
        cursor.take()?;
    }
}

// HTTP-version = HTTP-name "/" DIGIT "." DIGIT
// HTTP-name    = %s"HTTP"
fn read_version(cursor: &mut Cursor<'_>) -> Reading<u8> {
    let mut version = Vec::new();
    while version.len() < 8 {
        let byte = cursor.peek()?;
        let fits = match version.len() {
            at @ 0..=4 => byte == b"HTTP/"[at],
            6 => byte == b'.',
            _ => byte.is_ascii_digit(),
        };
        if !fits {
            // Before its first byte a space is one too many, and a line end is too early.
            let shape = if version.is_empty() { Fault::LineShape } else { Fault::VersionShape };
            let other = if byte == b' ' || byte == b'\t' { shape } else { Fault::VersionShape };
            return cursor.misplaced(shape, other);
        }
        version.push(cursor.take()?);
    }
    match cursor.peek()? {
        b'\r' => cursor.take()?,
        b' ' | b'\t' => return Err(Stop::Fault(Fault::LineShape)),
        _ => return cursor.misplaced(Fault::VersionShape, Fault::VersionShape),
    };
    cursor.take_lf()?;
    if version[5] == b'1' { Ok(version[7] - b'0') } else { Err(Stop::Fault(Fault::VersionNotOne)) }
}

// field-line = field-name ":" OWS field-value OWS
fn read_field(cursor: &mut Cursor<'_>, before: usize, policy: &Policy) -> Reading<(Vec<u8>, Vec<u8>)> {
    let (mut name, mut value) = (Vec::new(), Vec::new());
    loop {
        match cursor.peek()? {
            byte if is_tchar(byte) => name.push(byte),
            b':' if !name.is_empty() => break,
            b' ' | b'\t' if name.is_empty() => return Err(Stop::Fault(Fault::Folded)),
            b' ' | b'\t' => return Err(Stop::Fault(Fault::SpaceBeforeColon)),
            _ => return cursor.misplaced(Fault::NoColon, Fault::NameNoToken),
        }
        if before == policy.fields {
            return Err(Stop::Fault(Fault::FieldsOverLimit));
        }
        if name.len() > policy.field_line {
            return Err(Stop::Fault(Fault::LineOverLimit));
        }
        cursor.take()?;
    }
    cursor.take()?;
    loop {
        if name.len() + 1 + value.len() > policy.field_line {
            return Err(Stop::Fault(Fault::LineOverLimit));
        }
        match cursor.peek()? {
            b'\r' => break,
            byte if is_value_byte(byte) => value.push(cursor.take()?),
            _ => return cursor.misplaced(Fault::CrAlone, Fault::ValueControl),
        }
    }
    cursor.take()?;
    cursor.take_lf()?;
    Ok((name, without_space(&value).to_vec()))
}
