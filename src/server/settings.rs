//! Every limit and every time the server keeps, with its default and its reason. Sizes that one file alone knows stand there.
//!
//! Design: everything a client can make grow or last has a bound here, and passing it has a defined answer (see the table at
//! [`Settings`]). It reads the system's descriptor limit where the system tells it, and decides nothing else.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::door::Policy;
use crate::http::head;

/// What a server keeps to. [`Server::configure`](crate::Server::configure) changes it before the server starts.
///
/// | setting | default | on breach |
/// |---|---|---|
/// | `threads` | 4 for each core, at least 16 | requests queue |
/// | `shards` | one for each core, at most `threads` | – |
/// | `sleepers` | 32 | connections beyond are looked at in turn |
/// | `max_connections` | soft descriptor limit less 64, at most 20,000 | the oldest waiting connection of the busiest address (of IPv6: network of 64 bits) is closed, where hundreds wait a hundredth of them with it |
/// | `upgrades` | 64 connections that an application has taken over | 503 |
/// | `queue`, `queue_timeout` | 1,024 requests, 30 s | 503 with Retry-After, close |
/// | `max_target`, `max_field_line` | 8,190 bytes each | 414, 431 |
/// | `max_fields`, `max_head` | 100 fields, 65,536 bytes | 431 |
/// | `max_content` | 16 MiB | 413, before any 100 Continue |
/// | `gathered_content` | 16 KiB | longer content is read while the application runs |
/// | `held` | 64 MiB by all that waits | the largest of the address that holds most are closed, until a hundredth is free |
/// | `first_byte_deadline` | 10 s | silent close |
/// | `head_deadline` | 10 s from the first byte | 408 |
/// | `idle_deadline` | 75 s | silent close |
/// | `content_stall`; `content_rate`, `content_rate_after` | 30 s without progress; 256 B/s after 10 s | 408, or the response is cut |
/// | `response_stall` | 30 s without progress | the response is cut |
/// | `drain`, `drain_deadline` | 64 KiB, 1 s | close |
/// | `linger`, `linger_deadline` | 64 MiB, 2 s | close |
/// | `grace` | 30 s | what still runs is cut |
///
/// ```
/// use std::time::Duration;
/// use doorway::Server;
///
/// # fn main() -> std::io::Result<()> {
/// let server = Server::bind("127.0.0.1:0")?.configure(|settings| {
///     settings.threads = 2;
///     settings.max_content = Some(1024 * 1024);
///     settings.head_deadline = Duration::from_secs(2);
/// });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Threads that call the application; 1 means that calls are serialised. 0 counts as 1.
    pub threads: usize,
    /// Sets of connections, each swept by one thread at a time; never more than threads.
    pub shards: usize,
    /// Bytes of stack of each thread; `None` for what std gives (2 MiB of addresses, of which memory is what is used).
    pub stack: Option<usize>,
    /// Threads with a small stack that each wait for one idle connection, started when they are needed: so many are answered without delay, and
    /// cost nothing while they say nothing. More are looked at in turn. 0 for none.
    pub sleepers: usize,
    /// Connections open at the same time.
    pub max_connections: usize,
    /// Connections at the same time that an application has taken over ([`Body::upgrade`](crate::Body::upgrade)), each with a thread of its own;
    /// never more than three quarters of `max_connections`.
    pub upgrades: usize,
    /// Requests that are whole and wait for a thread.
    pub queue: usize,
    /// How long a request may wait for a thread.
    pub queue_timeout: Duration,
    /// Bytes of a request target.
    pub max_target: usize,
    /// Bytes of a field line, without its line end.
    pub max_field_line: usize,
    /// Fields of a request, and of its trailers.
    pub max_fields: usize,
    /// Bytes of a request head.
    pub max_head: usize,
    /// Bytes of a request's content, decoded; `None` for no limit.
    pub max_content: Option<u64>,
    /// Content up to this many bytes is gathered before the application is called, so that a slow sender holds no thread.
    pub gathered_content: usize,
    /// Bytes that all connections hold together between calls: partial requests and responses not yet taken.
    pub held: usize,
    /// From the opening of a connection to its first byte.
    pub first_byte_deadline: Duration,
    /// From the first byte of a head to its last.
    pub head_deadline: Duration,
    /// Between a response and the next request.
    pub idle_deadline: Duration,
    /// How long content may make no progress while somebody waits for it.
    pub content_stall: Duration,
    /// Bytes a second below which content is cut.
    pub content_rate: u64,
    /// How long content may have been waited for in all before its rate counts: short of that it says nothing.
    pub content_rate_after: Duration,
    /// How long a response may make no progress.
    pub response_stall: Duration,
    /// Bytes of unread content that are skipped to keep the connection.
    pub drain: u64,
    /// How long that may take.
    pub drain_deadline: Duration,
    /// Bytes that are still read after the last response, so that the client can read it before the connection ends, where it did not ask for that
    /// end or sends more.
    pub linger: u64,
    /// How long that may take.
    pub linger_deadline: Duration,
    /// How long [`Stopper::stop`](crate::Stopper::stop) without a time of its own waits for what runs.
    pub grace: Duration,
    /// The value of the Server field; `None` leaves it out.
    pub server_field: Option<String>,
    /// Whether responses carry Date. Only a server without a clock turns it off (RFC 9110 section 6.6.1).
    pub date_field: bool,
    /// Answer 400 to a field name with an underscore instead of dropping the field.
    pub refuse_underscores: bool,
    /// Requests came through TLS that something in front of this server ended.
    pub https: bool,
    /// SERVER_NAME for requests that name no host.
    pub server_name: String,
}

