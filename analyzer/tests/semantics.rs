//! Every example in `docs/SEMANTICS.md` is what the code does.

use std::collections::BTreeMap;
use std::path::Path;

use spoor_analyzer::model::stack::{Below, Clip, Ended, Observer, Stacks, Step};
use spoor_analyzer::read::{FunctionId, kind};

/// Functions by their order of appearance.
#[derive(Default)]
struct Functions(Vec<String>);

impl Functions {
    fn id(&mut self, name: &str) -> FunctionId {
        let known = self.0.iter().position(|n| n == name);
        FunctionId(known.unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        }) as u32)
    }
}

#[derive(Default)]
struct Seen {
    lines: Vec<(FunctionId, String)>,
    unknown: Vec<String>,
    order: Vec<Option<usize>>,
    totals: BTreeMap<u32, u64>,
    /// Of each call, the number of the one that it stands on, from 1.
    parents: Vec<u32>,
}

impl Observer for Seen {
    fn called(&mut self, _: u32, below: &Below<'_>, _: FunctionId) -> u32 {
        self.parents.push(below.nearest());
        self.parents.len() as u32
    }
    fn ended(&mut self, e: &Ended) {
        let mut line = format!("{} own {}", e.duration, e.own);
        if e.own_on != e.own {
            line.push_str(&format!(" on {}", e.own_on));
        }
        if e.raised {
            line.push_str(" raised");
        }
        self.order.push(Some(self.lines.len()));
        self.lines.push((e.function, line));
    }
    fn total(&mut self, function: FunctionId, ns: u64) {
        *self.totals.entry(function.0).or_default() += ns;
    }
    fn clipped(&mut self, function: Option<FunctionId>, why: Clip) {
        let why = format!("{why:?}").to_lowercase();
        match function {
            Some(function) => {
                self.order.push(Some(self.lines.len()));
                self.lines.push((function, why));
            }
            None => {
                self.order.push(None);
                self.unknown.push(why);
            }
        }
    }
    fn spent(&mut self, _: u32, _: u64, _: bool) {}
}

/// Runs an example: what it says comes of its events, and what does.
fn run(example: &str) -> (Vec<String>, Vec<String>) {
    let (mut functions, mut stacks, mut seen) = (Functions::default(), Stacks::default(), Seen::default());
    let (mut epoch, mut missing, mut want, mut totals) = (0, false, Vec::new(), Vec::new());
    for line in example.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(result) = line.strip_prefix("= ") {
            want.push(result.to_owned());
        } else if line.starts_with("total ") {
            totals.push(line.to_owned());
        } else if line == "hole" {
            epoch += 1;
        } else if line == "missing" {
            missing = true;
        } else {
            let step = Step { missing: std::mem::take(&mut missing), ..step(line, epoch, &mut functions) };
            stacks.step(step, true, &mut seen);
        }
    }
    stacks.end(&mut seen);
    let mut got: Vec<String> = Vec::new();
    let mut unknown = seen.unknown.iter();
    for place in &seen.order {
        got.push(match place {
            Some(place) => format!("{} {}", functions.0[seen.lines[*place].0.0 as usize], seen.lines[*place].1),
            None => format!("unknown {}", unknown.next().expect("one for each")),
        });
    }
    for total in &totals {
        let name = total.split(' ').nth(1).expect("total NAME NS");
        let id = functions.id(name);
        want.push(total.clone());
        got.push(format!("total {name} {}", seen.totals.get(&id.0).copied().unwrap_or(0)));
    }
    (want, got)
}

fn step(line: &str, epoch: u32, functions: &mut Functions) -> Step {
    let words: Vec<&str> = line.split(' ').collect();
    let kind = match words[1] {
        "call" => kind::CALL,
        "return_to" => kind::RETURN_TO,
        "return_from" => kind::RETURN_FROM,
        "exception_from" => kind::EXCEPTION_FROM,
        "in" => kind::IN,
        "out" => kind::OUT,
        "exit" => kind::EXIT,
        other => panic!("{other} in {line}"),
    };
    let named = words.get(2).copied().filter(|name| *name != "-" && kind != kind::EXIT);
    Step {
        time: words[0].parse().expect("a time"),
        process: 0,
        kind,
        function: named.map(|name| functions.id(name)),
        normal_exit: kind == kind::EXIT && words[2] == "normal",
        epoch,
        complete: true,
        missing: false,
    }
}

#[test]
fn every_example_in_the_document_is_what_happens() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/SEMANTICS.md");
    let text = std::fs::read_to_string(&path).expect("docs/SEMANTICS.md");
    let examples: Vec<&str> = text.split("```trace\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 15, "{} examples", examples.len());
    for example in examples {
        let (want, got) = run(example);
        assert_eq!(want, got, "\n{example}");
    }
}

#[test]
fn endless_tail_calls_are_cut_and_counted() {
    let (mut functions, mut stacks, mut seen) = (Functions::default(), Stacks::default(), Seen::default());
    let calls = 1_200_000_u64;
    for time in 0..calls {
        stacks.step(step(&format!("{time} call loop"), 0, &mut functions), true, &mut seen);
    }
    stacks.end(&mut seen);
    assert_eq!(seen.lines.len() as u64, calls);
    assert!(seen.lines.iter().filter(|(_, line)| line == "deep").count() > 1_000_000);
}

/// On which call each call stands.
fn parents(lines: &[&str]) -> Vec<u32> {
    let (mut functions, mut stacks, mut seen) = (Functions::default(), Stacks::default(), Seen::default());
    lines.iter().for_each(|line| stacks.step(step(line, 0, &mut functions), true, &mut seen));
    seen.parents
}

#[test]
fn nothing_stands_on_a_loop_that_has_returned() {
    let ended = ["0 call f", "10 call f", "20 return_to X", "900 call g"];
    assert_eq!(parents(&ended), [0, 1, 0]);
    let inside = ["0 call main", "5 call f", "10 call f", "20 return_to X", "900 call g"];
    assert_eq!(parents(&inside), [0, 1, 2, 1], "whoever ran the loop may be open");
    let other = ["0 call main", "5 call f", "10 return_to X", "20 call f"];
    assert_eq!(parents(&other), [0, 1, 1], "a fold over traced calls");
}

#[test]
fn processes_do_not_mix() {
    let (mut functions, mut stacks, mut seen) = (Functions::default(), Stacks::default(), Seen::default());
    for (process, line) in [(0, "0 call f"), (1, "5 call f"), (1, "15 return_to -"), (0, "20 return_to -")] {
        let step = Step { process, ..step(line, 0, &mut functions) };
        stacks.step(step, true, &mut seen);
    }
    let lines: Vec<&str> = seen.lines.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(lines, ["10 own 10", "20 own 20"]);
}
