//! A small application as one writes it without a framework: HTML, forms, a cookie, a dispatch table, state behind a lock.
//!
//! Run: `cargo run --example todo` (or `-- 8001` for another port)
//! Try: a browser, or `curl -i -d 'text=Buy+milk' http://127.0.0.1:8000/add` and `curl http://127.0.0.1:8000/`
//!
//! There is one list for everybody who reaches the port, and it is gone when the program ends.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorway::{Application, Environ, Response, SameSite, Server, SetCookie, escape_html, simple};

const LARGEST_FORM: usize = 8 * 1024;
const MOST_ITEMS: usize = 1000;

const ADD: &str =
    "</ul>\n<form method=post action=add><input name=text required autofocus> <button>Add</button></form>\n";
const HIDE: &str = "<form method=post action=show><button name=show value=open>Hide what is done</button></form>\n";
const SHOW: &str = "<form method=post action=show><button name=show value=all>Show all</button></form>\n";

/// Answers a request; the text is that of the field which the route names.
type Handler = fn(&Todo, &Environ, &str) -> Response;

/// Everything that can be asked for: path, the field of the form that is sent there, and who answers.
const ROUTES: [(&str, Option<&str>, Handler); 4] = [
    ("/", None, Todo::page),
    ("/add", Some("text"), Todo::add),
    ("/done", Some("item"), Todo::done),
    ("/show", Some("show"), Todo::show),
];

#[derive(Default)]
struct Todo(Mutex<Vec<Item>>);

struct Item {
    text: String,
    is_done: bool,
}

/// The application, with a list of its own.
pub fn todo() -> impl Application {
    let todo = Todo::default();
    simple(move |environ: &Environ| -> io::Result<Response> {
        // No page of another site may show this one in a frame and lead a click of its user to it.
        Ok(todo.answer(environ)?.with_header("X-Frame-Options", "DENY"))
    })
}

impl Todo {
    fn answer(&self, environ: &Environ) -> io::Result<Response> {
        let path = environ.path();
        let Some((_, field, handler)) = ROUTES.iter().find(|(other, ..)| *other == path) else {
            return Ok(refused("404 Not Found"));
        };
        let text = match (environ.method(), field) {
            ("GET" | "HEAD", None) => String::new(),
            ("POST", Some(field)) => match read_field(environ, field)? {
                Ok(text) => text,
                Err(status) => return Ok(refused(status)),
            },
            (_, None) => return Ok(refused("405 Method Not Allowed").with_header("Allow", "GET, HEAD")),
            (_, Some(_)) => return Ok(refused("405 Method Not Allowed").with_header("Allow", "POST")),
        };
        Ok(handler(self, environ, &text))
    }

    fn page(&self, environ: &Environ, _: &str) -> Response {
        let only_open = environ.cookie("show").as_deref() == Some("open");
        let mut html = String::from("<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>To do</title>\n<ul>\n");
        for (number, item) in self.items().iter().enumerate().filter(|(_, item)| !(only_open && item.is_done)) {
            let text = escape_html(&item.text);
            let button = format!("<button name=item value={number}>Done</button>");
            html += &match item.is_done {
                true => format!("<li><s>{text}</s>\n"),
                false => format!("<li><form method=post action=done>{text} {button}</form>\n"),
            };
        }
        html += ADD;
        html += if only_open { SHOW } else { HIDE };
        Response::html(html)
    }

    fn add(&self, _: &Environ, text: &str) -> Response {
        let (text, mut items) = (text.trim().to_owned(), self.items());
        if text.is_empty() || items.len() == MOST_ITEMS {
            return refused("422 Unprocessable Content");
        }
        items.push(Item { text, is_done: false });
        back()
    }

    fn done(&self, _: &Environ, number: &str) -> Response {
        let mut items = self.items();
        let Some(item) = number.parse().ok().and_then(|number: usize| items.get_mut(number)) else {
            return refused("404 Not Found");
        };
        item.is_done = true;
        back()
    }

    /// Keeps in the browser what it wants to see.
    fn show(&self, _: &Environ, show: &str) -> Response {
        if !["all", "open"].contains(&show) {
            return refused("422 Unprocessable Content");
        }
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        back().with_cookie(&SetCookie::new("show", show).max_age(year).http_only().same_site(SameSite::Lax))
    }

    fn items(&self) -> MutexGuard<'_, Vec<Item>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// To the page, wherever this application is mounted; a reload sends no form a second time.
fn back() -> Response {
    Response::redirect("./")
}

fn refused(status: &'static str) -> Response {
    Response::text(format!("{status}\n")).with_status(status)
}

/// A field of the form in the content, or the status to refuse it with.
fn read_field(environ: &Environ, name: &str) -> io::Result<Result<String, &'static str>> {
    // A browser says where a request comes from: forms on other sites are not for this list.
    if matches!(environ.header("sec-fetch-site").as_deref(), Some("cross-site" | "same-site")) {
        return Ok(Err("403 Forbidden"));
    }
    let form = environ.form(LARGEST_FORM)?;
    Ok(form.get(name).map(str::to_owned).ok_or("422 Unprocessable Content"))
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1);
    let server = Server::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("8000")))?;
    server.addrs().for_each(|address| println!("{}", address.url()));
    server.serve(todo())
}
