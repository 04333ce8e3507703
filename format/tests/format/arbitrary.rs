//! Recordings with everything in them, at random.

use proptest::collection::vec;
use proptest::prelude::*;
use spoor_format::Sink;
use spoor_format::build::{FileBuilder, RingKind};
use spoor_format::chunk::ChunkHeader;
use spoor_format::clock::ClockPair;
use spoor_format::header::{Header, Meta};
use spoor_format::lane::{Lane, LaneKind};
use spoor_format::record::{FieldType, SPECS, Spec};
use spoor_format::status::{Phase, Status};
use spoor_format::term::tag;

pub(crate) fn varint(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = bytes.space(10).expect("a Vec is never full");
    put.varint(value);
    let used = put.used();
    bytes.keep(10, used);
    bytes
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    [varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// Numbers of every length.
pub(crate) fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(n, shift)| n >> shift)
}

fn numbers() -> impl Strategy<Value = Vec<u8>> {
    vec(number(), 0..5)
        .prop_map(|words| words.iter().fold(varint(words.len() as u64), |bytes, word| [bytes, varint(*word)].concat()))
}

/// A tag and some elements of each term behind it.
fn container(tag: u8, each: usize, more: usize, terms: Vec<Vec<u8>>) -> Vec<u8> {
    let count = terms.len().saturating_sub(more) / each;
    [vec![tag], varint(count as u64), terms[..count * each + more].concat()].concat()
}

/// An encoded term of any kind.
pub(crate) fn term() -> impl Strategy<Value = Vec<u8>> {
    let tagged = |tag: u8| move |rest: Vec<u8>| [vec![tag], rest].concat();
    let leaf = prop_oneof![
        prop::sample::select(vec![tag::NONE, tag::NIL, tag::ELIDED]).prop_map(|tag| vec![tag]),
        (prop::sample::select(vec![tag::ATOM, tag::INTEGER, tag::PID, tag::PORT]), number()).prop_map(|(tag, n)| [
            vec![tag],
            varint(n)
        ]
        .concat()),
        any::<f64>().prop_map(|f| [vec![tag::FLOAT], f.to_bits().to_le_bytes().to_vec()].concat()),
        numbers().prop_map(tagged(tag::REFERENCE)),
        (number(), vec(any::<u8>(), 0..9))
            .prop_map(|(bits, bytes)| [vec![tag::BINARY], varint(bits), counted(&bytes)].concat()),
        any::<String>().prop_map(|text| [vec![tag::PRINTED], counted(text.as_bytes())].concat()),
        (0..9_u64, number()).prop_map(|(what, size)| [vec![tag::HIDDEN], varint(what), varint(size)].concat()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|terms| container(tag::TUPLE, 1, 0, terms)),
            vec(inner.clone(), 0..4).prop_map(|terms| container(tag::LIST, 1, 0, terms)),
            vec(inner.clone(), 1..4).prop_map(|terms| container(tag::IMPROPER, 1, 1, terms)),
            vec(inner, 0..5).prop_map(|terms| container(tag::MAP, 2, 0, terms)),
        ]
    })
}

fn field(kind: FieldType) -> BoxedStrategy<Vec<u8>> {
    match kind {
        FieldType::Uint | FieldType::Atom | FieldType::Function => number().prop_map(varint).boxed(),
        FieldType::Text => any::<String>().prop_map(|text| counted(text.as_bytes())).boxed(),
        FieldType::Term => term().boxed(),
        FieldType::Words => numbers().boxed(),
    }
}

fn record_of(spec: &'static Spec) -> BoxedStrategy<Vec<u8>> {
    let delta = number().prop_map(|n| if spec.class.timed() { varint(n >> 20) } else { Vec::new() });
    let fields: Vec<_> = spec.fields.iter().map(|(_, kind)| field(*kind)).collect();
    (delta, fields).prop_map(|(delta, fields)| [vec![spec.id], delta, fields.concat()].concat()).boxed()
}

/// An encoded record of any row of the table.
pub(crate) fn record() -> impl Strategy<Value = (&'static Spec, Vec<u8>)> {
    (0..SPECS.len()).prop_flat_map(|row| record_of(&SPECS[row]).prop_map(move |bytes| (&SPECS[row], bytes)))
}

/// How many of these records have a time, and their bytes.
fn payload() -> impl Strategy<Value = (u32, Vec<u8>)> {
    vec(record(), 0..12).prop_map(|records| {
        let timed = records.iter().filter(|(spec, _)| spec.class.timed()).count();
        (timed as u32, records.into_iter().flat_map(|(_, bytes)| bytes).collect())
    })
}

fn chunk() -> impl Strategy<Value = (ChunkHeader, Vec<u8>)> {
    let places = (0..4_u32, 1..u64::MAX, number(), number());
    (places, payload(), any::<bool>(), vec(any::<u8>(), 0..3)).prop_map(
        |(header, (records, mut payload), sealed, junk)| {
            let (lane, seq, base_tick, first_record) = header;
            payload.truncate(8000);
            payload.extend(junk);
            let crc = sealed.then(|| crc32fast::hash(&payload));
            (ChunkHeader { lane, seq, records, bytes: payload.len() as u32, base_tick, first_record, crc }, payload)
        },
    )
}

fn lane() -> impl Strategy<Value = Lane> {
    (0..LaneKind::ALL.len(), any::<u32>(), number(), vec(number(), 3), any::<[[u64; 2]; 2]>(), any::<[u64; 16]>())
        .prop_map(|(kind, index, os_tid, counts, [dropping, sampled], dropped)| {
            let (sealed_events, sealed_infos, outside) = (counts[0], counts[1], counts[2]);
            let kind = LaneKind::ALL[kind].0;
            Lane { kind, index, os_tid, sealed_events, sealed_infos, dropping, outside, sampled, dropped }
        })
}

fn clocks() -> impl Strategy<Value = Vec<ClockPair>> {
    vec((number(), number(), number(), number()), 0..10).prop_map(|clocks| {
        let pair =
            |(seq, (tick, monotonic_ns, wall_ns, spread_ns))| ClockPair { seq, tick, monotonic_ns, wall_ns, spread_ns };
        (1..).zip(clocks).map(pair).collect()
    })
}

/// A small file with some of everything.
pub(crate) fn file() -> impl Strategy<Value = FileBuilder> {
    let status = (0..4_usize, number(), any::<String>()).prop_map(|(phase, stop_tick, reason)| Status {
        phase: Phase::ALL[phase].0,
        stop_tick,
        reason,
    });
    let meta = vec((any::<String>(), any::<String>()), 0..4);
    let chunks = vec(((0..2_usize), chunk()), 0..4);
    (status, meta, clocks(), vec(lane(), 0..4), chunks).prop_map(|(status, entries, clocks, lanes, chunks)| {
        let mut file = FileBuilder::new(Header::with_rings(4, 6, (8192, 4), (8192, 4)), status);
        (file.meta, file.clocks, file.lanes) = (Meta { entries }, clocks, lanes);
        let place = |(place, (ring, (header, payload)))| (RingKind::ALL[ring], place, header, payload);
        file.chunks = (0..).zip(chunks).map(place).collect();
        file
    })
}
