//! Requests: the example in `docs/SEMANTICS.md` is what the code does, output is as in
//! `testdata/`, and a request seen from both ends in two recordings is one.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use spoor_format::text;
use tempfile::TempDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn recording(dir: &TempDir, name: &str, text: &str) {
    let image = text::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    fs::write(dir.path().join(name), image.to_bytes()).expect("written");
}

fn spoor(dir: &TempDir, args: &[&str]) -> String {
    let run =
        Command::new(env!("CARGO_BIN_EXE_spoor")).args(args).current_dir(dir.path()).env("NO_COLOR", "1").output();
    let run = run.expect("the binary runs");
    assert_eq!(run.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("text")
}

fn json(dir: &TempDir, args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&spoor(dir, &[&["requests", "--json"], args].concat())).expect("JSON")
}

#[test]
fn outputs_are_as_blessed() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = fs::read_to_string(root().join("testdata/recordings/requests.txt")).expect("it is there");
    recording(&dir, "requests.spoor", &source);
    let cases: [(&str, &[&str]); 4] = [
        ("requests.txt", &["requests", "requests.spoor", "-n", "3"]),
        ("requests.json", &["requests", "requests.spoor", "-n", "2", "--json"]),
        ("requests-by-client.txt", &["requests", "requests.spoor", "--by", "client"]),
        ("msgs.txt", &["msgs", "requests.spoor"]),
    ];
    for (name, args) in cases {
        let (got, path) = (spoor(&dir, args), root().join("testdata/output").join(name));
        if std::env::var_os("SPOOR_BLESS").is_some() {
            fs::write(&path, &got).expect("written");
        }
        let want = fs::read_to_string(&path).unwrap_or_default();
        assert!(want == got, "{name} differs; SPOOR_BLESS=1 takes this:\n{got}");
    }
}

/// Lines such as `5 S receives 1` on one scheduler, as a recording.
fn recorded(lines: &[(u64, &str)]) -> String {
    let mut text = "spoor-text 1\nheader lanes=2 clock_slots=4 info=512x2 events=4096x2\n\
        status phase=stopped stop_tick=9000 reason=\"test\"\n\
        meta \"otp_release\" \"27\"\nmeta \"process_limit\" \"1048576\"\nmeta \"port_limit\" \"65536\"\n\
        clock 1 tick=1000 monotonic_ns=1000 wall_ns=7000 spread_ns=1\n\
        clock 2 tick=10001000 monotonic_ns=10001000 wall_ns=10007000 spread_ns=1\n\
        lane 0 kind=recorder index=0 os_tid=6 sealed_events=0 sealed_infos=0 dropped=[]\n"
        .to_owned();
    writeln!(text, "lane 1 kind=scheduler index=1 os_tid=7 sealed_events={} sealed_infos=0 dropped=[]", lines.len())
        .and_then(|()| writeln!(text, "chunk events 0 lane=1 seq=1 base_tick=1000 first_record=0 sealed=yes"))
        .expect("a String takes all");
    text.push_str(
        "  define_atom text=\"m\"\n  define_atom text=\"handle_call\"\n  define_function module=1 name=2 arity=3\n",
    );
    let pid = |name: &str| 80 + 8 * ["S", "A", "B"].iter().position(|known| *known == name).expect("S, A or B");
    let mut before = 0;
    for (time, line) in lines {
        let (who, number, shape, event) = match *line.split(' ').collect::<Vec<_>>() {
            [who, "sends", number, "to", to] => (who, number, 0, ("send", format!("to=pid({})", pid(to)))),
            [who, "receives", number] => (who, number, 0, ("receive", String::new())),
            [who, "replies", number] => (who, number, 2, ("send", format!("to=ref(1,2,{number})"))),
            [who, "gives", "up"] => {
                let (pid, delta) = (pid(who), time - before);
                writeln!(text, "  process pid={pid}\n  timeout +{delta}").expect("a String takes all");
                before = *time;
                continue;
            }
            [who, "receives", "a", what] => {
                let (pid, delta) = (pid(who), time - before);
                writeln!(text, "  process pid={pid}").expect("a String takes all");
                if what == "cast" {
                    writeln!(text, "  message shape=1 reference=-").expect("a String takes all");
                }
                writeln!(text, "  receive +{delta}").expect("a String takes all");
                before = *time;
                continue;
            }
            [who, "calls", "handle_call"] => {
                let (pid, delta) = (pid(who), time - before);
                writeln!(text, "  process pid={pid}\n  call +{delta} function=1").expect("a String takes all");
                before = *time;
                continue;
            }
            [who, "gets", number] => (who, number, 2, ("receive", String::new())),
            _ => panic!("{line:?}"),
        };
        let (pid, delta, (event, fields)) = (pid(who), time - before, event);
        writeln!(text, "  process pid={pid}\n  message shape={shape} reference=ref(1,2,{number})")
            .and_then(|()| writeln!(text, "  {event} +{delta} {fields}"))
            .expect("a String takes all");
        before = *time;
    }
    text
}

