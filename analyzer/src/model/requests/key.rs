//! What joins a request with its reply: the reference that both carry, as numbers.

use spoor_format::Cursor;
use spoor_format::term::{RawTerm, Term, tag};

use crate::read::{AtomId, Detail};

/// A reference in the eyes of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// 0 for a reference made on this node, else this node's number of the other.
    pub(crate) channel: u64,
    /// The last three of the numbers in its text: every node prints the same.
    pub(crate) tail: [u64; 3],
    /// One reference for several nodes, as `multi_call` had before OTP 27.
    node: Option<AtomId>,
}

impl Key {
    /// Of a reference, of one that the VM printed, or of `{Reference, Node}`.
    pub(crate) fn of(term: RawTerm<'_>, detail: &Detail<'_>) -> Option<Key> {
        let mut cursor = Cursor::new(term.bytes().get(1..)?);
        match *term.bytes().first()? {
            tag::REFERENCE => {
                let count = cursor.varint().ok()?;
                Key::with(0, (0..count).map_while(|_| cursor.varint().ok()))
            }
            tag::PRINTED | tag::TUPLE => match term.decode().ok()? {
                Term::Printed(text) => Key::printed(&text),
                Term::Tuple(parts) => {
                    let [reference, Term::Atom(node)] = parts.as_slice() else { return None };
                    let key = match reference {
                        Term::Reference(numbers) => Key::with(0, numbers.iter().copied()),
                        Term::Printed(text) => Key::printed(text),
                        _ => None,
                    };
                    Some(Key { node: detail.atom(*node), ..key? })
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn printed(text: &str) -> Option<Key> {
        let mut numbers = text.strip_prefix("#Ref<")?.strip_suffix('>')?.split('.').map_while(|part| part.parse().ok());
        Key::with(numbers.next()?, numbers)
    }

    fn with(channel: u64, numbers: impl Iterator<Item = u64>) -> Option<Key> {
        let (mut tail, mut count) = ([0; 3], 0);
        for number in numbers {
            tail = [tail[1], tail[2], number];
            count += 1;
        }
        (count >= 3).then_some(Key { channel, tail, node: None })
    }

    /// Was the reference made on another node?
    pub(crate) fn is_remote(&self) -> bool {
        self.channel != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_and_numbered_references_are_the_same() {
        let numbers = Key::with(0, [0, 1283, 7, 8, 9].into_iter());
        assert_eq!(Key::printed("#Ref<0.0.1283.7.8.9>"), numbers);
        assert_eq!(Key::printed("#Ref<0.7.8.9>"), numbers);
        let remote = Key::printed("#Ref<4242.7.8.9>").expect("a reference");
        assert!(remote.is_remote() && Some(remote.tail) == numbers.map(|key| key.tail));
        assert_eq!(Key::printed("#Ref<0.7>"), None);
        assert_eq!(Key::printed("<0.7.8>"), None);
    }
}
