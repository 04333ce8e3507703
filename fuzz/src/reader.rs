//! The reader alone: everything that commands ask it for.

use std::sync::Mutex;

use spoor_analyzer::read::{self, Names, Source, Survey, Tracees, Window};

use crate::files::{Files, directory};
use crate::{Recording, recording, watch};

/// Reads the recording that an input stands for; its second byte picks the window.
pub fn run(data: &[u8]) {
    static STREAM: Mutex<Option<Files>> = Mutex::new(None);
    let source = match recording(data) {
        None => return,
        Some(Recording::File(bytes)) => Source::from_bytes(bytes),
        Some(Recording::Stream(files)) => {
            let mut known = STREAM.lock().expect("a panic ends the process");
            let known = known.get_or_insert_with(|| Files::new(directory("reader")));
            known.set(files);
            let Ok(source) = Source::open(known.directory()) else { return };
            source
        }
    };
    watch::run(usize::from(data[1] >> 4), || {
        let Ok(recording) = read::Recording::open(source, "fuzz.spoor") else { return };
        recording.audit();
        recording.notes();
        let span = recording.end_ns.saturating_sub(recording.start_ns);
        let from = |part: u64| recording.start_ns.saturating_add(span / 16 * part);
        let window = match data[1] {
            0..=127 => Window::ALL,
            part => Window { from_ns: from(u64::from(part & 15)), to_ns: from(u64::from(part >> 4)) },
        };
        let mut stream = recording.stream(Names::default(), Tracees::default(), window);
        while let Some(event) = stream.next() {
            let _ = (event.detail(), event.identity(), recording.kind_name(event.kind));
        }
        stream.finish();
        Survey::new(&recording).run(|_, survey, round| {
            for step in &round.steps {
                survey.place(step);
            }
        });
    });
}