#[test]
fn examples_are_what_the_code_does() {
    let docs = fs::read_to_string(root().join("docs/SEMANTICS.md")).expect("docs are there");
    let examples: Vec<&str> = docs.split("```requests\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let (wanted, events): (Vec<&str>, Vec<&str>) = example.lines().partition(|line| line.starts_with("= "));
        let lines: Vec<(u64, &str)> = events
            .iter()
            .filter_map(|line| line.split_once(' '))
            .map(|(time, what)| (time.parse().expect("a time"), what))
            .collect();
        let dir = tempfile::tempdir().expect("a directory");
        recording(&dir, "example.spoor", &recorded(&lines));
        let answer = json(&dir, &["example.spoor", "-n", "9"]);
        let slowest = answer["slowest"].as_array().expect("a list");
        let part = |request: &serde_json::Value, name: &str| request["parts"][format!("{name}_ns")].as_u64();
        let got: Vec<String> = slowest
            .iter()
            .map(|request| {
                let wait = request["client_wait_ns"].as_u64().expect("a wait");
                if request["parts"].is_null() {
                    return format!("= {wait}: not split");
                }
                let known = |name| part(request, name).expect("a part");
                let (mailbox, service, delivery) = (known("mailbox_wait"), known("service"), known("delivery"));
                assert_eq!(wait, mailbox + service + delivery);
                format!("= {wait}: mailbox {mailbox}, service {service}, delivery {delivery}")
            })
            .collect();
        assert_eq!(got, wanted, "{example}");
    }
}

/// Who waits all through a window is told of, and with the whole wait.
#[test]
fn a_window_has_the_requests_that_were_there_in_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let lines = [
        (0, "A sends 1 to S"),
        (5_000, "S receives 1"),
        (40_000, "S replies 1"),
        (42_000, "A gets 1"),
        (50_000, "B sends 2 to S"),
        (55_000, "S receives 2"),
        (300_000, "S replies 2"),
        (310_000, "B gets 2"),
        (320_000, "A sends 3 to S"),
        (330_000, "S receives 3"),
        (360_000, "S receives a message"),
    ];
    recording(&dir, "r.spoor", &recorded(&lines));
    let numbers = ["requests", "answered", "unanswered", "began_before", "ended_after"];
    let windows = [
        (["0us", "45us"], [1, 1, 0, 0, 0]),
        (["60us", "200us"], [1, 1, 0, 1, 1]),
        (["305us", "315us"], [1, 1, 0, 1, 0]),
        (["312us", "340us"], [1, 0, 1, 0, 0]),
        (["335us", "340us"], [1, 0, 1, 1, 0]),
        (["0us", "400us"], [3, 2, 1, 0, 0]),
    ];
    for ([from, to], wanted) in windows {
        let answer = json(&dir, &["r.spoor", "--from", from, "--to", to]);
        let row = &answer["groups"][0];
        assert_eq!(numbers.map(|name| row[name].as_u64()), wanted.map(Some), "{from} {to}: {answer:#}");
    }
    let answer = json(&dir, &["r.spoor", "--from", "60us", "--to", "200us"]);
    assert_eq!(answer["slowest"][0]["client_wait_ns"], 260_000, "{answer:#}");
    let text = spoor(&dir, &["requests", "r.spoor", "--from", "60us", "--to", "200us"]);
    assert!(text.contains("1 began before the window, 1 ended after it"), "{text}");
}

/// Who asks Spoor to stop gets no answer in the recording, and is no client that waits.
#[test]
fn requests_to_spoor_itself_are_left_out_and_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let lines =
        [(0, "A sends 1 to S"), (9, "A gets 1"), (20, "A sends 2 to B"), (29, "A gets 2"), (50, "A sends 3 to B")];
    // B is a child of the process 800, which is called by a name.
    let named = |name: &str| {
        let infos = format!(
            "chunk info 0 lane=0 seq=7 base_tick=1000 first_record=0 sealed=yes\n  define_atom text=\"{name}\"\n  \
             process_info +0 pid=800 parent=- name=1 label=- initial_call=0\n  \
             process_info +0 pid=96 parent=pid(800) name=0 label=- initial_call=0\nchunk events 0"
        );
        recorded(&lines).replacen("chunk events 0", &infos, 1).replace("sealed_infos=0", "sealed_infos=2")
    };
    for (name, left_out) in [("spoor_recording_sup", 2), ("some_sup", 0)] {
        recording(&dir, "r.spoor", &named(name));
        let answer = json(&dir, &["r.spoor"]);
        let counted = answer["groups"].as_array().expect("rows").iter().filter_map(|row| row["requests"].as_u64());
        assert_eq!((answer["to_spoor"].as_u64(), counted.sum()), (Some(left_out), 3 - left_out), "{answer:#}");
        assert_eq!(answer["slowest"].as_array().map(Vec::len), Some(3 - left_out as usize));
        let text = spoor(&dir, &["requests", "r.spoor", "--by", "client"]);
        assert_eq!(text.contains("2 requests to Spoor's own processes are left out\n"), left_out > 0, "{text}");
    }
}

