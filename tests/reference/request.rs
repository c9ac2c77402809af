//! What a head asks for: host, length of the content, fate of the connection (RFC 9110 sections 7.2, 7.6.1, 10.1.1, RFC 9112
//! sections 3.2, 6.3 and 9.3).

use super::head::{Head, read_head};
use super::target::{Target, is_host, read_target};
use super::{Fault, Policy, Reading, Stop, is_tchar, same, without_space};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Nothing,
    Length(u64),
    Chunked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub head: Head,
    pub target: Target,
    pub host: Option<Vec<u8>>,
    pub framing: Framing,
    pub expects_continue: bool,
    pub persists: bool,
}

impl Request {
    pub fn is_one_zero(&self) -> bool {
        self.head.minor == 0
    }

    /// Every value of a name, in order.
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        values(&self.head, name)
    }
}

fn values<'a>(head: &'a Head, name: &str) -> Vec<&'a [u8]> {
    head.fields.iter().filter(|(other, _)| same(other, name)).map(|(_, value)| &value[..]).collect()
}

/// Reads the request at the front, as far as its head says.
pub fn read_request(bytes: &[u8], policy: &Policy) -> Reading<Request> {
    let head = read_head(bytes, policy)?;
    judge(head).map_err(Stop::Fault)
}

fn judge(head: Head) -> Result<Request, Fault> {
    let target = read_target(&head.target, &head.method)?;
    for name in ["Host", "Content-Length", "Transfer-Encoding", "Content-Type", "Expect", "Authorization"] {
        if values(&head, name).len() > 1 {
            return Err(Fault::SaidTwice);
        }
    }
    let host = judge_host(&head, &target)?;
    let framing = judge_framing(&head)?;
    let expects_continue = judge_expect(&head)? && framing != Framing::Nothing && framing != Framing::Length(0);
    let persists = persists(&head);
    Ok(Request { head, target, host, framing, expects_continue, persists })
}

fn judge_host(head: &Head, target: &Target) -> Result<Option<Vec<u8>>, Fault> {
    let field = values(head, "Host").first().map(|value| value.to_vec());
    if field.is_none() && head.minor > 0 {
        return Err(Fault::NoHost);
    }
    if let Some(host) = &field {
        // Empty says that the target has no authority.
        let is_right = if host.is_empty() { target.absolute.is_none() } else { is_host(host, false) };
        if !is_right {
            return Err(Fault::BadHost);
        }
    }
    Ok(match &target.absolute {
        Some((_, authority)) => Some(authority.clone()),
        None => field.filter(|host| !host.is_empty()),
    })
}

fn judge_framing(head: &Head) -> Result<Framing, Fault> {
    let length = values(head, "Content-Length").first().map(|value| value.to_vec());
    let coding = values(head, "Transfer-Encoding").first().map(|value| value.to_vec());
    match (length, coding) {
        (None, None) => Ok(Framing::Nothing),
        (Some(_), Some(_)) => Err(Fault::LengthAndCoding),
        (Some(length), None) => {
            let digits = String::from_utf8_lossy(&length);
            let is_number = (1..=19).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.parse().ok().filter(|_| is_number);
            number.map(Framing::Length).ok_or(Fault::LengthNoNumber)
        }
        (None, Some(_)) if head.minor == 0 => Err(Fault::CodingInOneZero),
        (None, Some(coding)) if same(&coding, "chunked") => Ok(Framing::Chunked),
        (None, Some(coding)) if !coding.is_empty() && coding.iter().all(|byte| is_tchar(*byte)) => {
            Err(Fault::OtherCoding)
        }
        (None, Some(_)) => Err(Fault::CodingNoToken),
    }
}

fn judge_expect(head: &Head) -> Result<bool, Fault> {
    match values(head, "Expect").first() {
        Some(value) if head.minor > 0 => {
            if same(value, "100-continue") {
                Ok(true)
            } else {
                Err(Fault::OtherExpectation)
            }
        }
        _ => Ok(false),
    }
}

fn persists(head: &Head) -> bool {
    let all = values(head, "Connection").join(&b","[..]);
    let says = |word| all.split(|byte| *byte == b',').any(|option| same(without_space(option), word));
    !says("close") && (head.minor > 0 || says("keep-alive"))
}
