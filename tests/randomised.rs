//! Requests that nobody thought of: made from the grammar, spoilt on purpose, or changed at random; read by doorway and by the naive
//! reading in `reference/`, which must agree on everything.
//!
//! What must hold for each: nothing panics or hangs; a beginning stays [`Parsed::Incomplete`] until it is decided, and what is decided
//! stays so; the verdict does not depend on how the bytes were cut; no more is consumed than was given; both readings accept or refuse,
//! for the same cause, and every field is the same.
//!
//! `DOORWAY_CASES=1000000` runs more than the usual number, `DOORWAY_SEED=7` others. A case that fails is made small and saved in
//! `regress/`, whose files all run here for ever.

mod apps;
mod readings;
mod reference;
mod support;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs};

use doorway::Cause;
use doorway::http::head::{Progress, Spans, may_be_decided};
use doorway::http::{date, target};
use readings::served::{check_connection, doorway_serves, expected_outcome, heads_of};
use readings::{
    Cuts, Variant, Verdict, both_read_target, cause_of, decoded, doorway_reads, limits_of, reference_reads, variants,
};
use reference::connection::{Conversation, read_all};
use reference::generator::{Parts, Random, broken_chunked, chunked, host, mutate, spoil, valid};
use reference::{Fault, Policy, Stop};
use support::{locked, show};

/// How many requests are made by default: enough that every cause comes up a hundred times.
const USUAL_CASES: usize = 16_000;

/// How long one case may take, on the slowest machine, before it counts as a hang.
const HANG: Duration = Duration::from_secs(120);

fn cases() -> usize {
    number_from("DOORWAY_CASES").map_or(USUAL_CASES, |cases| usize::try_from(cases).expect("DOORWAY_CASES"))
}

fn seed() -> u64 {
    number_from("DOORWAY_SEED").unwrap_or(1)
}

fn number_from(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// The random numbers of one case: the same wherever the run began.
fn random_of(what: u64, case: usize) -> Random {
    Random(seed().wrapping_mul(0x1000_0001).wrapping_add(what << 56) ^ ((case as u64) << 20))
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// The files of a folder, by name.
fn files(name: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder(name)).unwrap_or_else(|error| panic!("tests/{name}: {error}"));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "http")).collect();
    paths.sort();
    let name_of = |path: &PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
    paths.iter().map(|path| (name_of(path), fs::read(path).expect("a file that can be read"))).collect()
}

// ------------------------------------------------------------------------------------------- the two readings side by side

/// The head in front of the bytes: whole, and every beginning of it. `Err` says what is wrong.
fn check_head(bytes: &[u8], variant: &Variant, thorough: bool, random: &mut Random) -> Result<(), String> {
    let limits = limits_of(&variant.policy);
    let spans = &mut Spans::new();
    let whole = doorway_reads(bytes, &limits, spans);
    let expected = reference_reads(bytes, &variant.policy);
    if whole != expected {
        return Err(format!("head: doorway says {whole:?}\nthe reference says {expected:?}"));
    }
    let beginnings: Vec<usize> = if thorough || bytes.len() < 40 {
        (0..bytes.len()).collect()
    } else {
        let mut some: Vec<usize> = (0..6).map(|_| random.below(bytes.len())).collect();
        some.extend([0, 1, bytes.len() - 1]);
        some.sort_unstable();
        some
    };
    let mut decided = false;
    let mut progress = Progress::default();
    for length in beginnings {
        let beginning = &bytes[..length];
        let verdict = doorway_reads(beginning, &limits, spans);
        if verdict != Verdict::Incomplete && verdict != whole {
            return Err(format!("of {length} bytes the verdict is {verdict:?}, of all {whole:?}"));
        }
        if decided && verdict == Verdict::Incomplete {
            return Err(format!("with {length} bytes it is undecided again"));
        }
        // The gate may wait for the end of a line to refuse, but never with a head that is whole.
        let is_open = may_be_decided(beginning, &mut progress, &limits);
        let is_new = !decided && matches!(verdict, Verdict::Accepted(_));
        if is_new && !is_open {
            return Err(format!("with {length} bytes the head is whole, and nobody is told"));
        }
        decided = verdict != Verdict::Incomplete;
    }
    Ok(())
}