/// A reply whose request nobody saw is told where there is nothing else.
#[test]
fn replies_without_a_request_are_told_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    recording(&dir, "r.spoor", &recorded(&[(0, "S replies 1"), (9, "S replies 2")]));
    let text = spoor(&dir, &["requests", "r.spoor"]);
    assert!(text.contains("2 replies, or what looks like one, to requests that were not recorded"), "{text}");
}

#[test]
fn a_server_that_was_not_there_is_not_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = recorded(&[(0, "A sends 1 to S"), (5, "A gets 1"), (10, "B sends 2 to S"), (19, "B gets 2")])
        .replace("shape=2", "shape=3")
        .replace("send +0", "send_to_non_existing_process +0");
    recording(&dir, "r.spoor", &text);
    let answer = json(&dir, &["r.spoor"]);
    let row = &answer["groups"][0];
    assert_eq!(["requests", "no_server", "server_died"].map(|name| row[name].as_u64()), [2, 1, 1].map(Some), "{row}");
}

/// With `handle_call` traced it is known when service began, whatever came before.
#[test]
fn behind_casts_the_split_is_known_from_handle_call_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let lines = [
        (0, "S receives a message"),
        (2, "A sends 1 to S"),
        (3, "S receives 1"),
        (30, "S calls handle_call"),
        (31, "S replies 1"),
        (32, "A gets 1"),
    ];
    let without: Vec<(u64, &str)> = lines.into_iter().filter(|(_, line)| !line.contains("calls")).collect();
    for (lines, split, at_most) in [(&lines[..], 1, 0), (&without[..], 0, 0), (&without[1..], 1, 1)] {
        recording(&dir, "r.spoor", &recorded(lines));
        let answer = json(&dir, &["r.spoor"]);
        let row = &answer["groups"][0];
        let got = [&row["split"]["requests"], &row["not_split"], &row["service_at_most"]];
        assert_eq!(got.map(|n| n.as_u64()), [split, 1 - split, at_most].map(Some), "{lines:?}: {row}");
        let text = spoor(&dir, &["requests", "r.spoor"]);
        assert_eq!(text.contains("service, at most"), at_most == 1, "{text}");
    }
    // Two are parked: the reply to the first, sent when a cast came, tells nothing of the second.
    let parked = [
        (0, "A sends 1 to S"),
        (1, "S receives 1"),
        (2, "B sends 2 to S"),
        (3, "S receives 2"),
        (50, "S receives a cast"),
        (51, "S replies 1"),
        (52, "A gets 1"),
        (60, "S receives a cast"),
        (61, "S replies 2"),
        (62, "B gets 2"),
    ];
    recording(&dir, "r.spoor", &recorded(&parked));
    let row = json(&dir, &["r.spoor"])["groups"][0].clone();
    assert_eq!(["not_split", "service_at_most"].map(|name| row[name].as_u64()), [1, 1].map(Some), "{row}");
}

/// A reply to an alias names no process: its reference tells whose it was.
#[test]
fn replies_to_aliases_are_messages_to_who_receives_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let lines = [
        (0, "A sends 1 to S"),
        (1, "A sends 2 to S"),
        (2, "A sends 3 to S"),
        (5, "S receives 1"),
        (6, "S receives 2"),
        (7, "S receives 3"),
        (10, "S replies 1"),
        (20, "S replies 2"),
        (25, "A gets 1"),
        (27, "A gets 2"),
        (30, "S replies 3"),
        (31, "S replies 8"),
        (32, "S replies 9"),
    ];
    let text = recorded(&lines).replace("ref(1,2,9)", "printed(\"#Ref<4242.1.2.9>\")");
    recording(&dir, "msgs.spoor", &text);
    let answer: serde_json::Value =
        serde_json::from_str(&spoor(&dir, &["msgs", "msgs.spoor", "--json"])).expect("JSON");
    let pairs: Vec<(&str, &str, u64)> = answer["pairs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| Some((row["from"].as_str()?, row["to"].as_str()?, row["messages"].as_u64()?)))
        .collect();
    let elsewhere: Vec<(&str, u64)> =
        pairs.iter().filter(|(_, to, _)| to.starts_with("aliases")).map(|(_, to, n)| (*to, *n)).collect();
    assert_eq!(elsewhere, [("aliases", 2), ("aliases of other nodes", 1)], "{pairs:?}");
    let queues = answer["queues"].as_array().expect("a list");
    let client = queues.iter().find(|row| row["received"] == 2).expect("the client");
    let numbers = ["sent", "from_elsewhere", "peak", "peak_at_ns", "left", "p50_ns", "max_ns"];
    assert_eq!(numbers.map(|name| client[name].as_u64()), [2, 0, 2, 20, 0, 7, 15].map(Some), "{client}");
}

