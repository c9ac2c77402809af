//! An HTML form and its answer, with nothing but what the crate gives.
//!
//! Run: `cargo run --example form` (or `-- 8001` for another port)
//! Try: a browser, or `curl -d 'name=Ada+Lovelace&colour=%23c0ffee' http://127.0.0.1:8000/`

use std::io::{self, Read};

use doorway::{Body, Environ, Server, StartResponse, percent_decode};

/// More than this no browser sends for this form.
const LARGEST_FORM: u64 = 8 * 1024;

const FORM: &str = r#"<!DOCTYPE html>
<title>A form</title>
<form method="post">
<label>Your name <input name="name" required></label>
<label>Your colour <input name="colour" type="color"></label>
<button>Send</button>
</form>
"#;

pub fn application(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
    match environ.method() {
        "GET" | "HEAD" => Ok(page("200 OK", FORM, start_response)),
        "POST" => answer(environ, start_response),
        _ => {
            start_response.start("405 Method Not Allowed", &[("Allow", "GET, HEAD, POST")]);
            Ok(Body::empty())
        }
    }
}

fn answer(environ: &Environ, start_response: &mut StartResponse) -> io::Result<Body> {
    let content_type = environ.content_type().unwrap_or_default();
    // A browser may put a charset behind it.
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(page("415 Unsupported Media Type", "Send a form.\n", start_response));
    }
    let mut content = Vec::new();
    // One byte more than allowed tells a form that is too large from one that just fits.
    environ.input().take(LARGEST_FORM + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST_FORM {
        return Ok(page("413 Content Too Large", "That is too much.\n", start_response));
    }
    let fields = fields(&content);
    let Some(name) = value(&fields, "name").filter(|name| !name.trim().is_empty()) else {
        return Ok(page("422 Unprocessable Content", FORM, start_response));
    };
    let colour = value(&fields, "colour").unwrap_or("no colour");
    let text = format!("<p>Hello, {}! You chose {}.\n", escaped(name), escaped(colour));
    Ok(page("200 OK", &text, start_response))
}

fn page(status: &str, html: &str, start_response: &mut StartResponse) -> Body {
    start_response.start(status, &[("Content-Type", "text/html; charset=utf-8")]);
    Body::from(html.to_owned())
}

/// The names and values of a form, in order.
pub fn fields(content: &[u8]) -> Vec<(String, String)> {
    let pairs = content.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let mut part = || decoded(parts.next().unwrap_or_default());
            (part(), part())
        })
        .collect()
}

/// A space is sent as `+`, and a `+` as `%2B`: so the plus signs go before the escapes are decoded.
fn decoded(text: &[u8]) -> String {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let mut bytes = Vec::with_capacity(spaced.len());
    percent_decode(&spaced, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn value<'fields>(fields: &'fields [(String, String)], name: &str) -> Option<&'fields str> {
    fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
}

/// Text that a browser shows and never runs, in an element as in a quoted attribute.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1);
    let server = Server::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("8000")))?;
    for address in server.addrs() {
        println!("{}", address.url());
    }
    server.serve(application)
}
