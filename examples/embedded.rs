//! A server inside of a program that has something else to do: it counts primes, and shows how far it is.
//!
//! Run: `cargo run --release --example embedded` (or `-- 8001 20000000` for another port and end)
//! Try: `curl http://127.0.0.1:8000/` while it works

use std::error::Error;
use std::io;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use doorway::{Application, Body, Environ, Handle, Server, StartResponse};

/// How far the work is: written by the work, read by the page.
#[derive(Default)]
pub struct Progress {
    pub examined: AtomicU64,
    pub primes: AtomicU64,
}

/// The status page.
pub fn status(progress: Arc<Progress>) -> impl Application {
    move |_environ: &Environ, start_response: &mut StartResponse| {
        let examined = progress.examined.load(Ordering::Relaxed);
        let primes = progress.primes.load(Ordering::Relaxed);
        start_response.start("200 OK", &[("Content-Type", "text/plain"), ("Cache-Control", "no-store")]);
        Body::from(format!("examined {examined}\nprimes {primes}\n"))
    }
}

/// Serves the page in the background, with as little as a status page needs.
pub fn serve(addresses: impl ToSocketAddrs, progress: Arc<Progress>) -> io::Result<Handle> {
    Server::bind(addresses)?
        .threads(2)
        .configure(|settings| {
            settings.max_connections = 32;
            settings.queue = 16;
            settings.max_head = 8 * 1024;
            // Nobody has anything to send to a status page.
            settings.max_content = Some(0);
            settings.held = 256 * 1024;
            settings.idle_deadline = Duration::from_secs(5);
        })
        .spawn(status(progress))
}

/// The work: the primes below `end`, without any haste.
pub fn work(end: u64, progress: &Progress) {
    for number in 2..end {
        let mut divisors = (2..).take_while(|divisor| divisor * divisor <= number);
        if divisors.all(|divisor| number % divisor != 0) {
            progress.primes.fetch_add(1, Ordering::Relaxed);
        }
        progress.examined.fetch_add(1, Ordering::Relaxed);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().map_or(Ok(8000), |port| port.parse())?;
    let end = arguments.next().map_or(Ok(10_000_000), |end| end.parse())?;

    let progress = Arc::new(Progress::default());
    let handle = serve(("127.0.0.1", port), Arc::clone(&progress))?;
    println!("{}", handle.addr().url());

    work(end, &progress);

    println!("{} primes below {end}", progress.primes.load(Ordering::Relaxed));
    let stats = handle.stats();
    // Whoever is being answered has a second to get the rest.
    handle.shutdown(Duration::from_secs(1));
    println!("{} connections, {} requests, {} refused", stats.accepted, stats.served, stats.refused);
    Ok(())
}
