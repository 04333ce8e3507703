//! Clocks of threads that disagree are found by what is in the wrong order, told with the
//! worst of it, and not taken for damage. What is in the right order, or where events
//! are missing in between, says nothing.

use std::fmt::Write as _;

use spoor_analyzer::model::check::{Check, Report};
use spoor_analyzer::model::clocks::Clocks;
use spoor_analyzer::model::info::Counts;
use spoor_analyzer::read::{Finding, Names, Recording, Severity, Source, Survey, Tracees, Window};

const FRONT: &str = r#"spoor-text 1
header lanes=4 clock_slots=4 info=512x2 events=4096x6
status phase=stopped stop_tick=900000 reason="test"
meta "otp_release" "27"
meta "process_limit" "1048576"
meta "port_limit" "65536"
clock 1 tick=1000 monotonic_ns=1000 wall_ns=7000 spread_ns=1
clock 2 tick=1001000 monotonic_ns=501000 wall_ns=507000 spread_ns=1
lane 0 kind=recorder index=0 os_tid=6 sealed_events=0 sealed_infos=0 dropped=[]
"#;

/// Two threads, each with a chunk of these lines, at two ticks a nanosecond; the second
/// chunk lacks records before it.
fn recording(threads: [&str; 2], lost: u64) -> Recording {
    let mut text = FRONT.to_owned();
    let begins = ["missing", "process", "port ", "message"];
    let events =
        |lines: &str| lines.lines().filter(|line| !begins.iter().any(|word| line.trim().starts_with(word))).count();
    for (number, lines) in threads.iter().enumerate() {
        let sealed = events(lines) as u64 + lost;
        writeln!(
            text,
            "lane {0} kind=scheduler index={0} os_tid=1{0} sealed_events={sealed} sealed_infos=0 dropped=[]",
            number + 1
        )
        .expect("a String takes all");
    }
    for (number, lines) in threads.iter().enumerate() {
        let (lane, seq) = (number + 1, number + 1);
        writeln!(text, "chunk events {number} lane={lane} seq={seq} base_tick=1000 first_record={lost}")
            .expect("a String takes all");
        lines.lines().for_each(|line| writeln!(text, "  {}", line.trim()).expect("a String takes all"));
    }
    let bytes = spoor_format::text::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}")).to_bytes();
    Recording::open(Source::from_bytes(bytes), "test.spoor").expect("a recording")
}

fn check(recording: &Recording) -> Report {
    let mut check = Check::new(recording);
    Survey::new(recording).run(|recording, survey, round| check.round(recording, survey, round));
    check.report(recording)
}

const TWICE_IN: &str = "it is scheduled in, but was not scheduled out since";

/// The text form has no copy of the front.
fn damage(report: &Report) -> Vec<String> {
    let damage = report.defects.iter().filter(|defect| defect.severity == Severity::Damage);
    let damage = damage.filter(|defect| defect.place.part.as_deref() != Some("copy of the front"));
    damage.map(|defect| defect.what.clone()).collect()
}

/// What a command that reads all events tells, and what `info` and `check` do.
fn told(threads: [&str; 2], lost: u64) -> (Vec<String>, Vec<String>, Report) {
    let recording = recording(threads, lost);
    let mut stream = recording.stream(Names::default(), Tracees::default(), Window::ALL);
    let mut clocks = Clocks::default();
    while let Some(event) = stream.next() {
        clocks.event(&event);
    }
    let read = clocks.finding(&recording);
    let mut counts = Counts::new(&recording);
    Survey::counting(&recording).run(|recording, _, round| counts.round(recording, round));
    let info = counts.report(&recording, &[]);
    let of_clocks = |findings: &[Finding]| -> Vec<String> {
        findings.iter().filter(|finding| finding.is_of_clocks()).map(|finding| finding.what.clone()).collect()
    };
    let checked = check(&recording);
    let of_check = checked.defects.iter().filter(|defect| defect.place.part.as_deref() == Some("clocks of threads"));
    assert_eq!(of_check.map(|defect| defect.what.clone()).collect::<Vec<_>>(), of_clocks(&info.findings));
    (of_clocks(read.as_slice()), of_clocks(&info.findings), checked)
}

