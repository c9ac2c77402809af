//! How TLS plugs in: accept, shake hands, and serve the stream that comes of it with `serve_connection`.
//!
//! Run: `cargo run --example tls` (or `-- 8001` for another port)
//! Try: `curl http://127.0.0.1:8000/`
//!
//! The stream here is a stand-in that encrypts nothing, so that the example needs no dependency: hence `http` above, although the application is
//! told `https`. With the crate rustls, `Secured::accept` becomes
//! `rustls::StreamOwned::new(rustls::ServerConnection::new(config)?, socket)`; the rest stays.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use doorway::{Application, Environ, Response, Server, simple};

/// So many clients are served at once; the next ones wait in the queue of the system. A connection holds its thread as long as
/// it lasts: what the server does with idle connections of its own, it cannot do with a stream that it knows nothing of.
const THREADS: usize = 32;

/// How long a client may do nothing: such a stream has no deadlines but those of its socket.
const PATIENCE: Duration = Duration::from_secs(10);

/// What stands in for a TLS stream: anything that reads and writes, with something to say about the client.
pub struct Secured<S> {
    inner: S,
}

impl<S: Read + Write> Secured<S> {
    /// Where the hands would be shaken.
    pub fn accept(inner: S) -> io::Result<Secured<S>> {
        Ok(Secured { inner })
    }

    /// What was agreed upon.
    pub fn protocol(&self) -> &'static str {
        "none"
    }
}

impl<S: Read> Read for Secured<S> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.inner.read(room)
    }
}

impl<S: Write> Write for Secured<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// An application that knows nothing of TLS but what the environ says.
pub fn application() -> impl Application {
    simple(|environ: &Environ| {
        let [peer, protocol] = ["REMOTE_ADDR", "SSL_PROTOCOL"].map(|name| environ.get(name).unwrap_or_default());
        Response::text(format!("{} by {protocol} from {peer}\n", environ.request_uri(true)))
    })
}

/// Serves one client, until it or the server ends the connection.
pub fn serve<S>(stream: Secured<S>, peer: SocketAddr, application: impl Application)
where
    S: Read + Write + Send + 'static,
{
    Server::unbound()
        // `wsgi.url_scheme` is https and HTTPS is on.
        .configure(|settings| settings.https = true)
        // What only the one who accepted knows.
        .env("REMOTE_ADDR", peer.ip().to_string())
        .env("REMOTE_PORT", peer.port().to_string())
        .env("SSL_PROTOCOL", stream.protocol())
        .serve_connection(stream, application);
}

/// Accepts one client.
fn accept(listener: &TcpListener) -> io::Result<(Secured<TcpStream>, SocketAddr)> {
    let (socket, peer) = listener.accept()?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok((Secured::accept(socket)?, peer))
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1);
    let listener = TcpListener::bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("8000")))?;
    println!("http://{}/", listener.local_addr()?);

    let application = Arc::new(application());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    match accept(&listener) {
                        Ok((stream, peer)) => serve(stream, peer, Arc::clone(&application)),
                        // A client that went away at once, or no descriptors: the next one may do better, a little later.
                        Err(_) => std::thread::sleep(Duration::from_millis(10)),
                    }
                }
            });
        }
    });
    Ok(())
}
