//! The slow parser of heads: a state, a byte, the next state.

use super::{Cause, Limits, Verdict, Version};

#[derive(Clone, Copy)]
enum At {
    Method,
    Target,
    Version,
    Line,
    Name,
    Value,
    Lf(Then),
}

#[derive(Clone, Copy)]
enum Then {
    Method,
    Fields,
    End,
    Fault(Cause),
}

/// Reads byte by byte with nothing in mind but the rules. Returns the verdict and how many bytes it took.
pub fn naive(bytes: &[u8], limits: &Limits) -> (Verdict, usize) {
    let (mut at, mut empty, mut part) = (At::Method, 0, Vec::new());
    let (mut method, mut target, mut version) = (Vec::new(), Vec::new(), Version::Http11);
    let (mut fields, mut name, mut line) = (Vec::new(), Vec::new(), 0);
    for (index, &byte) in bytes.iter().enumerate() {
        let tchar = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let white = byte == b' ' || byte == b'\t';
        line += 1;
        let next = match (at, byte) {
            (At::Lf(then), b'\n') => match then {
                Then::Method if empty == 2 => Err(Cause::EmptyLines),
                Then::Method => {
                    empty += 1;
                    Ok(At::Method)
                }
                Then::Fields => {
                    line = 0;
                    Ok(At::Line)
                }
                Then::End => {
                    let line = (method, target, version);
                    return (Verdict::Complete { len: index + 1, line, fields }, index + 1);
                }
                Then::Fault(cause) => Err(cause),
            },
            (At::Lf(_), _) => Err(Cause::BareCr),
            (_, b'\n') => Err(Cause::BareLf),

            (At::Method, b'\r') if part.is_empty() => Ok(At::Lf(Then::Method)),
            (At::Method | At::Target, b'\r') => Ok(At::Lf(Then::Fault(Cause::RequestLine))),
            (At::Method, b' ') if !part.is_empty() => {
                method = std::mem::take(&mut part);
                Ok(At::Target)
            }
            (At::Method, _) if white => Err(Cause::RequestLine),
            (At::Method, _) if !tchar => Err(Cause::Method),
            (At::Method, _) if part.len() == 32 => Err(Cause::MethodLong),

            (At::Target, b' ') if !part.is_empty() => {
                target = std::mem::take(&mut part);
                Ok(At::Version)
            }
            (At::Target, _) if byte <= b' ' || byte >= 0x7F || byte == b'#' => Err(Cause::TargetByte),
            (At::Target, _) if part.len() == limits.target => Err(Cause::TargetLong),

            (At::Version, b'\r') if part.is_empty() => Ok(At::Lf(Then::Fault(Cause::RequestLine))),
            (At::Version, b'\r') if part.len() < 8 => Ok(At::Lf(Then::Fault(Cause::Version))),
            (At::Version, b'\r') => match (part[5], part[7]) {
                (b'1', minor) => {
                    version = if minor == b'0' { Version::Http10 } else { Version::Http11 };
                    Ok(At::Lf(Then::Fields))
                }
                _ => Ok(At::Lf(Then::Fault(Cause::VersionUnsupported))),
            },
            (At::Version, _) if white && (part.is_empty() || part.len() == 8) => Err(Cause::RequestLine),
            (At::Version, _) => match (b"HTTP/0.0").get(part.len()) {
                Some(b'0') if byte.is_ascii_digit() => Ok(At::Version),
                Some(&wanted) if wanted != b'0' && byte == wanted => Ok(At::Version),
                _ => Err(Cause::Version),
            },

            (At::Line, b'\r') => Ok(At::Lf(Then::End)),
            (At::Line, _) if white => Err(Cause::FieldFold),
            (At::Line | At::Name, _) if tchar => {
                if matches!(at, At::Line) && fields.len() == limits.fields {
                    Err(Cause::FieldCount)
                } else if line > limits.field_line {
                    Err(Cause::FieldLong)
                } else {
                    name.push(byte);
                    Ok(At::Name)
                }
            }
            (At::Name, b'\r') => Ok(At::Lf(Then::Fault(Cause::FieldColon))),
            (At::Name, b':') if line > limits.field_line => Err(Cause::FieldLong),
            (At::Name, b':') => Ok(At::Value),
            (At::Name, _) if white => Err(Cause::FieldSpace),
            (At::Line | At::Name, _) => Err(Cause::FieldName),

            (At::Value, b'\r') => {
                let value = std::mem::take(&mut part);
                let value = value.trim_ascii().to_vec();
                fields.push((std::mem::take(&mut name), value));
                Ok(At::Lf(Then::Fields))
            }
            (At::Value, _) if (byte < b' ' && !white) || byte == 0x7F => Err(Cause::FieldValue),
            (At::Value, _) if line > limits.field_line => Err(Cause::FieldLong),
            (same, _) => Ok(same),
        };
        match (at, next) {
            (_, Err(cause)) => return (Verdict::Invalid(cause), index + 1),
            _ if index + 1 == limits.head => return (Verdict::Invalid(Cause::HeadLong), index + 1),
            (before, Ok(next)) => {
                let same = matches!(
                    (before, next),
                    (At::Method, At::Method)
                        | (At::Target, At::Target)
                        | (At::Version, At::Version)
                        | (At::Value, At::Value)
                );
                match next {
                    At::Lf(_) => part.clear(),
                    _ if same => part.push(byte),
                    _ => {}
                }
                at = next;
            }
        }
    }
    (Verdict::Incomplete, bytes.len())
}
