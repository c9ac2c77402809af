//! Every fenced block of every page is run. Rust is compiled by the doc tests of `lib.rs`, which include its page; `guide.rs` does all of two pages; what
//! else there is stands in the table below, with what runs it: mostly a test in this file, which takes the block from its page. A block without a row
//! fails, and so does a row without a block. Paths of a system become those of a scratch folder, and addresses free ones.
//!
//! Where the tool of a block is not installed, its test says so.

#![cfg(unix)]

mod serving;
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use doorway::{Body, Environ, Server, StartResponse, app};
use serving::{Folder, Running, Serving, ask, free_port, is_program, is_root, is_there, run, wait_for};
use support::example::example;
use support::pages::{block, fences, pages, read};
use support::serve;

enum Fate {
    /// A test file or `.ci/run` runs it, and has this text.
    By(&'static str, &'static str),
    /// Nobody does, for a reason. A shell reads it, and what it names is there.
    Named(&'static str),
}

use Fate::{By, Named};

const HERE: &str = "tests/blocks.rs";
const VENDORING: &str = "tests/vendoring.rs";

/// Of each block its page, a part that no other block of the page has, and who runs it.
const BLOCKS: &[(&str, &str, Fate)] = &[
    ("README.md", "[dependencies]", By(VENDORING, "block(PAGE, \"[dependencies]\")")),
    ("README.md", "cargo run --release\n", By(".ci/run", "step 'cargo run --release' readme_run")),
    ("README.md", "cargo run --release -- --demo\n", By(".ci/run", "cargo run --release --offline -- --demo")),
    ("README.md", "curl -i", By(HERE, "fn the_demonstration_answers")),
    ("README.md", "cargo tree", By(HERE, "fn an_auditor_sees")),
    ("README.md", "cargo test\n", By(".ci/run", "step 'cargo test'")),
    ("docs/behind.md", "exec git http-backend", By(HERE, "fn git_clones")),
    ("docs/command.md", "doorway [FLAGS]", By(HERE, "fn the_help")),
    ("docs/command.md", "curl -T film.mp4", By(HERE, "fn files_are_uploaded")),
    ("docs/command.md", "caddy reverse-proxy", By("tests/https.rs", "check(\"caddy\")")),
    ("docs/command.md", "stunnel -fd 0", By("tests/https.rs", "check(\"stunnel\")")),
    ("docs/command.md", "postrotate", By(HERE, "fn logrotate")),
    ("docs/command.md", "cp doorway-1.1", By(HERE, "fn the_next_program")),
    ("docs/command.md", "doorway --completions bash", By(HERE, "fn completions_are")),
    ("docs/conformance.md", "DOORWAY_SCORE=", By(HERE, "fn a_server_elsewhere_is_scored")),
    ("docs/front-servers.md", "upstream application", By(HERE, "fn nginx_passes_on")),
    ("docs/operations.md", "scrape_configs:", By(HERE, "fn prometheus_takes")),
    ("docs/performance.md", "wrk -t2", By(HERE, "fn the_figures")),
    ("docs/rules.md", "cargo mutants", Named("it takes hours, and a tool that no distribution has")),
    ("docs/small-systems.md", "[profile.release]", By(HERE, "fn the_profile")),
    ("docs/small-systems.md", "--target x86_64-unknown-linux-musl", By(HERE, "fn the_image")),
    ("docs/small-systems.md", "FROM scratch", By(HERE, "fn the_image")),
    ("docs/vendoring.md", "[dependencies]", By(VENDORING, "block(PAGE, \"[dependencies]\")")),
    ("docs/vendoring.md", "[workspace]", By(VENDORING, "block(PAGE, \"[workspace]\")")),
    ("docs/vendoring.md", "cp -r ../doorway/src src/doorway", By(VENDORING, "block(PAGE, \"src/doorway\")")),
    ("docs/vendoring.md", "cargo tree", By(HERE, "fn an_auditor_sees")),
    ("tests/fuzz/README.md", "tests/fuzz/run", Named("it takes ten minutes; .ci/run does it for 20 seconds each")),
];

#[test]
fn every_block_of_every_page_is_run_by_somebody() {
    let (lib, guide) = (read("src/lib.rs"), read("tests/guide.rs"));
    let mut is_used = vec![false; BLOCKS.len()];
    for page in pages() {
        let name = page.trim_start_matches("docs/").trim_end_matches(".md");
        if guide.contains(&format!("done(\"{name}\")")) {
            continue;
        }
        for (language, text) in fences(&read(&page)) {
            if language.starts_with("rust") {
                assert!(lib.contains(&format!("include_str!(\"../{page}\")")), "lib.rs does not include {page}");
                continue;
            }
            let is_of = |(of, part, _): &(&str, &str, Fate)| *of == page && text.contains(part);
            let rows: Vec<usize> = (0..BLOCKS.len()).filter(|row| is_of(&BLOCKS[*row])).collect();
            let [row] = rows[..] else { panic!("{} rows say who runs, of {page},\n{text}", rows.len()) };
            is_used[row] = true;
            match BLOCKS[row].2 {
                By(file, part) => assert!(read(file).contains(part), "{file} does not run, of {page},\n{text}"),
                Named(reason) => {
                    println!("not run, because {reason}:\n{text}");
                    assert_named(&text);
                }
            }
        }
    }
    for ((page, part, _), is_used) in BLOCKS.iter().zip(is_used) {
        assert!(is_used, "no block of {page} has {part}");
    }
}

/// A shell understands the commands, and the files, tests and targets they name are there.
fn assert_named(commands: &str) {
    assert!(Command::new("sh").args(["-nc", commands]).status().unwrap().success(), "{commands}");
    let words: Vec<&str> = commands.split_whitespace().map(|word| word.trim_matches('\'')).collect();
    let mut count = 0;
    for (before, word) in words.iter().zip(&words[1..]) {
        let file = match *before {
            "-f" => word.split('*').next().unwrap().to_owned(),
            "--fuzz-dir" => (*word).to_owned(),
            "--test" => format!("tests/{word}.rs"),
            "tests/fuzz/run" | "tests/fuzz" => format!("tests/fuzz/fuzz_targets/{word}.rs"),
            _ => continue,
        };
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file).exists(), "no {file}:\n{commands}");
        count += 1;
    }
    assert!(count > 0, "nothing to look for in\n{commands}");
}

