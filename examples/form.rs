//! An HTML form and its answer.
//!
//! Run: `cargo run --example form` (or `-- 8001` for another port)
//! Try: a browser, or `curl -d 'name=Ada+Lovelace&colour=%23c0ffee' http://127.0.0.1:8000/`

use std::io;

use doorway::{Body, Environ, Server, StartResponse, escape_html};

/// More than this no browser sends for this form.
const LARGEST_FORM: usize = 8 * 1024;

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
    // What is no form is answered 415 by the error, and what is too long 413.
    let form = environ.form(LARGEST_FORM)?;
    let Some(name) = form.get("name").filter(|name| !name.trim().is_empty()) else {
        return Ok(page("422 Unprocessable Content", FORM, start_response));
    };
    let colour = form.get("colour").unwrap_or("no colour");
    let text = format!("<p>Hello, {}! You chose {}.\n", escape_html(name), escape_html(colour));
    Ok(page("200 OK", &text, start_response))
}

fn page(status: &str, html: &str, start_response: &mut StartResponse) -> Body {
    start_response.start(status, &[("Content-Type", "text/html; charset=utf-8")]);
    Body::from(html.to_owned())
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1);
    let server = Server::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("8000")))?;
    for address in server.addrs() {
        println!("{}", address.url());
    }
    server.serve(application)
}
