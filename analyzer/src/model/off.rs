//! What a process was off for: its next event says it, and the function in which it went off.

use crate::read::{Event, FunctionId, Recording, kind};

/// What a process was off for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Off {
    Waiting,
    Queued,
    Unsaid,
}

/// What the function in which a process goes off says of why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing.
    #[default]
    Anywhere,
    /// It waits for a message.
    Hibernates,
    /// The VM may have suspended it, as for a busy port: it was not ready then, nor did it wait for a message.
    Suspends,
}

impl Place {
    /// Of an `in` or `out` event.
    pub(super) fn of(event: &Event<'_>) -> Place {
        let Some(function) = event.function else { return Place::Anywhere };
        match event.names().function_parts(function) {
            ("erlang", "hibernate", _) => Place::Hibernates,
            ("erlang", name, _) if IN_ERLANG.contains(&name) => Place::Suspends,
            ("erts_internal", name, _) if IN_ERTS_INTERNAL.contains(&name) => Place::Suspends,
            ("persistent_term", "put" | "put_new" | "erase", _) => Place::Suspends,
            _ => Place::Anywhere,
        }
    }
}

/// In these the VM suspends who calls them: while a port or a connection is busy, while others load or
/// trace code, or until all schedulers have seen a change. Who is resumed with a result is in `bif_return_trap`.
const IN_ERLANG: [&str; 12] = [
    "!",
    "bif_return_trap",
    "delete_module",
    "finish_after_on_load",
    "finish_loading",
    "load_nif",
    "send",
    "setnode",
    "system_flag",
    "trace",
    "trace_info",
    "trace_pattern",
];
const IN_ERTS_INTERNAL: [&str; 10] = [
    "check_process_code",
    "create_dist_channel",
    "erase_persistent_terms",
    "port_command",
    "purge_module",
    "trace",
    "trace_info",
    "trace_pattern",
    "trace_session_destroy",
    "wait_release_literal_area_switch",
];

impl Off {
    /// What an event says of the time for which its process was off before, when it went off in that
    /// function; `None` when it comes from outside, so that the next may say more.
    pub(super) fn told_by(event: &Event<'_>, left: Option<FunctionId>) -> Option<Off> {
        match event.kind {
            kind::RECEIVE | kind::TIMEOUT => Some(Off::Waiting),
            kind::CALL..=kind::EXCEPTION_FROM | kind::SPAWN | kind::REGISTER => Some(Off::Queued),
            kind::SEND | kind::SEND_TO_NON_EXISTING => Some(Off::Queued),
            // It got from one function to another.
            kind::OUT if left.is_some_and(|left| event.function.is_some_and(|now| now != left)) => Some(Off::Queued),
            kind::GC_MINOR_START..=kind::GC_MAJOR_END | kind::GETTING_LINKED | kind::GETTING_UNLINKED => None,
            _ => Some(Off::Unsaid),
        }
    }
}

/// Were only messages of requests asked for? Then who takes others has no `receive` event.
pub(super) fn of_requests_alone(recording: &Recording) -> bool {
    let presets = recording.meta.get("preset").unwrap_or_default();
    let has = |name| presets.split(' ').any(|preset| preset == name);
    has("requests") && !has("messages") && !has("full")
}