/// What commands print that are run in a folder, which is also the home, with `doorway` and cargo on the path. None of them may fail.
fn shell(commands: &str, folder: &Path) -> String {
    let programs = Folder::new(&[]);
    // Whatever the file of the command is called.
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_doorway"), programs.path().join("doorway")).unwrap();
    let mut path = vec![programs.path().to_owned()];
    path.extend(std::env::var_os("CARGO").iter().filter_map(|cargo| Path::new(cargo).parent()).map(Path::to_owned));
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let mut command = Command::new("sh");
    command.args(["-ec", commands]).current_dir(folder).stdin(Stdio::null());
    command.env("PATH", std::env::join_paths(path).unwrap()).env("HOME", folder);
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{commands}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// Starts a program that prints its URL first; gives its address.
fn started(command: &mut Command) -> (Running, String) {
    let mut running = Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().trim_start_matches("http://").trim_end_matches('/').to_owned();
    (running, address)
}

const REQUEST: &str = "GET / HTTP/1.0\r\n\r\n";

#[test]
fn the_demonstration_answers_the_commands_of_the_readme() {
    if !is_there("curl", "--version") {
        return;
    }
    let handle = Server::bind("127.0.0.1:0").unwrap().spawn(app::demo).unwrap();
    let commands = block("README.md", "curl -i").replace("127.0.0.1:8000", &handle.addr().to_string());
    let out = shell(&commands, Path::new(env!("CARGO_MANIFEST_DIR")));
    assert_eq!(out.matches("Hello world!\n").count(), commands.lines().count(), "{out}");
}

#[test]
fn an_auditor_sees_one_line_of_dependencies_and_that_unsafe_is_forbidden() {
    if std::env::var_os("CARGO").is_none() {
        println!("skipped: cargo does not run this test");
        return;
    }
    for page in ["README.md", "docs/vendoring.md"] {
        let out = shell(&block(page, "cargo tree"), Path::new(env!("CARGO_MANIFEST_DIR")));
        let lines: Vec<&str> = out.lines().collect();
        assert!(
            matches!(lines[..], [tree, found] if tree.starts_with("doorway v") && found.ends_with("#![forbid(unsafe_code)]")),
            "{out}"
        );
    }
}

#[test]
fn the_help_of_the_command_is_the_one_it_prints() {
    let (_, help, _) = run(&["--help"]);
    assert!(block("docs/command.md", "doorway [FLAGS]") == help, "docs/command.md should have:\n```text\n{help}```");
}

#[test]
fn files_are_uploaded_by_the_commands_of_the_page() {
    if !is_there("curl", "--version") {
        return;
    }
    let files = [("film.mp4", "moving"), ("a.txt", "first"), ("b.txt", "second")];
    let (site, own) = (Folder::new(&[("inbox/older", "")]), Folder::new(&files));
    let serving = Serving::folder(site.path(), &["--upload=inbox"]);
    shell(&block("docs/command.md", "curl -T film.mp4").replace("127.0.0.1:8000", serving.address()), own.path());
    for (name, content) in files {
        assert_eq!(fs::read_to_string(site.path().join("inbox").join(name)).unwrap(), content, "{name}");
    }
}

#[test]
fn logrotate_gives_the_command_a_new_log() {
    if !is_there("logrotate", "--version") {
        return;
    }
    let (site, place) = (Folder::new(&[]), Folder::new(&[]));
    let file = |name: &str| place.path().join(name).into_os_string().into_string().unwrap();
    let (log, number) = (file("doorway.log"), file("doorway.pid"));
    let serving = Serving::folder(site.path(), &["--log-file", &log, "--pid-file", &number]);
    let has = |file: &str, part: &str| fs::read_to_string(file).is_ok_and(|text| text.contains(part));
    serving.get("/before");
    wait_for("the log had the request", || has(&log, "/before"));
    let rules = block("docs/command.md", "postrotate");
    place.write("rules", rules.replace("/var/log/doorway.log", &log).replace("/run/doorway.pid", &number));
    fs::set_permissions(file("rules"), fs::Permissions::from_mode(0o644)).unwrap();
    shell("logrotate --force --state state rules", place.path());
    // The signal arrives when it does; until then lines go to the renamed file.
    wait_for("there was a new log", || {
        serving.get("/behind");
        has(&log, "/behind")
    });
    assert!(has(&file("doorway.log.1"), "/before") && !has(&log, "/before"));
}

#[test]
fn the_next_program_takes_over_by_the_commands_of_the_page() {
    let place = Folder::new(&[]);
    let file = |name: &str| place.path().join(name).into_os_string().into_string().unwrap();
    if !is_program() {
        return;
    }
    // Copied by other processes: what is open for writing when another test starts a program could not be run.
    shell(&format!("cp '{0}' doorway && cp '{0}' doorway-1.1", env!("CARGO_BIN_EXE_doorway")), place.path());
    let number = || fs::read_to_string(file("doorway.pid")).unwrap_or_default();
    let mut first = Command::new(file("doorway"));
    first.args(["--demo", "--port=0", "--quiet", "--pid-file", &file("doorway.pid")]);
    let mut first = Serving::with(first.stdin(Stdio::null()));
    wait_for("there was a number", || number().ends_with('\n'));
    let old = number();
    let commands =
        block("docs/command.md", "cp doorway-1.1").replace("/usr/local/bin", &file("")).replace("/run", &file(""));
    shell(&commands, place.path());
    wait_for("the successor served", || number().ends_with('\n') && number() != old);
    assert_eq!(first.child.wait().unwrap().code(), Some(0));
    assert!(ask(first.address(), REQUEST).starts_with("HTTP/1.1 200 "));
    shell("kill \"$(cat doorway.pid)\"", place.path());
    wait_for("it ended", || number().is_empty());
}

#[test]
fn completions_are_where_the_shells_look_for_them() {
    let home = Folder::new(&[]);
    shell(&block("docs/command.md", "doorway --completions bash"), home.path());
    for (shell, file) in [
        ("bash", ".local/share/bash-completion/completions/doorway"),
        ("zsh", ".zfunc/_doorway"),
        ("fish", ".config/fish/completions/doorway.fish"),
    ] {
        let script = run(&["--completions", shell]).1;
        assert!(fs::read_to_string(home.path().join(file)).unwrap() == script, "{file}");
    }
}

#[test]
fn git_clones_by_the_program_of_three_lines() {
    if !is_there("git", "http-backend") {
        return;
    }
    let program = block("docs/behind.md", "exec git http-backend");
    let place = Folder::new(&[]);
    place.write("serve-git.sh", program.replace("/srv/git", place.path().join("srv").to_str().unwrap()));
    place.write("folder/index.html", "");
    shell(
        "chmod 755 serve-git.sh && git init -q one && cd one && \
        git -c user.name=a -c user.email=a@b.example commit -q --allow-empty -m first && \
        cd .. && git clone -q --bare one srv/project.git",
        place.path(),
    );
    let script = format!("--cgi=/git={}", place.path().join("serve-git.sh").display());
    let serving = Serving::folder(&place.path().join("folder"), &[&script]);
    let said = shell(&format!("git clone -q {}/git/project.git two && git -C two log", serving.url()), place.path());
    assert!(said.contains("first"), "{said}");
}

#[test]
fn a_server_elsewhere_is_scored_by_the_command_of_the_page() {
    fn echo(environ: &Environ, start_response: &mut StartResponse) -> std::io::Result<Body> {
        let content = environ.content(1024 * 1024)?;
        start_response.start("200 OK", &[]);
        Ok(content.into())
    }
    if std::env::var_os("CARGO").is_none() {
        println!("skipped: cargo does not run this test");
        return;
    }
    let house = serve(echo);
    let address = house.tcp().to_string();
    let command = block("docs/conformance.md", "DOORWAY_SCORE=").replace("127.0.0.1:9001", &address);
    let said = shell(&command, Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(said.contains(&format!("{address} h11: ")) && said.contains("Same"), "{said}");
}

#[test]
fn nginx_passes_on_as_the_page_says() {
    if !is_there("nginx", "-v") {
        return;
    }
    let handle = Server::bind("127.0.0.1:0").unwrap().spawn(app::demo).unwrap();
    let (place, port) = (Folder::new(&[]), free_port());
    let page = block("docs/front-servers.md", "upstream application");
    let page = page.replace("127.0.0.1:8000", &handle.addr().to_string());
    let page = page.replace("listen 80;", &format!("listen 127.0.0.1:{port};"));
    let own: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|of| format!("{of}_temp_path {of};\n"))
        .collect();
    let around =
        "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {}\nhttp {\naccess_log off;\n";
    place.write("nginx.conf", format!("{around}{own}{page}}}\n"));
    let mut nginx = Command::new("nginx");
    nginx.arg("-p").arg(place.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
    let mut nginx = Running(nginx.spawn().unwrap());
    let address = format!("127.0.0.1:{port}");
    wait_for("nginx listened", || {
        assert!(nginx.0.try_wait().unwrap().is_none(), "nginx ended");
        std::net::TcpStream::connect(&address).is_ok()
    });
    let answer = ask(&address, "GET /hello HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("Hello world!\n"), "{answer}");
    assert!(answer.contains("HTTP_HOST = \"site.example\""), "{answer}");
}

#[test]
fn prometheus_takes_what_the_page_says() {
    if is_there("promtool", "--version") {
        let place = Folder::new(&[("prometheus.yml", &block("docs/operations.md", "scrape_configs:"))]);
        shell("promtool check config prometheus.yml", place.path());
    }
}

/// As the page says, but in the profile of this test, for a second each, and with the number of the process itself: others may have one of that name.
#[test]
fn the_figures_of_the_page_can_be_taken_as_it_says() {
    let Some(peer) = example("peer") else { return };
    let (running, address) = started(Command::new(peer).args(["--port", "0"]));
    let commands = block("docs/performance.md", "wrk -t2").replace("127.0.0.1:8000", &address).replace("-d5", "-d1");
    let commands = commands.replace("\"$(pgrep -x peer)\"", &running.0.id().to_string());
    let here = Folder::new(&[]);
    let mut lines = commands.lines();
    assert_eq!(lines.next(), Some("cargo run --release --example peer -- --port 8000"));
    for line in lines {
        match line.split(' ').next() {
            Some("wrk") if is_there("wrk", "-v") => {
                let said = shell(line, here.path());
                assert!(said.contains("Requests/sec:") && !said.contains("Non-2xx"), "{line}: {said}");
            }
            Some("strace") if is_there("strace", "-V") => {
                // It says so where a system lets nobody look at a process.
                let said = shell(&format!("timeout -s INT 1 {line} 2>&1 || true"), here.path());
                assert!(said.contains(" attached") || said.contains("not permitted"), "{line}: {said}");
            }
            Some("wrk" | "strace") => {}
            _ => panic!("nobody runs {line}"),
        }
    }
}

#[test]
fn the_profile_of_the_page_is_one_that_cargo_takes() {
    let Some(cargo) = std::env::var_os("CARGO") else {
        println!("skipped: cargo does not run this test");
        return;
    };
    let profile = block("docs/small-systems.md", "[profile.release]");
    let manifest = format!("[package]\nname = \"program\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n{profile}");
    let place = Folder::new(&[("Cargo.toml", &manifest), ("src/main.rs", "fn main() {}\n")]);
    let output = Command::new(cargo)
        .args(["build", "--release", "--offline", "--target-dir", "target"])
        .current_dir(place.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("warning"), "{said}");
}

/// A program of two lines, without what makes it small, so that it is built in a moment.
#[test]
fn the_image_of_the_page_needs_nothing_but_the_program() {
    const PAGE: &str = "docs/small-systems.md";
    const TARGET: &str = "x86_64-unknown-linux-musl";
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let libraries = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let is_installed = libraries.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).exists());
    if !is_installed || std::env::var_os("CARGO").is_none() || !is_root() {
        println!("skipped: only root can run a program in an empty root, and the target {TARGET} has to be installed");
        return;
    }
    let manifest = format!(
        "[package]\nname = \"program\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[dependencies]\ndoorway = {{ path = {:?} }}\n\
        [profile.release]\nopt-level = 0\n",
        env!("CARGO_MANIFEST_DIR")
    );
    let main = r#"fn main() -> std::io::Result<()> {
    let server = doorway::Server::bind("0.0.0.0:0")?;
    server.addrs().for_each(|address| println!("{address}"));
    server.serve(doorway::app::demo)
}
"#;
    let place = Folder::new(&[("Cargo.toml", &manifest), ("src/main.rs", main)]);
    shell(&format!("CARGO_TARGET_DIR=target CARGO_NET_OFFLINE=true {}", block(PAGE, TARGET)), place.path());
    let image = block(PAGE, "FROM scratch");
    let word = |instruction: &str, number: usize| {
        let line = image.lines().find_map(|line| line.strip_prefix(instruction)?.strip_prefix(' '));
        line.and_then(|line| line.split(' ').nth(number))
            .unwrap_or_else(|| panic!("{instruction}:\n{image}"))
            .to_owned()
    };
    assert!(image.starts_with("FROM scratch"), "{image}");
    let root = Folder::new(&[]);
    let inside = word("COPY", 1);
    fs::copy(place.path().join(word("COPY", 0)), root.path().join(&inside[1..])).unwrap();
    assert_eq!(word("ENTRYPOINT", 0), format!("[{inside:?}]"));
    let user = format!("--userspec={}", word("USER", 0));
    let (_running, address) = started(Command::new("chroot").arg(user).arg(root.path()).arg(inside));
    let answer = ask(&address.replace("0.0.0.0", "127.0.0.1"), REQUEST);
    assert!(answer.contains("Hello world!\n"), "{answer}");
}
