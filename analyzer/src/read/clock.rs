//! Ticks to nanoseconds and to wall time.
//!
//! Between two clock pairs time is a straight line; before the first and behind
//! the last it goes on at the overall rate.

use spoor_format::clock::{ClockPair, ENTRY_BYTES};
use spoor_format::header::Header;

use super::finding::Finding;
use super::source::Source;

/// A stretch between two pairs whose rate is off by more than this is reported.
const TOLERANCE_PPM: u128 = 500;
/// A wall clock that moves by more than this against the monotonic one was set.
const WALL_STEP_NS: u64 = 100_000_000;
const NS_PER_SECOND: u64 = 1_000_000_000;
/// No clock says a time later than this (146 years of uptime, or the year 2116).
const LATEST_NS: u64 = 1 << 62;
/// No recording is longer than this (417 days). Together with the bound above it
/// keeps the sums of durations that models make within 64 bits.
const LONGEST_NS: u64 = 1 << 55;
/// The fixed point of a rate.
const SHIFT: u32 = 48;

/// Ticks per nanosecond and the like, of one recording.
#[derive(Debug, Clone)]
pub struct Clock {
    /// In order of ticks; never empty.
    pieces: Vec<Piece>,
    first_pair: Option<u64>,
    /// Times outside of these are not from this recording.
    earliest_ns: u64,
    latest_ns: u64,
}

/// From `tick` on: `ns + (tick - self.tick) * rate`, wall clock `wall_offset` ahead.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    tick: u64,
    ns: u64,
    /// Nanoseconds a tick, shifted left by [`SHIFT`].
    rate: u128,
    wall_offset: i128,
}

impl Piece {
    fn ns_at(&self, tick: u64) -> u64 {
        let ahead = |ticks: u64| {
            let ns = match u64::try_from(self.rate) {
                // Nearly always, and one instruction.
                Ok(rate) => u128::from(ticks).wrapping_mul(u128::from(rate)),
                Err(_) => u128::from(ticks).saturating_mul(self.rate),
            };
            u64::try_from(ns >> SHIFT).unwrap_or(u64::MAX)
        };
        match tick.checked_sub(self.tick) {
            Some(ticks) => self.ns.saturating_add(ahead(ticks)),
            None => self.ns.saturating_sub(ahead(self.tick.saturating_sub(tick))),
        }
    }
}

impl Clock {
    /// From the file's clock table; `tick_hz` is the rate the recorder measured
    /// at its start, for files with fewer than two pairs.
    pub(crate) fn read(source: &Source, header: &Header, tick_hz: Option<u64>, findings: &mut Vec<Finding>) -> Clock {
        let pairs = read_pairs(source, header, findings);
        Clock::from_pairs(pairs, tick_hz, findings)
    }

    /// From clock pairs in any order.
    pub(crate) fn from_pairs(pairs: Vec<ClockPair>, tick_hz: Option<u64>, findings: &mut Vec<Finding>) -> Clock {
        let pairs = in_order(pairs, findings);
        let overall = match (pairs.first(), pairs.last(), tick_hz) {
            (Some(first), Some(last), _) if last.tick > first.tick => rate(first, last),
            (_, _, Some(hz)) if hz > 0 => u128::from(NS_PER_SECOND)
                .checked_shl(SHIFT)
                .and_then(|ns| ns.checked_div(u128::from(hz)))
                .unwrap_or(1 << SHIFT),
            _ => {
                findings.push(Finding::damage(
                    "clock table",
                    "no two clock pairs, and meta has no tick_hz",
                    "durations: ticks are taken for nanoseconds",
                ));
                1 << SHIFT
            }
        };
        let piece = |pair: &ClockPair, rate| Piece {
            tick: pair.tick,
            ns: pair.monotonic_ns,
            rate,
            wall_offset: i128::from(pair.wall_ns).saturating_sub(i128::from(pair.monotonic_ns)),
        };
        let mut pieces: Vec<Piece> = Vec::with_capacity(pairs.len().saturating_add(1));
        for (from, to) in pairs.iter().zip(pairs.iter().skip(1)) {
            check_rate(from, to, overall, findings);
            check_wall(from, to, findings);
            pieces.push(piece(from, rate(from, to)));
        }
        let last = pairs.last().copied().unwrap_or_default();
        pieces.push(piece(&last, overall));
        if let Some(first) = pairs.first() {
            // What lies before the first pair goes at the overall rate.
            let mut before = piece(first, overall);
            before.ns = before.ns_at(0);
            if before.ns > 0 {
                pieces.insert(0, Piece { tick: 0, ..before });
            }
        }
        let start_ns = pairs.first().map(|pair| pair.monotonic_ns);
        Clock {
            pieces,
            first_pair: pairs.first().map(|pair| pair.tick),
            earliest_ns: start_ns.map_or(0, |start| start.saturating_sub(LONGEST_NS)),
            latest_ns: start_ns.map_or(LATEST_NS, |start| start.saturating_add(LONGEST_NS)),
        }
    }