/// Everything that is checked of one input.
fn check(bytes: &[u8], number: usize, thorough: bool, random: &mut Random) -> Result<Conversation, String> {
    let variant = &variants()[number];
    check_head(bytes, variant, thorough, random)?;
    let some = Cuts::At(random.next());
    let cuts = if thorough {
        vec![Cuts::Nowhere, Cuts::Everywhere, some]
    } else {
        vec![*random.pick(&[&Cuts::Nowhere, &some, &Cuts::Everywhere][..if bytes.len() < 60 { 3 } else { 2 }])]
    };
    let conversation = check_connection(bytes, variant, true, &cuts)?;
    if thorough || random.once_in(8) {
        check_connection(bytes, variant, false, &[Cuts::At(random.next())])?;
    }
    Ok(conversation)
}

/// The same, where a panic is a finding like any other.
fn check_caught(bytes: &[u8], number: usize, thorough: bool, random: &mut Random) -> Result<Conversation, String> {
    let caught = catch_unwind(AssertUnwindSafe(|| check(bytes, number, thorough, random)));
    caught.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or("without a text")))
    })
}

// ------------------------------------------------------------------------------------------------------- what was found

/// Takes out what is not needed to make it fail.
fn shrunk(mut bytes: Vec<u8>, fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let begin = Instant::now();
    let mut step = bytes.len() / 2;
    while step > 0 {
        let mut at = 0;
        while at < bytes.len() && begin.elapsed() < Duration::from_secs(20) {
            let mut fewer = bytes.clone();
            fewer.drain(at..bytes.len().min(at + step));
            if fails(&fewer) { bytes = fewer } else { at += step }
        }
        step /= 2;
    }
    bytes
}

/// Saves an input among those that run for ever; says where.
fn save(bytes: &[u8], what: &str) -> String {
    // Two tests may find something at the same time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = locked(&ONE);
    let saved = files("regress");
    if let Some((name, _)) = saved.iter().find(|(_, other)| other == bytes) {
        return format!("tests/regress/{name}, which is there already");
    }
    let last = saved.iter().filter_map(|(name, _)| name.split('-').next()?.parse::<u32>().ok()).max().unwrap_or(0);
    let name = format!("{:03}-{what}.http", last + 1);
    match fs::write(folder("regress").join(&name), bytes) {
        Ok(()) => format!("tests/regress/{name}"),
        Err(error) => format!("nowhere ({name}: {error})"),
    }
}

/// One word for a finding.
fn word_of(finding: &str) -> &str {
    ["panic", "head", "connection"].into_iter().find(|word| finding.starts_with(word)).unwrap_or("cut")
}

/// Ends the process when a case never ends: a thread that hangs cannot be ended otherwise.
struct Watch(Arc<(Mutex<Watched>, Condvar)>);

struct Watched {
    since: Instant,
    bytes: Vec<u8>,
    over: bool,
}

impl Watch {
    fn new() -> Watch {
        let watched = Watched { since: Instant::now(), bytes: Vec::new(), over: false };
        let shared = Arc::new((Mutex::new(watched), Condvar::new()));
        let other = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut watched = locked(&other.0);
            while !watched.over {
                watched = other.1.wait_timeout(watched, Duration::from_secs(1)).expect("a lock").0;
                if !watched.over && watched.since.elapsed() > HANG {
                    eprintln!("HANG: {}, saved in {}", show(&watched.bytes), save(&watched.bytes, "hang"));
                    std::process::abort();
                }
            }
        });
        Watch(shared)
    }

    fn begin(&self, bytes: &[u8]) {
        let mut watched = locked(&self.0.0);
        watched.since = Instant::now();
        watched.bytes.clear();
        watched.bytes.extend_from_slice(bytes);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        locked(&self.0.0).over = true;
        self.0.1.notify_all();
    }
}

// ------------------------------------------------------------------------------------------------------------ the tests

/// What stands behind most requests, so that a wrong end shows.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n";