/// How long a thread that has nothing better to do stays with a connection before it looks up. The kernel rounds socket
/// timeouts up to 4 to 8 ms.
pub(crate) const SLICE: Duration = Duration::from_millis(5);

/// How long a thread stays with the only connection of its shard while that says nothing. Behind that a sleeper may.
pub(crate) const STAY: Duration = Duration::from_millis(50);

/// How long a connection that has done something is looked at in every sweep: this for each hot one of the shard, within these bounds. The
/// more there are, the later a client has its turn to answer; with 1 ms for all, 1,000 busy connections cost 6 % more CPU, mostly for
/// buffers that were given back in between.
pub(crate) const COOL_EACH: Duration = Duration::from_micros(20);
pub(crate) const COOL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));

/// The shortest time between two looks at a cold connection, and the sleep of a worker that found nothing.
pub(crate) const SHORTEST: Duration = Duration::from_micros(50);

/// The longest time between two looks at a connection, and between two rounds: this for each one of the shard that is looked at, within these
/// bounds. A look in a round takes 1 µs, so that is 1 % of a core for up to 1,000 connections.
pub(crate) const LONGEST_EACH: Duration = Duration::from_micros(100);
pub(crate) const LONGEST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(100));

/// The stack of a thread that waits for an idle connection: a few calls deep, in a build without optimisation too.
pub(crate) const SLEEPER_STACK: usize = 64 * 1024;

/// How long a sleeper stays with one connection while others want it, and how long those have been quiet at most that have all of them.
pub(crate) const SLEEP: Duration = Duration::from_secs(1);

/// How long a shard rests on the bell: the looks behind it show whether that can be relied on. The looks that it has spared for so long it may use
/// up at once when it rings.
pub(crate) const SELDOM: Duration = Duration::from_secs(4);

/// How often a worker that found nothing yields before it sleeps.
pub(crate) const IDLE_PASSES: u32 = 8;

/// So many turns a worker that always finds work takes before it yields: otherwise it uses up its slice of the scheduler's, 3 ms and more,
/// while clients and other workers wait for the core. p99 at 16 busy connections on two cores, with the load beside it: 3.7 ms without,
/// 2.2 ms with this, 0.9 ms with half of it and 5 % fewer requests; CPU a request is the same or less.
pub(crate) const YIELD_AFTER: u32 = 64;

/// Calls that last longer than this on average are made by threads that have given their shard away before.
pub(crate) const SLOW_CALL: Duration = Duration::from_micros(100);

/// A connection whose last call lasted longer than this is served by a thread that has given its shard away before, too.
pub(crate) const LONG_CALL: Duration = Duration::from_millis(1);

/// A block that an application yields sooner than this after the last may wait for those behind it.
pub(crate) const QUICK_BLOCK: Duration = Duration::from_micros(100);

/// How long a slow client must have been waited for in all before it can be cut in favour of others.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);

/// So long after its beginning, or its last response, a connection may bring another request though the server stops: a client that uses it
/// cannot know yet that it ends, and loses what it sends into the end.
pub(crate) const LAST_REQUEST: Duration = Duration::from_secs(1);

/// How often the monitor looks, and how long a call may last at least before its shard gets another worker; it gets one at the second look.
pub(crate) const LOOK: Duration = Duration::from_millis(3);

/// How often it listens to the bell while there is nothing else to look after. To wake for that costs four times what the bell does.
pub(crate) const LISTEN: Duration = Duration::from_millis(5);