/// The slowest may have been at the server for no time at all.
#[test]
fn a_slow_request_that_was_fast_at_the_server_has_both_ends() {
    let dir = tempfile::tempdir().expect("a directory");
    let client = [(0, "A sends 1 to S"), (100, "A gets 1"), (200, "A sends 2 to S"), (298, "A gets 2")];
    let server = [(40, "S receives 1"), (45, "S replies 1"), (240, "S receives 2"), (241, "S replies 2")];
    recording(&dir, "client.spoor", &recorded(&client));
    recording(&dir, "server.spoor", &recorded(&server));
    for files in [["client.spoor", "server.spoor"], ["server.spoor", "client.spoor"]] {
        let answer = json(&dir, &[&files[..], &["-n", "1"]].concat());
        let first = &answer["slowest"][0];
        let numbers = ["client_wait_ns", "at_server_ns", "service_ns", "on_the_way_ns"];
        assert_eq!(numbers.map(|name| first[name].as_u64()), [100, 5, 5, 95].map(Some), "{files:?}: {first}");
    }
}

/// Who never got an answer waits longest of all.
#[test]
fn requests_without_an_answer_are_listed_by_how_long_they_waited() {
    let dir = tempfile::tempdir().expect("a directory");
    let lines = [
        (0, "A sends 1 to S"),
        (5, "S receives 1"),
        (40, "S replies 1"),
        (42, "A gets 1"),
        (50, "B sends 2 to S"),
        (60, "A sends 3 to S"),
        (150, "A gives up"),
        (160, "S replies 9"),
    ];
    recording(&dir, "open.spoor", &recorded(&lines));
    let answer = json(&dir, &["open.spoor"]);
    let slowest = answer["slowest"].as_array().expect("a list");
    let got: Vec<_> = slowest
        .iter()
        .map(|of| (of["end"].as_str(), of["waited_ns"].as_u64(), of["client_wait_ns"].as_u64()))
        .collect();
    let wanted = [
        (Some("unanswered"), Some(110), None),
        (Some("timed_out"), Some(90), None),
        (Some("answered"), None, Some(42)),
    ];
    assert_eq!(got, wanted);
    let text = spoor(&dir, &["requests", "open.spoor"]);
    assert!(text.contains("timed out") && text.contains("WAIT without an answer"), "{text}");
}

/// The client's node knows the wait, the server's the time there: one request, once in the list.
#[test]
fn a_request_in_two_recordings_is_listed_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let client = [(0, "A sends 1 to S"), (42, "A gets 1"), (50, "A sends 2 to S"), (150, "A gets 2")];
    let server = [(5, "S receives 1"), (40, "S replies 1"), (55, "S receives 2"), (145, "S replies 2")];
    recording(&dir, "client.spoor", &recorded(&client));
    recording(&dir, "server.spoor", &recorded(&server));
    for files in [["client.spoor", "server.spoor"], ["server.spoor", "client.spoor"]] {
        let answer = json(&dir, &[&files[..], &["-n", "2"]].concat());
        let slowest = answer["slowest"].as_array().expect("a list");
        let of = |name: &str| slowest.iter().map(|request| request[name].as_u64()).collect::<Vec<_>>();
        assert_eq!(of("client_wait_ns"), [Some(100), Some(42)], "{files:?}");
        assert_eq!(of("at_server_ns"), [Some(90), Some(35)], "{files:?}");
        assert_eq!(of("on_the_way_ns"), [Some(10), Some(7)], "{files:?}");
        assert_eq!(of("service_ns"), [Some(90), Some(35)], "{files:?}");
        let recordings: Vec<_> = slowest.iter().map(|request| request["recording"].as_str()).collect();
        assert_eq!(recordings, [Some("client.spoor"); 2]);
        assert!(spoor(&dir, &[&["msgs"], &files[..]].concat()).contains("is not joined"));
    }
    assert!(!spoor(&dir, &["msgs", "client.spoor"]).contains("is not joined"));
}