/// One input: the bytes, and the variant of the settings.
fn make_case(case: usize, corpus: &[Vec<u8>], random: &mut Random) -> (Vec<u8>, usize) {
    let variants = variants();
    match case % 20 {
        // From the grammar, nothing wrong.
        0..=7 => {
            let number = random.below(4);
            let variant = &variants[number];
            let mut bytes = valid(random, &variant.room, variant.policy.https).bytes();
            if random.once_in(2) {
                bytes.extend(valid(random, &variant.room, variant.policy.https).bytes());
            }
            (bytes, number)
        }
        // From the grammar, with one thing wrong.
        8..=14 => {
            let fault = Fault::ALL[(case / 20 * 7 + case % 20) % Fault::ALL.len()];
            let is_large =
                [Fault::HeadOverLimit, Fault::TargetOverLimit, Fault::LineOverLimit, Fault::TrailerOverLimit];
            let number = match fault {
                Fault::Underscore => 2,
                // Large content needs a large limit.
                Fault::MoreFrameThanData => [0, 3][random.below(2)],
                Fault::ContentOverLimit | Fault::ExtensionOverLimit => random.below(2),
                _ if is_large.contains(&fault) && !random.once_in(10) => 1,
                _ => random.below(4),
            };
            let variant = &variants[number];
            let mut parts = valid(random, &variant.room, variant.policy.https);
            spoil(random, &mut parts, fault, &variant.room);
            let is_cut = [Fault::HeadCut, Fault::ContentCut].contains(&fault);
            let front = if random.once_in(4) { valid_that_persists(random, variant).bytes() } else { Vec::new() };
            (
                front.into_iter().chain(parts.bytes()).chain(if is_cut { Vec::new() } else { NEXT.to_vec() }).collect(),
                number,
            )
        }
        // Saved ones, changed.
        _ => {
            let mut bytes = corpus[random.below(corpus.len())].clone();
            if random.once_in(2) {
                bytes.extend(&corpus[random.below(corpus.len())]);
            }
            mutate(random, &mut bytes, corpus);
            (bytes, random.below(4))
        }
    }
}

fn valid_that_persists(random: &mut Random, variant: &Variant) -> Parts {
    loop {
        let parts = valid(random, &variant.room, variant.policy.https);
        let conversation = read_all(&[&parts.bytes()[..], NEXT].concat(), &variant.policy, true);
        if conversation.calls.len() == 2 {
            return parts;
        }
    }
}

/// The causes of a request at the HTTP door; those of packets are `tests/doors_split.rs`'s.
fn causes_of_http() -> impl Iterator<Item = &'static Cause> {
    // Those of packets and of forms come up elsewhere.
    let of_packets = |number: u16| matches!(number, 1041..=1047 | 2007..=2008 | 2022 | 2031..=2034);
    Cause::ALL.iter().filter(move |cause| cause.number() < 3000 && !of_packets(cause.number()))
}

#[test]
fn every_request_is_read_as_the_reference_reads_it_and_every_cause_comes_up() {
    let begin = Instant::now();
    let corpus: Vec<Vec<u8>> = files("corpus").into_iter().map(|(_, bytes)| bytes).collect();
    assert!(corpus.len() >= 40, "{} files in tests/corpus", corpus.len());
    let watch = Watch::new();
    let (cases, mut accepted, mut counts) = (cases(), 0, BTreeMap::new());
    let mut findings = Vec::new();
    for case in 0..cases {
        let random = &mut random_of(1, case);
        let (bytes, number) = make_case(case, &corpus, random);
        watch.begin(&bytes);
        let thorough = case % 64 == 0 && bytes.len() < 2_000;
        let check_seed = random.next();
        match check_caught(&bytes, number, thorough, &mut Random(check_seed)) {
            Ok(conversation) => match conversation.fault() {
                Some(fault) => *counts.entry(cause_of(fault)).or_insert(0) += 1,
                None => accepted += 1,
            },
            Err(finding) => {
                let fails = |fewer: &[u8]| {
                    let again = check_caught(fewer, number, thorough, &mut Random(check_seed));
                    again.is_err_and(|other| word_of(&other) == word_of(&finding))
                };
                let small = shrunk(bytes, fails);
                let finding = check_caught(&small, number, thorough, &mut Random(check_seed)).unwrap_err();
                let place = save(&small, word_of(&finding));
                findings.push(format!("case {case} (settings {number}), {}\n{finding}\nsaved: {place}", show(&small)));
                if findings.len() == 5 {
                    break;
                }
            }
        }
    }
    drop(watch);
    println!("seed {}, {cases} cases, {:.1?}", seed(), begin.elapsed());
    println!("{accepted:>8}  accepted ({} %)", accepted * 100 / cases.max(1));
    for cause in causes_of_http() {
        println!("{:>8}  {} {}", counts.get(cause).unwrap_or(&0), cause.number(), cause.name());
    }
    assert!(findings.is_empty(), "seed {}:\n{}", seed(), findings.join("\n\n"));
    if cases >= USUAL_CASES {
        assert!(accepted * 10 >= cases * 3, "only {accepted} of {cases} were accepted");
        for cause in causes_of_http() {
            assert!(counts.get(cause).is_some_and(|count| *count >= 100), "{cause} came up too seldom: {counts:?}");
        }
    }
}

