//! The kinds of events that models look at, by the ids of the format's table.
//!
//! A number rather than an enum, so that a kind of a later version passes through.

#![allow(missing_docs, reason = "each is named after its record in the format's table")]

pub const CALL: u8 = 32;
pub const RETURN_TO: u8 = 33;
pub const RETURN_FROM: u8 = 34;
pub const EXCEPTION_FROM: u8 = 35;
pub const IN: u8 = 36;
pub const OUT: u8 = 37;
pub const IN_EXITING: u8 = 38;
pub const OUT_EXITING: u8 = 39;
pub const OUT_EXITED: u8 = 40;
pub const PORT_IN: u8 = 41;
pub const PORT_OUT: u8 = 42;
pub const GC_MINOR_START: u8 = 43;
pub const GC_MINOR_END: u8 = 44;
pub const GC_MAJOR_START: u8 = 45;
pub const GC_MAJOR_END: u8 = 46;
pub const SPAWN: u8 = 48;
pub const SPAWNED: u8 = 49;
pub const EXIT: u8 = 50;
pub const REGISTER: u8 = 51;
pub const UNREGISTER: u8 = 52;
pub const GETTING_LINKED: u8 = 55;
pub const GETTING_UNLINKED: u8 = 56;
pub const SEND: u8 = 57;
pub const SEND_TO_NON_EXISTING: u8 = 58;
pub const RECEIVE: u8 = 59;
pub const TIMEOUT: u8 = 60;
pub const OPEN: u8 = 61;
pub const CLOSED: u8 = 62;
pub const UNKNOWN: u8 = 64;
pub const NOTE: u8 = 97;

/// Does only a process that is on a scheduler have such an event, and on that thread?
pub fn is_of_running(event: u8) -> bool {
    matches!(
        event,
        CALL..=OUT | GC_MINOR_START..=GC_MAJOR_END | SPAWN | REGISTER | SEND | SEND_TO_NON_EXISTING
    )
}

/// Does such an event say who is on its thread from there on, should anybody be?
pub fn says_who_is_on(event: u8) -> bool {
    is_of_running(event) || matches!(event, IN_EXITING..=PORT_OUT | EXIT)
}

/// Does a collection begin?
pub fn begins_gc(event: u8) -> bool {
    matches!(event, GC_MINOR_START | GC_MAJOR_START)
}

/// Does one end?
pub fn ends_gc(event: u8) -> bool {
    matches!(event, GC_MINOR_END | GC_MAJOR_END)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spoor_format::record::spec;

    #[test]
    fn kinds_are_the_formats() {
        let named = [
            (CALL, "call"),
            (RETURN_TO, "return_to"),
            (RETURN_FROM, "return_from"),
            (EXCEPTION_FROM, "exception_from"),
            (IN, "in"),
            (OUT, "out"),
            (IN_EXITING, "in_exiting"),
            (OUT_EXITING, "out_exiting"),
            (OUT_EXITED, "out_exited"),
            (PORT_IN, "port_in"),
            (PORT_OUT, "port_out"),
            (GC_MINOR_START, "gc_minor_start"),
            (GC_MINOR_END, "gc_minor_end"),
            (GC_MAJOR_START, "gc_major_start"),
            (GC_MAJOR_END, "gc_major_end"),
            (SPAWN, "spawn"),
            (SPAWNED, "spawned"),
            (EXIT, "exit"),
            (GETTING_LINKED, "getting_linked"),
            (GETTING_UNLINKED, "getting_unlinked"),
            (SEND, "send"),
            (SEND_TO_NON_EXISTING, "send_to_non_existing_process"),
            (RECEIVE, "receive"),
            (TIMEOUT, "timeout"),
            (REGISTER, "register"),
            (UNREGISTER, "unregister"),
            (OPEN, "open"),
            (CLOSED, "closed"),
            (UNKNOWN, "unknown"),
            (NOTE, "note"),
        ];
        for (id, name) in named {
            assert_eq!(spec(id).map(|row| row.name), Some(name));
        }
    }
}
