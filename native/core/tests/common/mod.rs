//! What recordings of tests have in common.

use std::path::Path;

use spoor_core::governor::Thinning;
use spoor_core::registry;
use spoor_core::{Options, Storage};
use spoor_format::lane::LaneKind;

/// A recording of up to four threads without limits.
pub(crate) fn options(path: &Path, storage: Storage) -> Options {
    registry::prepare();
    Options {
        path: path.to_owned(),
        storage,
        sync: None,
        places: 1 << 10,
        threads: 4,
        time: None,
        max_events: None,
        thinning: Thinning::default(),
        content_bytes: 0,
        meta: vec![("node".into(), "test@here".into())],
        thread_kind: || LaneKind::Scheduler,
    }
}
