//! A small site with everything that one has: a login, notes by JSON, files that are uploaded, and a page that hears of news at once.
//!
//! Run: `cargo run --example notes` (or `-- 8001 FOLDER` for another port and another folder than `uploads`), and log in with the password it prints.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use doorway::app::Files;
use doorway::middleware::{ConditionalGet, local_only};
use doorway::multipart::{Limits, Parts};
use doorway::{
    Application, Body, Environ, Event, Response, SameSite, Sender, Server, SetCookie, json_string, random_token, simple,
};

const LOGIN: &str = "<!DOCTYPE html><title>Log in</title><form method=post action=/login><input name=password type=password autofocus></form>";
const PAGE: &str = r#"<!DOCTYPE html><title>Notes</title>
<form id=note><input name=text autofocus><button>Add</button></form><ul></ul>
<form method=post action=/upload enctype=multipart/form-data><input type=file name=file multiple><button>Upload</button></form><a href=/files/>Files</a>
<script>
const show = async () => document.querySelector("ul").replaceChildren(...(await (await fetch("/notes")).json()).map(text => {
    const line = document.createElement("li");
    line.textContent = text;
    return line;
}));
Object.assign(new EventSource("/events"), {onopen: show, onmessage: show});
note.onsubmit = event => { event.preventDefault(); fetch("/notes", {method: "POST", body: new URLSearchParams(new FormData(note))}); note.reset(); };
</script>"#;

pub struct Notes {
    password: String,
    folder: PathBuf,
    files: Files,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sessions: BTreeSet<String>,
    notes: Vec<String>,
    watchers: Vec<Sender>,
}

impl Notes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, environ: &Environ) -> io::Result<Response> {
        let is_known = environ.cookie("session").is_some_and(|session| self.state().sessions.contains(&*session));
        Ok(match (environ.method(), &*environ.path()) {
            ("POST", "/login") => self.log_in(environ)?,
            _ if !is_known => Response::html(LOGIN).with_status("403 Forbidden"),
            ("GET" | "HEAD", "/") => Response::html(PAGE),
            ("GET" | "HEAD", "/notes") => {
                let notes: Vec<String> = self.state().notes.iter().map(|note| json_string(note)).collect();
                Response::json(format!("[{}]", notes.join(",")))
            }
            ("POST", "/notes") => {
                let form = environ.form(10_000)?;
                let mut state = self.state();
                state.notes.extend(form.get("text").map(str::to_owned));
                state.tell(&Event::new("news"));
                Response::new("204 No Content", ())
            }
            ("POST", "/upload") => self.store(environ)?,
            ("GET", "/events") => self.events(),
            (_, path) if path.starts_with("/files/") => {
                let mut inner = environ.clone();
                inner.shift_path();
                Response::of(&self.files, &inner)
            }
            _ => Response::text("Nothing is here.\n").with_status("404 Not Found"),
        })
    }

    fn log_in(&self, environ: &Environ) -> io::Result<Response> {
        if environ.form(1_000)?.get("password") != Some(&self.password) {
            return Ok(Response::html(LOGIN).with_status("403 Forbidden"));
        }
        let session = random_token()?;
        self.state().sessions.insert(session.clone());
        let cookie = SetCookie::new("session", session).path("/").http_only().same_site(SameSite::Strict);
        Ok(Response::redirect("/").with_cookie(&cookie))
    }

    fn store(&self, environ: &Environ) -> io::Result<Response> {
        let mut parts = Parts::of(environ, Limits::default())?;
        while let Some(mut part) = parts.next_part()? {
            let Some(name) = part.safe_file_name() else { continue };
            io::copy(&mut part, &mut File::create(self.folder.join(name))?)?;
        }
        Ok(Response::redirect("/files/"))
    }

    fn events(&self) -> Response {
        let (sender, body) = Body::events(16);
        let mut state = self.state();
        // Those who have left are noticed by what is sent to them.
        state.tell(&Event::comment(""));
        state.watchers.push(sender);
        Response::events(body)
    }
}

impl State {
    fn tell(&mut self, event: &Event) {
        self.watchers.retain(|watcher| watcher.try_send(event.clone()).is_ok());
    }
}

/// The whole site. What anybody uploads is shown as a download, whatever it says it is.
pub fn site(password: String, folder: PathBuf) -> io::Result<impl Application> {
    fs::create_dir_all(&folder)?;
    let files = Files::new(&folder)?.listing(true).header("Content-Security-Policy", "sandbox");
    let notes = Notes { password, folder, files, state: Mutex::default() };
    Ok(local_only(ConditionalGet::new(simple(move |environ: &Environ| notes.answer(environ)))))
}

fn main() -> io::Result<()> {
    let (port, folder) = (std::env::args().nth(1), std::env::args().nth(2));
    let server = Server::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("8000")))?;
    let password = random_token()?;
    server.addrs().for_each(|address| println!("{}\nThe password is {password}", address.url()));
    server.serve(site(password, folder.as_deref().unwrap_or("uploads").into())?)
}