#[test]
fn every_saved_request_is_still_read_as_the_reference_reads_it() {
    for folder in ["regress", "corpus"] {
        for (name, bytes) in files(folder) {
            for number in 0..variants().len() {
                let checked = check_caught(&bytes, number, true, &mut Random(1));
                assert!(checked.is_ok(), "{folder}/{name}, settings {number}: {}", checked.unwrap_err());
            }
            // A truncated one is another one.
            for length in 0..bytes.len() {
                let checked = check_caught(&bytes[..length], 0, false, &mut Random(1));
                assert!(checked.is_ok(), "{length} bytes of {folder}/{name}: {}", checked.unwrap_err());
            }
        }
    }
}

#[test]
fn of_two_pipelined_requests_the_application_sees_exactly_two() {
    let pairs = (cases() / 20).max(100);
    for case in 0..pairs {
        let random = &mut random_of(2, case);
        let number = random.below(4);
        let variant = &variants()[number];
        let first = valid_that_persists(random, variant).bytes();
        let second = valid_that_persists(random, variant).bytes();
        let both = [first, second].concat();
        let conversation = read_all(&both, &variant.policy, true);
        assert_eq!((conversation.calls.len(), conversation.fault()), (2, None), "{}", show(&both));
        for cut in 0..3 {
            let cuts = if cut == 0 { Cuts::Nowhere } else { Cuts::At(random.next()) };
            let outcome = doorway_serves(&both, variant, true, cuts, &heads_of(&conversation));
            if outcome != expected_outcome(&conversation) {
                let place = save(&both, "pair");
                panic!("case {case}, {cuts:?}, {}: {outcome:?}\nsaved: {place}", show(&both));
            }
        }
    }
    println!("{pairs} pairs");
}

#[test]
fn every_chunked_content_is_read_as_the_reference_reads_it() {
    let faults = [
        Fault::LfAlone,
        Fault::CrAlone,
        Fault::SizeNoNumber,
        Fault::ExtensionShape,
        Fault::ExtensionOverLimit,
        Fault::DataWithoutEnd,
        Fault::TrailerShape,
        Fault::TrailerOverLimit,
    ];
    let (cases, mut accepted, mut refused) = (cases(), 0, BTreeMap::new());
    for case in 0..cases {
        let random = &mut random_of(3, case);
        let variant = &variants()[random.below(2)];
        let policy = Policy { content: None, ..variant.policy };
        let length = random.below(40);
        let mut bytes = match case % 5 {
            // The trailers of the usual limits are 64 KiB.
            0 => {
                let room = if random.once_in(50) { variant.room } else { variants()[1].room };
                broken_chunked(random, faults[case / 5 % faults.len()], &room)
            }
            _ => chunked(random, length, &variant.room),
        };
        if case % 5 > 2 {
            let other = chunked(random, 9, &variant.room);
            mutate(random, &mut bytes, &[other]);
        }
        let expected = match reference::chunked::read_chunked(&bytes, &policy) {
            Ok(read) => (Ok(read.content), Some(read.length)),
            Err(Stop::More) => (Err(None), Some(bytes.len())),
            Err(Stop::Fault(fault)) => (Err(Some(cause_of(fault))), None),
        };
        match &expected.0 {
            Ok(_) => accepted += 1,
            Err(Some(cause)) => *refused.entry(*cause).or_insert(0) += 1,
            Err(None) => {}
        }
        for cuts in [Cuts::Nowhere, Cuts::Everywhere, Cuts::At(random.next())] {
            let (found, used) = decoded(&bytes, &policy, cuts);
            let agrees = found == expected.0 && expected.1.is_none_or(|length| length == used);
            if !agrees {
                let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
                let place = save(&[head, &bytes[..]].concat(), "chunked");
                panic!("case {case}, {cuts:?}: {}\n{found:?} after {used}, not {expected:?}\n{place}", show(&bytes));
            }
        }
    }
    println!("{accepted} of {cases} accepted, refused: {refused:?}");
    assert!(accepted * 10 >= cases * 3, "only {accepted} of {cases} were accepted");
}

