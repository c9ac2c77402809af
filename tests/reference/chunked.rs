//! The chunked coding (RFC 9112 section 7.1).

use super::{Cursor, Fault, Policy, Reading, Stop, hex_digit, is_tchar, is_value_byte};

/// What a chunked content is and how many bytes it takes on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub content: Vec<u8>,
    pub length: usize,
}

/// What was counted so far.
#[derive(Default)]
struct Counts {
    data: u64,
    around: u64,
    extensions: usize,
}

// chunked-body = *chunk last-chunk trailer-section CRLF
// chunk        = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
pub fn read_chunked(bytes: &[u8], policy: &Policy) -> Reading<Content> {
    let cursor = &mut Cursor { bytes, at: 0 };
    let mut counts = Counts::default();
    let mut content = Vec::new();
    loop {
        let line = cursor.at;
        let size = read_size(cursor)?;
        read_extensions(cursor, &mut counts)?;
        counts.around += (cursor.at - line) as u64;
        counts.data = counts.data.saturating_add(size);
        if counts.around > 64 * 1024 && counts.around > counts.data {
            return Err(Stop::Fault(Fault::MoreFrameThanData));
        }
        if policy.content.is_some_and(|most| counts.data > most) {
            return Err(Stop::Fault(Fault::ContentOverLimit));
        }
        if size == 0 {
            break;
        }
        for _ in 0..size {
            content.push(cursor.take()?);
        }
        for expected in *b"\r\n" {
            if cursor.take()? != expected {
                return Err(Stop::Fault(Fault::DataWithoutEnd));
            }
        }
        counts.around += 2;
    }
    read_trailers(cursor, policy)?;
    Ok(Content { content, length: cursor.at })
}

// chunk-size = 1*HEXDIG, here at most 16
fn read_size(cursor: &mut Cursor<'_>) -> Reading<u64> {
    let (mut size, mut digits) = (0u64, 0);
    loop {
        match cursor.peek()? {
            byte if hex_digit(byte).is_some() => {
                digits += 1;
                if digits > 16 {
                    return Err(Stop::Fault(Fault::SizeNoNumber));
                }
                size = size * 16 + u64::from(hex_digit(byte).unwrap());
                cursor.take()?;
            }
            b'\n' => return Err(Stop::Fault(Fault::LfAlone)),
            b'\r' | b';' | b' ' | b'\t' if digits > 0 => return Ok(size),
            _ => return Err(Stop::Fault(Fault::SizeNoNumber)),
        }
    }
}

// chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
fn read_extensions(cursor: &mut Cursor<'_>, counts: &mut Counts) -> Reading<()> {
    let start = cursor.at;
    let before = counts.extensions;
    let take = &mut |cursor: &mut Cursor<'_>| {
        cursor.take()?;
        counts.extensions = before + cursor.at - start;
        if cursor.at - start > 256 || counts.extensions > 16 * 1024 {
            return Err(Stop::Fault(Fault::ExtensionOverLimit));
        }
        Ok(())
    };
    let wrong = |byte| Err(Stop::Fault(if byte == b'\n' { Fault::LfAlone } else { Fault::ExtensionShape }));
    let mut spaced = take_while(cursor, take, is_space)? > 0;
    loop {
        match cursor.peek()? {
            b';' => take(cursor)?,
            b'\r' if !spaced => break,
            byte => return wrong(byte),
        }
        take_while(cursor, take, is_space)?;
        // chunk-ext-name = token
        if take_while(cursor, take, is_tchar)? == 0 {
            return wrong(cursor.peek()?);
        }
        spaced = take_while(cursor, take, is_space)? > 0;
        if cursor.peek()? != b'=' {
            continue;
        }
        take(cursor)?;
        take_while(cursor, take, is_space)?;
        // chunk-ext-val = token / quoted-string
        if cursor.peek()? == b'"' {
            take(cursor)?;
            loop {
                let byte = cursor.peek()?;
                if !is_value_byte(byte) {
                    return wrong(byte);
                }
                take(cursor)?;
                if byte == b'"' {
                    break;
                }
                if byte == b'\\' {
                    if !is_value_byte(cursor.peek()?) {
                        return wrong(cursor.peek()?);
                    }
                    take(cursor)?;
                }
            }
        } else if take_while(cursor, take, is_tchar)? == 0 {
            return wrong(cursor.peek()?);
        }
        spaced = take_while(cursor, take, is_space)? > 0;
    }
    cursor.take()?;
    cursor.take_lf()
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Takes every byte of a kind; gives how many there were.
fn take_while(
    cursor: &mut Cursor<'_>,
    take: &mut impl FnMut(&mut Cursor<'_>) -> Reading<()>,
    is: fn(u8) -> bool,
) -> Reading<usize> {
    let start = cursor.at;
    while is(cursor.peek()?) {
        take(cursor)?;
    }
    Ok(cursor.at - start)
}

// trailer-section = *( field-line CRLF )
fn read_trailers(cursor: &mut Cursor<'_>, policy: &Policy) -> Reading<()> {
    let start = cursor.at;
    let mut fields = 0;
    // A byte that may stand here counts against the limits; one that may not is what it is.
    let take = |cursor: &mut Cursor<'_>, line: usize, fields: usize| {
        cursor.take()?;
        if cursor.at - start > policy.head || line > policy.field_line || fields > policy.fields {
            return Err(Stop::Fault(Fault::TrailerOverLimit));
        }
        Ok(())
    };
    let wrong = |byte| Err(Stop::Fault(if byte == b'\n' { Fault::LfAlone } else { Fault::TrailerShape }));
    while cursor.peek()? != b'\r' {
        let mut line = 0;
        let mut is_name = true;
        fields += 1;
        loop {
            let byte = cursor.peek()?;
            match (is_name, byte) {
                (true, b':') if line > 0 => is_name = false,
                (true, _) if is_tchar(byte) => {}
                (false, b'\r') => break,
                (false, _) if is_value_byte(byte) => {}
                _ => return wrong(byte),
            }
            line += 1;
            take(cursor, line, fields)?;
        }
        take_crlf(cursor, |cursor| take(cursor, 0, fields))?;
    }
    take_crlf(cursor, |cursor| take(cursor, 0, fields))
}

fn take_crlf(cursor: &mut Cursor<'_>, mut take: impl FnMut(&mut Cursor<'_>) -> Reading<()>) -> Reading<()> {
    take(cursor)?;
    if cursor.peek()? != b'\n' {
        return Err(Stop::Fault(Fault::CrAlone));
    }
    take(cursor)
}
