//! The counts as text for people, as JSON and as OpenMetrics text.
//!
//! OpenMetrics 1.0, "Text Format": a family's name, `# TYPE`, `# UNIT` and `# HELP` stand before its samples, counters end in `_total`, the buckets of a
//! histogram are cumulative and end with `+Inf`, and `# EOF` ends it all.

use std::fmt::Write;
use std::time::Duration;

use crate::VERSION;
use crate::log::Stats;

/// The media type of [`metrics`].
pub(super) const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// For people: a few lines that say it, and those causes that were met.
pub(super) fn text(stats: &Stats, uptime: Duration) -> String {
    let mut text = String::new();
    let state = if stats.stopping { "stopping" } else { "serving" };
    let (busy, threads, queued) = (stats.busy, stats.threads, stats.queued);
    let (served, refused) = (grouped(stats.served), grouped(stats.refused));
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "doorway {VERSION}, {state} for {} s\n\n\
         threads      {busy} of {threads} work, {queued} requests wait for one\n\
         requests     {served} answered, {refused} refused or cut\n\
         content      {} bytes sent\n",
        grouped(uptime.as_secs()),
        grouped(stats.content)
    );
    for (share, words) in [(2, "half"), (10, "9 of 10"), (100, "99 of 100")] {
        let _ = match bound(stats, share) {
            Some(Duration::MAX) => writeln!(text, "duration     {words} not within the longest bound"),
            Some(bound) => writeln!(text, "duration     {words} in less than {} s", seconds(bound)),
            None => Ok(()),
        };
    }
    let (open, accepted) = (grouped(stats.open as u64), grouped(stats.accepted));
    let _ = writeln!(text, "\nconnections  {open} open, {accepted} accepted");
    for (phase, count) in stats.phases() {
        let _ = writeln!(text, "  {:<10} {:>10}", phase.name(), grouped(count as u64));
    }
    if stats.causes().next().is_some() {
        text.push_str("\ncauses\n");
    }
    for (cause, count) in stats.causes() {
        let _ = writeln!(text, "  {cause:<10} {:>10}", grouped(count));
    }
    text
}

/// The least bound that all but one in `share` of the requests stayed below.
fn bound(stats: &Stats, share: u64) -> Option<Duration> {
    let mut left = stats.served - stats.served / share;
    let reaches = |(_, count): &(Duration, u64)| {
        left = left.saturating_sub(*count);
        left == 0
    };
    stats.durations().filter(|_| stats.served > 0).find(reaches).map(|(bound, _)| bound)
}

/// Digits in groups of three: 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// In seconds, with the decimals that it has and one at least.
fn seconds(duration: Duration) -> String {
    let text = format!("{}.{:09}", duration.as_secs(), duration.subsec_nanos());
    let short = text.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}

/// All of it. Nothing here needs escaping: numbers, and names of ours.
pub(super) fn json(stats: &Stats, uptime: Duration) -> String {
    let phases = members(&mut stats.phases().map(|(phase, count)| (phase.name(), count as u64)));
    let causes = members(&mut stats.causes().map(|(cause, count)| (cause.name(), count)));
    let durations: Vec<String> = stats
        .durations()
        .map(|(bound, count)| match bound {
            Duration::MAX => format!("[null,{count}]"),
            bound => format!("[{},{count}]", seconds(bound)),
        })
        .collect();
    let Stats { open, parked, queued, threads, busy, stopping, accepted, served, refused, content, .. } = stats;
    format!(
        "{{\"version\":\"{VERSION}\",\"uptime\":{},\"stopping\":{stopping},\"threads\":{threads},\"busy\":{busy},\"queued\":{queued},\
         \"open\":{open},\"parked\":{parked},\"accepted\":{accepted},\"served\":{served},\"refused\":{refused},\"content\":{content},\
         \"fields_dropped\":{},\"duration\":{},\"phases\":{{{phases}}},\"causes\":{{{causes}}},\"durations\":[{}]}}\n",
        uptime.as_secs(),
        stats.fields_dropped,
        seconds(stats.duration),
        durations.join(",")
    )
}

fn members(counts: &mut dyn Iterator<Item = (&'static str, u64)>) -> String {
    counts.map(|(name, count)| format!("\"{name}\":{count}")).collect::<Vec<_>>().join(",")
}

/// OpenMetrics text.
pub(super) fn metrics(stats: &Stats) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &mut dyn Iterator<Item = (String, String)>| {
        // The unit is the end of the name, where there is one.
        let unit = ["seconds", "bytes"].iter().find(|unit| name.ends_with(**unit));
        let unit = unit.map(|unit| format!("# UNIT {name} {unit}\n")).unwrap_or_default();
        let _ = write!(text, "# TYPE {name} {kind}\n{unit}# HELP {name} {help}\n");
        for (rest, value) in samples {
            let _ = writeln!(text, "{name}{rest} {value}");
        }
    };
    let one = |rest: &str, value: u64| std::iter::once((rest.to_owned(), value.to_string()));
    family(
        "doorway_build",
        "info",
        "The version of the server.",
        &mut one(&format!("_info{{version=\"{VERSION}\"}}"), 1),
    );
    for (name, value, help) in [
        ("doorway_stopping", u64::from(stats.stopping), "1 while the server stops."),
        ("doorway_threads", stats.threads as u64, "Threads of the pool."),
        ("doorway_threads_busy", stats.busy as u64, "Threads of the pool that work with a connection."),
        ("doorway_requests_queued", stats.queued as u64, "Requests that wait for a thread."),
    ] {
        family(name, "gauge", help, &mut one("", value));
    }
    let mut phases =
        stats.phases().map(|(phase, count)| (format!("{{phase=\"{}\"}}", phase.name()), count.to_string()));
    family("doorway_connections", "gauge", "Open connections by what they do.", &mut phases);
    for (name, value, help) in [
        ("doorway_connections_accepted", stats.accepted, "Connections accepted."),
        ("doorway_requests_refused", stats.refused, "Requests refused, connections closed or cut."),
        ("doorway_fields_dropped", stats.fields_dropped, "Request fields dropped."),
        ("doorway_content_bytes", stats.content, "Content sent in responses."),
    ] {
        family(name, "counter", help, &mut one("_total", value));
    }
    let mut causes = stats.causes().map(|(cause, count)| {
        (format!("_total{{number=\"{}\",name=\"{}\"}}", cause.number(), cause.name()), count.to_string())
    });
    family("doorway_causes", "counter", "Reports by cause; docs/refusals.md has each.", &mut causes);
    let mut sum = 0;
    let buckets = stats.durations().map(|(bound, count)| {
        sum += count;
        let bound = if bound == Duration::MAX { "+Inf".to_owned() } else { seconds(bound) };
        (format!("_bucket{{le=\"{bound}\"}}"), sum.to_string())
    });
    let count = ("_count".to_owned(), stats.served.to_string());
    let mut samples = buckets.chain([count, ("_sum".to_owned(), seconds(stats.duration))]);
    let help = "From the whole head of a request to the last that the application gave of its answer.";
    family("doorway_request_duration_seconds", "histogram", help, &mut samples);
    text.push_str("# EOF\n");
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_stand_in_groups_of_three() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expected);
        }
    }
}
