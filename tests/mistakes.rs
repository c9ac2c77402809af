//! What newcomers get wrong, and what the compiler tells them then: the notes that are ours name the mend. rustc's own lines are its own affair, and
//! only the number of its error is held. The programs are compiled by rustc against the library that this test is built with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mistake, the number of the error, and the notes of ours that it shows.
struct Mistake {
    program: &'static str,
    error: &'static str,
    notes: &'static [&'static str],
}

const SHAPE: &str = "an application is `fn(&Environ, &mut StartResponse) -> R`; a closure writes the two types out";
const RETURN: &str = "`R` is `Body`, text, bytes, a `File`, `()`, or a `Result` of one of them; anything else becomes one by `Body::from` or `.into()`";
const ERROR: &str =
    "the error of that `Result` has to cross threads: `Box<dyn Error + Send + Sync>` in place of `Box<dyn Error>`";
const SHARED: &str = "what it captures is shared by threads: `Arc` in place of `Rc`, `Mutex` in place of `RefCell`";

const MISTAKES: &[Mistake] = &[
    Mistake {
        program: "fn app(_: &Environ, _: &mut StartResponse) -> Result<Body, Box<dyn std::error::Error>> { Ok(Body::empty()) }
            fn main() { Server::bind(\"127.0.0.1:0\").unwrap().serve(app).unwrap(); }",
        error: "E0277",
        notes: &[ERROR],
    },
    Mistake {
        program: "fn main() {
                let seen = std::rc::Rc::new(std::cell::Cell::new(0));
                Server::bind(\"127.0.0.1:0\").unwrap().serve(move |_: &Environ, _: &mut StartResponse| {
                    seen.set(seen.get() + 1);
                    Body::empty()
                }).unwrap();
            }",
        error: "E0277",
        notes: &[SHARED],
    },
    Mistake {
        program: "fn app(_: &Environ, _: &mut StartResponse) -> Option<String> { None }
            fn main() { Server::bind(\"127.0.0.1:0\").unwrap().serve(app).unwrap(); }",
        error: "E0277",
        notes: &[RETURN, SHAPE],
    },
    Mistake {
        program: "fn main() { Server::bind(\"127.0.0.1:0\").unwrap().serve(\"a text\").unwrap(); }",
        error: "E0277",
        notes: &[SHAPE],
    },
    // What follows is rustc's alone: no attribute reaches these errors.
    Mistake {
        program: "fn outer(inner: impl Application) -> impl Application {
                move |environ: &Environ, start_response: &mut StartResponse| inner(environ, start_response)
            }
            fn main() { outer(doorway::app::demo); }",
        error: "E0618",
        notes: &[],
    },
    Mistake {
        program: "fn main() {
                Server::bind(\"127.0.0.1:0\").unwrap().serve(|environ, start_response| {
                    start_response.start(\"200 OK\", &[]);
                    Body::empty()
                }).unwrap();
            }",
        error: "E0282",
        notes: &[],
    },
    Mistake {
        program: "fn app(_: &Environ, start_response: &mut StartResponse) -> Body {
                let headers: Vec<(String, String)> = Vec::new();
                start_response.start(\"200 OK\", &headers);
                Body::empty()
            }
            fn main() { Server::bind(\"127.0.0.1:0\").unwrap().serve(app).unwrap(); }",
        error: "E0308",
        notes: &[],
    },
];

/// The library of this very build, or else a word about why there is none.
fn library() -> Option<PathBuf> {
    let folder = std::env::current_exe().ok()?.parent()?.to_owned();
    let libraries = fs::read_dir(&folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("libdoorway-") && name.ends_with(".rlib")
    });
    let newest = libraries.max_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    if newest.is_none() {
        println!("skipped: no library of doorway in {}", folder.display());
    }
    newest
}

/// What rustc says about a program; `None`, with a word about it, where there is no rustc.
fn compiled(library: &Path, name: &str, program: &str) -> Option<String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let folder = std::env::temp_dir().join(format!("doorway-mistakes-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("main.rs"), program).unwrap();
    let output = Command::new(&rustc)
        .args(["--edition", "2024", "--emit=metadata", "main.rs", "--extern"])
        .arg(format!("doorway={}", library.display()))
        .current_dir(&folder)
        .output();
    fs::remove_dir_all(&folder).unwrap();
    match output {
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => {
            println!("skipped: {rustc} does not start: {error}");
            None
        }
    }
}

#[test]
fn each_mistake_has_one_error_and_the_notes_that_name_the_mend() {
    let Some(library) = library() else { return };
    for (number, mistake) in MISTAKES.iter().enumerate() {
        let names = "#[allow(unused_imports)] use doorway::{Application, Body, Environ, Server, StartResponse};";
        let program = format!("{names}\n{}", mistake.program);
        let Some(said) = compiled(&library, &number.to_string(), &program) else { return };
        let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error[")).collect();
        let is_right = errors.len() == 1 && errors[0].starts_with(&format!("error[{}]", mistake.error));
        assert!(is_right, "{}\n{said}", mistake.program);
        for note in mistake.notes {
            assert!(said.contains(note), "no note {note:?} in\n{said}");
        }
    }
}
