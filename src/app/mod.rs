//! Applications worth shipping. Each is an ordinary [`Application`](crate::Application), usable at any door and under any mount.

#[cfg(unix)]
mod cgi;
mod demo;
mod files;
mod origin;
mod os;
mod pass;
mod path;
mod proxy;
mod relay;
mod script;
mod status;

#[cfg(unix)]
pub use cgi::Cgi;
pub use demo::demo;
pub use files::{Files, Uploads};
pub use pass::Pass;
pub use proxy::{Proxy, UpstreamError};
pub use status::Status;

/// What a policy calls a text: its SHA-256 in Base64.
#[cfg(test)]
fn sha256_of(text: &str) -> Option<String> {
    use std::io::Write;
    use std::process::{Command, Stdio};

    let mut digest = Command::new("openssl");
    digest.args(["dgst", "-sha256", "-binary"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut digest) = digest.spawn() else {
        println!("skipped: openssl is not installed");
        return None;
    };
    digest.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let mut base64 = Command::new("openssl");
    let base64 = base64.args(["base64", "-A"]).stdin(digest.stdout.take().unwrap()).output().unwrap();
    digest.wait().unwrap();
    Some(String::from_utf8(base64.stdout).unwrap().trim().to_owned())
}
