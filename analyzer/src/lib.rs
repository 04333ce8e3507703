//! Reads the recordings of Spoor, live or dead, whole or damaged.
//!
//! ```text
//! read -> model -> view -> commands -> main
//! ```
//!
//! [`read`] turns bytes into events in order, [`model`] events into tables,
//! [`view`] tables into text, JSON and pictures; [`commands`] opens files and
//! puts the three together. A reader prints nothing, a model sees neither bytes
//! nor arguments, a view opens no file.
//!
//! The times of calls, as `spoor calls FILE` has them:
//!
//! ```
//! use std::path::Path;
//!
//! use spoor_analyzer::model::calls::{Calls, Report, Sort};
//! use spoor_analyzer::model::filter::Filter;
//! use spoor_analyzer::read::{Names, Recording, Source, Tracees, Window};
//!
//! /// The ten functions with the most time of their own.
//! fn most_time(path: &Path) -> Result<Report, Box<dyn std::error::Error>> {
//!     let recording = Recording::open(Source::open(path)?, &path.display().to_string())?;
//!     let mut calls = Calls::new(1);
//!     let mut stream = recording.stream(Names::default(), Tracees::default(), Window::ALL);
//!     calls.recording(|feeder| {
//!         while let Some(event) = stream.next() {
//!             feeder.event(&event, true);
//!         }
//!     });
//!     let outcome = stream.finish();
//!     Ok(calls.report(&outcome.names, &Filter::default(), Sort::default(), 10))
//! }
//!
//! # let image = spoor_format::text::parse(concat!(
//! #     "spoor-text 1\nheader lanes=2 clock_slots=4 info=512x2 events=4096x2\n",
//! #     "status phase=stopped stop_tick=9000 reason=\"test\"\nmeta \"otp_release\" \"27\"\n",
//! #     "meta \"process_limit\" \"1048576\"\nmeta \"port_limit\" \"65536\"\n",
//! #     "clock 1 tick=1000 monotonic_ns=1000 wall_ns=7000 spread_ns=1\n",
//! #     "clock 2 tick=10001000 monotonic_ns=10001000 wall_ns=10007000 spread_ns=1\n",
//! #     "lane 0 kind=recorder index=0 os_tid=6 sealed_events=0 sealed_infos=0 dropped=[]\n",
//! #     "lane 1 kind=scheduler index=1 os_tid=7 sealed_events=2 sealed_infos=0 dropped=[]\n",
//! #     "chunk events 0 lane=1 seq=1 base_tick=1000 first_record=0 sealed=yes\n",
//! #     "  define_atom text=\"shop\"\n  define_atom text=\"price\"\n",
//! #     "  define_function module=1 name=2 arity=1\n  process pid=80\n",
//! #     "  call +5 function=1\n  return_from +40 function=1\n"
//! # ))?;
//! # let directory = tempfile::tempdir()?;
//! # let path = &directory.path().join("shop.spoor");
//! # std::fs::write(path, image.to_bytes())?;
//! let report = most_time(path)?;
//! assert_eq!(report.functions[0].function, "shop:price/1");
//! assert_eq!((report.functions[0].calls, report.functions[0].total_ns), (1, 40));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod cli;
pub mod commands;
pub mod model;
pub mod read;
pub mod view;