#[test]
fn a_process_cannot_come_in_before_it_is_out() {
    // Out of the first at 400, in on the second at 300; back on the first it comes and goes before it is out.
    let first = "process pid=8\n in +0 function=0\n out +400 function=0\n in +600 function=0\n out +500 function=0";
    let second = "process pid=8\n in +300 function=0\n out +400 function=0\n in +250 function=0\n out +900 function=0";
    let (read, info, checked) = told([first, second], 0);
    let want = "2 times what must come later came first, by up to 425 ns (on s1, against s2)";
    assert_eq!((read, info), (vec![want.to_owned()], vec![want.to_owned()]));
    assert_eq!(damage(&checked), Vec::<String>::new());
    assert_eq!(checked.warnings, 1);
}

#[test]
fn a_process_is_spawned_before_it_runs() {
    let first = "process pid=16\n spawned +500 parent=pid(8) function=0";
    let second = "process pid=16\n in +300 function=0\n out +400 function=0";
    let (read, info, checked) = told([first, second], 0);
    let want = "once what must come later came first, by up to 100 ns (on s2, against s1)";
    assert_eq!((read, info), (vec![want.to_owned()], vec![want.to_owned()]));
    assert_eq!(damage(&checked), Vec::<String>::new());
}

#[test]
fn a_message_is_sent_before_it_is_received() {
    let first = "process pid=8\n message shape=1 reference=ref(1,2,3)\n send +500 to=pid(16)";
    let second = "process pid=16\n message shape=1 reference=ref(1,2,3)\n receive +300";
    let (_, info, checked) = told([first, second], 0);
    assert_eq!(info, ["once what must come later came first, by up to 100 ns (on s2, against s1)"]);
    assert_eq!(damage(&checked), Vec::<String>::new());
    // Another reference; sent to another; sent again by who received it.
    for (send, to) in [("ref(1,2,4)", 16), ("ref(1,2,3)", 24)] {
        let first = format!("process pid=8\n message shape=1 reference={send}\n send +500 to=pid({to})");
        assert_eq!(told([&first, second], 0).1, Vec::<String>::new(), "{first}");
    }
    let first = "process pid=16\n message shape=1 reference=ref(1,2,3)\n send +500 to=pid(16)";
    assert_eq!(told([first, second], 0).1, Vec::<String>::new());
}

#[test]
fn what_is_in_order_says_nothing() {
    let first = "process pid=8\n in +0 function=0\n out +400 function=0\n in +600 function=0\n out +500 function=0";
    let second = "process pid=8\n in +400 function=0\n out +500 function=0\n in +601 function=0\n out +900 function=0";
    let (read, info, checked) = told([first, second], 0);
    assert_eq!((read, info), (vec![], vec![]));
    assert_eq!((damage(&checked), checked.warnings), (vec![], 0));
}

#[test]
fn where_events_are_missing_nothing_is_concluded() {
    let first = "process pid=8\n in +0 function=0\n out +400 function=0";
    let second = "process pid=8\n missing any=0\n in +300 function=0\n out +400 function=0";
    let (read, info, _) = told([first, second], 0);
    assert_eq!((read, info), (vec![], vec![]));
    let second =
        "process pid=24\n missing any=1\n in +290 function=0\nprocess pid=8\n in +10 function=0\n out +400 function=0";
    let (read, info, _) = told([first, second], 0);
    assert_eq!((read, info), (vec![], vec![]));
}

/// Two ins in a row that no out explains are damage, whatever the clocks.
#[test]
fn what_no_clock_explains_is_damage() {
    let first = "process pid=8\n in +0 function=0";
    let second = "process pid=8\n in +90000 function=0\n in +90000 function=0";
    let (_, info, checked) = told([first, second], 0);
    assert_eq!((info.len(), damage(&checked)), (0, vec![TWICE_IN.to_owned()]));
}