    /// The same, where the file has a clock to tell it by.
    pub fn known_wall_ns(&self, ns: u64) -> Option<u64> {
        self.first_pair.map(|_| self.wall_ns(ns))
    }

    fn bounded(&self, ns: u64) -> u64 {
        ns.clamp(self.earliest_ns, self.latest_ns)
    }

    fn piece_at(&self, tick: u64) -> Piece {
        let after = self.pieces.partition_point(|piece| piece.tick <= tick);
        let piece = self.pieces.get(after.saturating_sub(1)).or(self.pieces.first());
        piece.copied().unwrap_or(Piece { tick: 0, ns: 0, rate: 1 << SHIFT, wall_offset: 0 })
    }

    /// Monotonic nanoseconds at a tick.
    pub fn ns(&self, tick: u64) -> u64 {
        self.bounded(self.piece_at(tick).ns_at(tick))
    }

    /// The first tick at or after monotonic nanoseconds.
    pub fn tick_at(&self, ns: u64) -> u64 {
        let (mut low, mut high) = (0_u64, u64::MAX);
        while low < high {
            let middle = low.midpoint(high);
            if self.ns(middle) < ns {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        low
    }

    /// Nanoseconds since 1970 at monotonic nanoseconds.
    pub fn wall_ns(&self, ns: u64) -> u64 {
        let after = self.pieces.partition_point(|piece| piece.ns <= ns);
        let piece = self.pieces.get(after.saturating_sub(1)).or(self.pieces.first());
        let offset = piece.map_or(0, |piece| piece.wall_offset);
        u64::try_from(i128::from(ns).saturating_add(offset)).unwrap_or(0)
    }

    /// The tick of the first clock pair, when there is one.
    pub(crate) fn first_pair_tick(&self) -> Option<u64> {
        self.first_pair
    }

    /// A converter for many ticks in rising order.
    pub(crate) fn cursor(&self) -> ClockCursor {
        ClockCursor { piece: Piece { tick: u64::MAX, ns: 0, rate: 0, wall_offset: 0 }, until: 0 }
    }
}

/// Remembers the piece that the last tick was in.
#[derive(Debug, Clone)]
pub(crate) struct ClockCursor {
    piece: Piece,
    until: u64,
}

impl ClockCursor {
    #[inline(always)]
    pub(crate) fn ns(&mut self, clock: &Clock, tick: u64) -> u64 {
        if tick < self.piece.tick || tick >= self.until {
            self.seek(clock, tick);
        }
        clock.bounded(self.piece.ns_at(tick))
    }

    #[cold]
    fn seek(&mut self, clock: &Clock, tick: u64) {
        self.piece = clock.piece_at(tick);
        let after = clock.pieces.partition_point(|piece| piece.tick <= tick);
        self.until = clock.pieces.get(after).map_or(u64::MAX, |piece| piece.tick);
    }
}

/// Nanoseconds a tick, shifted left by [`SHIFT`].
fn rate(from: &ClockPair, to: &ClockPair) -> u128 {
    let ns = u128::from(to.monotonic_ns.saturating_sub(from.monotonic_ns));
    let ticks = u128::from(to.tick.saturating_sub(from.tick));
    ns.checked_shl(SHIFT).and_then(|ns| ns.checked_div(ticks)).unwrap_or(1 << SHIFT)
}

fn read_pairs(source: &Source, header: &Header, findings: &mut Vec<Finding>) -> Vec<ClockPair> {
    let mut table = Vec::new();
    let bytes = header.clock_slots.saturating_mul(ENTRY_BYTES as u64);
    let bytes = usize::try_from(bytes.min(source.len())).unwrap_or(0);
    if let Err(error) = source.read(header.clock_offset, bytes, &mut table) {
        findings.push(Finding::damage("clock table", error, "how ticks become time"));
    }
    let mut pairs = Vec::new();
    for (slot, entry) in table.chunks_exact(ENTRY_BYTES).enumerate() {
        match ClockPair::decode(entry) {
            Some(pair) => pairs.push(pair),
            None if entry.iter().all(|byte| *byte == 0) => {}
            None => findings.push(Finding::damage(
                format!("clock pair {slot}"),
                "its check word does not match",
                "one second's correction of the clock",
            )),
        }
    }
    pairs
}

/// The pairs by number, without those that run backwards or say what cannot be.
fn in_order(mut pairs: Vec<ClockPair>, findings: &mut Vec<Finding>) -> Vec<ClockPair> {
    pairs.sort_by_key(|pair| (pair.seq, pair.tick, pair.monotonic_ns));
    let mut kept: Vec<ClockPair> = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let since_start = kept.first().map_or(0, |first| pair.monotonic_ns.saturating_sub(first.monotonic_ns));
        if pair.monotonic_ns > LATEST_NS || pair.wall_ns > LATEST_NS || since_start > LONGEST_NS {
            findings.push(Finding::damage(
                format!("clock pair number {}", pair.seq),
                "it says a time that cannot be",
                "one second's correction of the clock",
            ));
            continue;
        }
        match kept.last() {
            Some(last) if pair.tick <= last.tick || pair.monotonic_ns < last.monotonic_ns => {
                findings.push(Finding::damage(
                    format!("clock pair number {}", pair.seq),
                    "it is not later than the one before",
                    "one second's correction of the clock",
                ));
            }
            _ => kept.push(pair),
        }
    }
    kept
}

fn check_rate(from: &ClockPair, to: &ClockPair, overall: u128, findings: &mut Vec<Finding>) {
    let ticks = u128::from(to.tick.saturating_sub(from.tick));
    let expected = ticks.saturating_mul(overall) >> SHIFT;
    let ns = u128::from(to.monotonic_ns.saturating_sub(from.monotonic_ns));
    let off = expected.abs_diff(ns);
    let unsure = u128::from(from.spread_ns).saturating_add(u128::from(to.spread_ns));
    let allowed = (ns.saturating_mul(TOLERANCE_PPM) / 1_000_000).saturating_add(unsure);
    if off > allowed {
        let ppm = off.saturating_mul(1_000_000).checked_div(ns).unwrap_or(0);
        findings.push(Finding::warning(
            format!("clock pairs {} to {}", from.seq, to.seq),
            format!("the tick's rate is off by {ppm} ppm against the whole recording"),
            "durations in this stretch may be off by as much",
        ));
    }
}

fn check_wall(from: &ClockPair, to: &ClockPair, findings: &mut Vec<Finding>) {
    let offset = |pair: &ClockPair| pair.wall_ns.wrapping_sub(pair.monotonic_ns);
    let step = offset(from).abs_diff(offset(to));
    if step > WALL_STEP_NS {
        findings.push(Finding::warning(
            format!("clock pairs {} to {}", from.seq, to.seq),
            format!("the wall clock was set by {} ms", step / 1_000_000),
            "nothing: durations come from the monotonic clock",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(seq: u64, tick: u64, monotonic_ns: u64) -> ClockPair {
        ClockPair { seq, tick, monotonic_ns, wall_ns: monotonic_ns + 1_000, spread_ns: 10 }
    }

    fn clock(pairs: Vec<ClockPair>, tick_hz: Option<u64>) -> (Clock, Vec<Finding>) {
        let mut findings = Vec::new();
        (Clock::from_pairs(pairs, tick_hz, &mut findings), findings)
    }

    #[test]
    fn between_pairs_time_is_a_straight_line() {
        let (clock, findings) = clock(vec![pair(1, 1_000_000, 5_000_000), pair(2, 3_000_000, 6_000_000)], None);
        assert_eq!((clock.ns(1_000_000), clock.ns(2_000_000), clock.ns(3_000_000)), (5_000_000, 5_500_000, 6_000_000));
        assert_eq!(findings, []);
        assert_eq!(clock.ns(3_000_002), 6_000_001, "behind the last pair at the overall rate");
        assert_eq!(clock.ns(999_998), 4_999_999, "before the first one too");
        assert_eq!(clock.wall_ns(5_500_000), 5_501_000);
    }

    #[test]
    fn the_inverse_finds_the_first_tick_of_a_moment() {
        let (clock, _) = clock(vec![pair(1, 1_000, 5_000), pair(2, 3_000, 6_000)], None);
        for ns in [4_900, 5_000, 5_001, 5_999, 6_000, 7_777] {
            let tick = clock.tick_at(ns);
            assert!(clock.ns(tick) >= ns && clock.ns(tick - 1) < ns, "{ns}: {tick}");
        }
    }

    #[test]
    fn one_pair_goes_by_the_rate_in_meta() {
        let (one, findings) = clock(vec![pair(1, 1_000, 5_000)], Some(2_000_000_000));
        assert_eq!((one.ns(3_000), findings.len()), (6_000, 0));
        let (none, findings) = clock(Vec::new(), None);
        assert_eq!((none.ns(3_000), findings.len()), (3_000, 1));
    }

    #[test]
    fn a_wrong_rate_is_told() {
        let second = 1_000_000_000;
        let pairs = vec![pair(1, 0, second), pair(2, second, 2 * second), pair(3, 2 * second, 3 * second + 5_000_000)];
        let (_, findings) = clock(pairs, None);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings.iter().all(|finding| finding.what.contains("ppm")));
    }

    #[test]
    fn a_pair_out_of_order_is_damage_and_not_used() {
        let (clock, findings) = clock(vec![pair(1, 1_000, 5_000), pair(2, 500, 6_000), pair(3, 3_000, 6_000)], None);
        assert_eq!((clock.ns(2_000), findings.len()), (5_500, 1));
    }

    #[test]
    fn a_time_that_cannot_be_is_damage_and_not_used() {
        let pairs = vec![pair(1, 10, u64::MAX - 2_000), pair(2, 1_000, 5_000), pair(3, 3_000, 6_000)];
        let (clock, findings) = clock([pairs, vec![pair(4, 4_000, 1 << 60)]].concat(), None);
        assert_eq!((clock.ns(2_000), findings.len()), (5_500, 2));
        assert_eq!(clock.ns(u64::MAX), 5_000 + LONGEST_NS);
    }

    #[test]
    fn a_cursor_says_the_same() {
        let (clock, _) = clock(vec![pair(1, 1_000, 5_000), pair(2, 3_000, 6_000), pair(3, 4_000, 6_400)], None);
        let mut cursor = clock.cursor();
        for tick in (0..6_000).step_by(37) {
            assert_eq!(cursor.ns(&clock, tick), clock.ns(tick));
        }
    }
}
