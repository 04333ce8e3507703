//! What was not traced for a while, as the recorder's own remarks tell.

use super::finding::{Finding, TRACING};
use super::recording::Info;

/// So many modules are named.
const NAMED: usize = 3;

/// What the remarks of a recording that began at `start_ns` say of events that are not in it.
pub(super) fn findings(notes: &[Info], start_ns: u64) -> Vec<Finding> {
    let about = |about: &'static str| {
        notes.iter().filter_map(move |note| match note {
            Info::Note { time, what, detail } if what == about => {
                Some((time.saturating_sub(start_ns), detail.as_str()))
            }
            _ => None,
        })
    };
    let mut found = Vec::new();
    let reloaded: Vec<String> = about("reloaded").map(|(at, module)| format!("{module} by {}", seconds(at))).collect();
    if let Some(first) = reloaded.get(..NAMED.min(reloaded.len())).filter(|first| !first.is_empty()) {
        let more = match reloaded.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let what = format!("code was loaded again: {}{more}", first.join(", "));
        found.push(Finding::warning(TRACING, what, "their calls until then, for about a second"));
    }
    if let Some((at, _)) = about("trace_lost").next() {
        let what = format!("somebody else turned tracing off by {}", seconds(at));
        found.push(Finding::warning(TRACING, what, "all since, and up to a second before"));
    }
    found
}

fn seconds(ns: u64) -> String {
    format!("{:.3} s", ns as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(time: u64, what: &str, detail: &str) -> Info {
        Info::Note { time, what: what.to_owned(), detail: detail.to_owned() }
    }

    #[test]
    fn what_was_not_traced_is_told_once() {
        assert_eq!(findings(&[note(1, "names_lost", "[]")], 0), []);
        let modules: Vec<Info> = (1..=5).map(|n| note(n * 1_000_000_000, "reloaded", &format!("m{n}"))).collect();
        let whats = |notes: &[Info]| findings(notes, 500_000_000).into_iter().map(|one| one.what).collect::<Vec<_>>();
        assert_eq!(whats(&modules[..1]), ["code was loaded again: m1 by 0.500 s"]);
        let lost = note(2_000_000_000, "trace_lost", "[]");
        let all: Vec<Info> = modules.iter().cloned().chain([lost]).collect();
        let first = "code was loaded again: m1 by 0.500 s, m2 by 1.500 s, m3 by 2.500 s and 2 more";
        assert_eq!(whats(&all), [first, "somebody else turned tracing off by 1.500 s"]);
        assert!(findings(&all, 0).iter().all(Finding::is_of_omissions));
    }
}