/// When workers accept themselves. With a connection for every request and 16 at a time, CPU a request beside an asynchronous server
/// (hyper) in the same run: 1.01 when each is brought by the thread that accepts, 0.87 with this; a pool whose threads all block in accept: 0.91.
/// So many connections within this time begin it, if half of them have ended; it goes on as long as so many come between two looks ([`LOOK`]) of the
/// accept thread.
pub(crate) const RUSH: usize = 8;
pub(crate) const RUSH_TIME: Duration = Duration::from_millis(8);

/// A moment later. A time beyond the clock's range is so far away that it is no deadline at all.
pub(super) fn after(now: Instant, time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(u32::MAX as u64);
    now.checked_add(time).unwrap_or_else(|| now.checked_add(FAR).unwrap_or(now))
}

/// The value of Retry-After with a 503, in seconds.
pub(crate) const RETRY_AFTER: &str = "5";

impl Default for Settings {
    fn default() -> Settings {
        // Asked once: a program that serves connections one by one makes many settings.
        static SYSTEM: OnceLock<(usize, usize)> = OnceLock::new();
        let (cores, max_connections) = *SYSTEM
            .get_or_init(|| (std::thread::available_parallelism().map_or(1, |cores| cores.get()), max_connections()));
        let head = head::Limits::default();
        Settings {
            // On two cores 16 threads were the best from 64 connections up; 32 and 64 cost 20 to 25 % more CPU.
            threads: (4 * cores).max(16),
            shards: cores,
            stack: None,
            sleepers: 32,
            max_connections,
            upgrades: 64,
            queue: 1_024,
            queue_timeout: Duration::from_secs(30),
            max_target: head.target,
            max_field_line: head.field_line,
            max_fields: head.fields,
            max_head: head.head,
            max_content: Some(16 * 1024 * 1024),
            gathered_content: 16 * 1024,
            held: 64 * 1024 * 1024,
            first_byte_deadline: Duration::from_secs(10),
            head_deadline: Duration::from_secs(10),
            // Longer than the 60 s of most load balancers: a shorter time makes them send into a closing connection.
            idle_deadline: Duration::from_secs(75),
            content_stall: Duration::from_secs(30),
            content_rate: 256,
            content_rate_after: Duration::from_secs(10),
            response_stall: Duration::from_secs(30),
            drain: 64 * 1024,
            drain_deadline: Duration::from_secs(1),
            // At 64 KiB one in three clients that sent 3 MB in one go lost the 413 to a reset. It costs neither a thread nor
            // memory, so the time is the bound that matters.
            linger: 64 * 1024 * 1024,
            linger_deadline: Duration::from_secs(2),
            grace: Duration::from_secs(30),
            server_field: Some("doorway".into()),
            date_field: true,
            refuse_underscores: false,
            https: false,
            server_name: "localhost".into(),
        }
    }
}

impl Settings {
    /// For a router, or a container of a few MiB: what differs from the default stands in `docs/small-systems.md`. The stacks are for an
    /// application that keeps large things on the heap.
    ///
    /// ```
    /// use doorway::{Server, Settings};
    ///
    /// let server = Server::bind("127.0.0.1:0")?.configure(|settings| *settings = Settings::small());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn small() -> Settings {
        Settings {
            threads: 2,
            shards: 1,
            stack: Some(128 * 1024),
            max_connections: 64,
            queue: 64,
            max_head: 16 * 1024,
            max_content: Some(1024 * 1024),
            gathered_content: 4 * 1024,
            held: 2 * 1024 * 1024,
            idle_deadline: Duration::from_secs(15),
            linger: 1024 * 1024,
            ..Settings::default()
        }
    }

    /// What of it the doors must know.
    pub(crate) fn policy(&self) -> Policy {
        let head = head::Limits {
            target: self.max_target,
            field_line: self.max_field_line,
            fields: self.max_fields,
            head: self.max_head,
        };
        Policy {
            head,
            max_content: self.max_content,
            gathered_content: self.gathered_content,
            refuse_underscores: self.refuse_underscores,
            https: self.https,
            threads: self.threads,
        }
    }
}

/// The descriptors this process may open, less those it needs for itself, at most 20,000.
fn max_connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    // 1,024 is what systems give where nobody has changed it.
    soft_descriptor_limit(&limits).unwrap_or(1_024).saturating_sub(64).clamp(16, 20_000)
}

fn soft_descriptor_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(usize::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_limit_is_read_from_the_systems_table() {
        let table = "Limit                     Soft Limit           Hard Limit           Units\n\
                     Max processes             1                    2                    processes\n\
                     Max open files            1024                 524288               files\n";
        assert_eq!(soft_descriptor_limit(table), Some(1024));
        assert_eq!(soft_descriptor_limit(&table.replace("1024  ", "unlimited")), Some(usize::MAX));
        assert_eq!(soft_descriptor_limit(""), None);
    }
}
