//! A host that tells the test what it is told.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use spoor_core::Options;
use spoor_core::recording;
use spoor_core::registry::{self, State};
use spoor_core::{Host, Limit, Summary};

/// What the keeper of a recording said.
pub(crate) enum Told {
    Limit(Limit),
    Closed(Box<Summary>),
}

/// Tells it all, and its owner lives.
pub(crate) struct TestHost(pub(crate) Sender<Told>);

impl Host for TestHost {
    fn owner_alive(&self) -> bool {
        true
    }
    fn limit(&self, _: State, limit: Limit) {
        let _ = self.0.send(Told::Limit(limit));
    }
    fn closed(&self, _: State, summary: &Summary) {
        let _ = self.0.send(Told::Closed(Box::new(summary.clone())));
    }
}

/// A recording, and what is said of it.
pub(crate) fn open(options: Options) -> (State, Receiver<Told>) {
    let (sender, told) = channel();
    (recording::open(options, TestHost(sender)).expect("a recording"), told)
}

/// Ends a recording, if nothing else did.
pub(crate) fn close(state: State, reason: &str, told: &Receiver<Told>) -> Summary {
    let _ = registry::with(state, |recording| recording.close(reason));
    loop {
        if let Told::Closed(summary) = told.recv_timeout(Duration::from_secs(20)).expect("the keeper answers") {
            return *summary;
        }
    }
}