#[test]
fn every_target_and_host_is_read_as_the_reference_reads_it() {
    let room = variants()[0].room;
    let pieces = [
        "http://", "https://", "HTTP://", "@", ":", "/", "//", "?", "%00", "%", "%0", "*", "[", "]", "::", "[::1]",
        "a", ":80",
    ];
    let (cases, mut accepted, mut refused) = (2 * cases(), 0, BTreeMap::new());
    for case in 0..cases {
        let random = &mut random_of(4, case);
        let method: &[u8] = random.pick(&[&b"GET"[..], b"OPTIONS", b"CONNECT", b"get", b"GET", b"GET"]);
        let mut text = match case % 4 {
            0 => valid(random, &room, true).target,
            1 => host(random, 60),
            2 => (0..random.below(6)).flat_map(|_| random.pick(&pieces).bytes().collect::<Vec<u8>>()).collect(),
            _ => [b"http://", &host(random, 60)[..], b"/"].concat(),
        };
        if case % 3 == 0 {
            mutate(
                random,
                &mut text,
                &[b"[1:2:3:4:5:6:7:8]".to_vec(), b"[::1.2.3.4]:1".to_vec(), b"http://a/%00".to_vec()],
            );
        }
        // A parser of heads lets nothing else through.
        text.retain(|byte| (0x21..0x7F).contains(byte) && *byte != b'#');
        let [found, expected] = both_read_target(&text, method);
        match &expected {
            Ok(_) => accepted += 1,
            Err(cause) => *refused.entry(*cause).or_insert(0) += 1,
        }
        let hosts = (target::is_host(&text), reference::target::is_host(&text, false));
        if found != expected || hosts.0 != hosts.1 {
            let request = [method, b" ", &text, b" HTTP/1.1\r\nHost: ", &text, b"\r\n\r\n"].concat();
            panic!(
                "case {case}: {}: {found:?} not {expected:?}, host {hosts:?}\n{}",
                show(&text),
                save(&request, "target")
            );
        }
    }
    println!("{accepted} of {cases} accepted, refused: {refused:?}");
    assert!(accepted * 10 >= cases * 3, "only {accepted} of {cases} were accepted");
}

#[test]
fn every_date_is_read_and_written_as_the_reference_does_it() {
    let cases = (cases() / 4).max(100);
    let mut accepted = 0;
    for case in 0..cases {
        let random = &mut random_of(5, case);
        let at = match random.below(4) {
            // Around the ends of years, where leap days and centuries are.
            0 => (reference::date::seconds((1970 + random.below(8_000) as u64, 2, 28, 23, 59, 59)).unwrap())
                .saturating_add(random.below(200_000) as u64),
            1 => random.next() % 253_402_300_800,
            _ => random.next() % 4_102_444_800,
        };
        let moment = reference::date::moment(at);
        let civil = date::civil(at);
        let found = [civil.month, civil.day, civil.hour, civil.minute, civil.second].map(u64::from);
        let expected = [moment.1, moment.2, moment.3, moment.4, moment.5];
        assert_eq!((u64::from(civil.year), found), (moment.0, expected), "{at}");
        assert_eq!(date::imf_fixdate(at).escape_ascii().to_string(), reference::date::write(at, 0), "{at}");

        let now = random.next() % 200_000_000_000;
        let mut text = reference::date::write(at, random.below(3)).into_bytes();
        if random.once_in(2) {
            match random.below(4) {
                0 => mutate(random, &mut text, &[b"Monday, 31-Feb-69 24:60:61 GMT".to_vec()]),
                _ => {
                    let place = random.below(text.len());
                    text[place] = if text[place].is_ascii_digit() { random.of(b"0123456789 ") } else { text[place] };
                }
            }
        }
        let (expected, is_close) = reference::date::read(&text, now);
        let found = date::parse_http_date(&text, now);
        accepted += usize::from(found.is_some());
        assert!(found == expected || is_close, "case {case}: {}, now {now}: {found:?} not {expected:?}", show(&text));
    }
    println!("{accepted} of {cases} accepted");
    assert!(accepted * 10 >= cases * 3, "only {accepted} of {cases} were accepted");
}
