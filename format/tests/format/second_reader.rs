//! `test/second_reader.py`, written from `docs/FORMAT.md` alone, finds in built
//! recordings what is in them: whole, turned, cut and damaged ones.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use spoor_format::text::parse;

/// What the second reader says of a file: one line for each value asked for.
fn second_reader(name: &str, file: &[u8], ask: &str) -> String {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = directory.join(format!("{name}.spoor"));
    std::fs::write(&path, file).expect("the target directory can be written");
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/../test/second_reader.py");
    let script = format!(
        "import json, runpy, sys\nmodule = runpy.run_path({reader:?})\n\
         r = module['Recording'](open({path:?}, 'rb').read()).report()\n{ask}"
    );
    let mut python = Command::new("python3").arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let python = python.as_mut().expect("python3 is installed (make setup does it)");
    python.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("python reads its script");
    let mut output = String::new();
    std::io::Read::read_to_string(python.stdout.as_mut().expect("a pipe"), &mut output).expect("text");
    assert!(python.wait().expect("it ended").success(), "{name}: {script}");
    output
}

const FRONT: &str = "spoor-text 1
header lanes=3 clock_slots=4 info=512x2 events=512x3
status phase=recording stop_tick=0 reason=\"\"
meta \"records\" \"1 define define_atom text:text\\n200 event later who:term n:uint\\n\"
meta \"drop_causes\" \"a b c d e f later\"
meta \"otp_release\" \"27\"
meta \"process_limit\" \"1048576\"
meta \"port_limit\" \"65536\"
clock 1 tick=1000 monotonic_ns=500 wall_ns=7000 spread_ns=1
clock 2 tick=2000 monotonic_ns=1000 wall_ns=7500 spread_ns=1
lane 0 kind=recorder index=0 os_tid=6 sealed_events=0 sealed_infos=0 dropped=[0,0,0,2,0,0,1]
lane 1 kind=scheduler index=1 os_tid=7 sealed_events=4 sealed_infos=0 dropped=[3]
lane 2 kind=scheduler index=2 os_tid=8 sealed_events=0 sealed_infos=0 dropped=[]
";
/// Two events of lane 1 are overwritten; lane 2 is writing its chunk.
const CHUNKS: &str = "chunk events 0 lane=1 seq=4 base_tick=1500 first_record=2 sealed=yes
  define_atom text=\"lists\"
  define_atom text=\"map\"
  define_function module=1 name=2 arity=2
  process pid=8
  match_result value={@1,[1|...],#{1.5=>-},<<16:0x6162>>,printed(\"é\"),hidden(map,7),ref(1,2,3)}
  call +0 function=1
  later +100 who=pid(1) n=5
chunk events 1 lane=2 seq=2 base_tick=1000 first_record=0 sealed=no
  gc_minor_start +7 sizes=[1,2,3]
  port port=1
  port_in +0 operation=0
  nobody
  timeout +1400
  raw 0x
chunk info 0 lane=0 seq=1 base_tick=0 first_record=0
  define_atom text=\"init\"
  process_info +5 pid=0 parent=- name=1 label=[] initial_call=0
";
const LEDGER: &str = "print(*(r['ledger'][k] for k in 'stored present overwritten damaged dropped'.split()))\n";

fn build(text: &str) -> Vec<u8> {
    parse(text).unwrap_or_else(|error| panic!("{error}")).to_bytes()
}

#[test]
fn it_reads_a_turned_ring_and_a_chunk_being_written() {
    let file = build(&format!("{FRONT}{CHUNKS}backup\n"));
    let ask = format!(
        "{LEDGER}print(json.dumps([r[k] for k in ('kinds', 'infos', 'calls', 'whose', 'last_event_ns', 'damage')]))\n"
    );
    let said = second_reader("turned", &file, &(ask + "print(r['ledger']['dropped_by_cause'])"));
    assert_eq!(
        said,
        "7 5 2 0 6\n\
         [{\"call\": 1, \"gc_minor_start\": 1, \"later\": 1, \"port_in\": 1, \"timeout\": 1}, {\"process_info\": 1}, \
         {\"lists:map/2\": 1}, {\"#Port<0.8192>\": 1, \"-\": 2, \"<0.1.0>\": 2}, 704, []]\n\
         {'later': 1, 'no_chunk': 3, 'no_lane': 2}\n"
    );
}

#[test]
fn it_takes_the_copy_of_a_damaged_header() {
    let file = build(&format!("{FRONT}{CHUNKS}backup\nat 20 0xff\nat 4100 0xff\n"));
    let said = second_reader("copied", &file, &format!("{LEDGER}print(r['damage'])"));
    assert_eq!(said, "7 5 2 0 6\n['header: checksum of the header', 'meta section']\n");
}

#[test]
fn it_keeps_what_stands_before_a_cut() {
    let file = build(&format!("{FRONT}{CHUNKS}"));
    let chunk = file.windows(4).rposition(|four| four == b"SpCh").expect("a chunk");
    // Behind the first two events of the last chunk: its first record is of 6 bytes, then 2, then 3.
    let said = second_reader("cut", &file[..chunk + 64 + 12], LEDGER);
    assert_eq!(said, "7 4 2 1 6\n");
}

#[test]
fn it_drops_a_chunk_that_is_not_what_was_written() {
    for (name, damage) in [
        ("checksum", CHUNKS.replacen("sealed=yes", "sealed=0x00000000", 1)),
        ("count", CHUNKS.replacen("sealed=yes", "records=3 sealed=yes", 1)),
        ("dangling", CHUNKS.replacen("function=1", "function=2", 1)),
        ("unknown", CHUNKS.replacen("later +100 who=pid(1) n=5", "raw 0xfa", 1)),
        ("overlong", CHUNKS.replacen("later +100 who=pid(1) n=5", "raw 0x20ffffffffffffffffffff0101", 1)),
        ("late", CHUNKS.replacen("later +100", "later +18446744073709551615", 1)),
    ] {
        let said =
            second_reader(name, &build(&format!("{FRONT}{damage}")), &format!("{LEDGER}print(len(r['damage']))"));
        let stored = if name == "count" { 8 } else { 7 };
        assert_eq!(said, format!("{stored} 3 2 {} 6\n1\n", stored - 5), "{name}");
    }
}
