//! Which recording a tracer state names, and who is inside a callback.
//!
//! The state that the VM keeps for each traced process is a small integer: slot
//! and generation. A state of a recording that has ended names nothing, so late
//! events are refused instead of landing in a recording that came after it.
//!
//! Callbacks may not lock or count references, yet a recording must not be
//! unmapped under them. So every thread says that it is in (`gate`), and whoever
//! ends a recording closes the slot and waits for each thread that was inside.

use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use spoor_format::hint::unlikely;
use spoor_format::lane::Cause;

use crate::gate::{self, Epoch};
use crate::lane::Lane;
use crate::recording::Recording;
use crate::{OpenError, clock, own_word};

pub use crate::sync::prepare;

/// Recordings that can be open at once.
pub const SLOTS: usize = 16;
const SLOT_BITS: u32 = SLOTS.ilog2();

/// What a slot's recording is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
enum Phase {
    /// There is none, or not for callbacks.
    Closed = 0,
    /// Being set up.
    Reserved = 4,
    /// A limit was reached: events are counted, not stored.
    Stopping = 8,
    /// Takes events. As the VM tags its small integers: a slot whose recording
    /// takes events holds the very word that the VM keeps as the state, and one
    /// comparison tells. No term has the tags of the other phases.
    Recording = TAG,
}

/// Tag of a small integer, and how many bits it has.
const TAG: u64 = 0xf;
const TAG_BITS: u32 = 4;

/// A place for a recording.
struct Slot {
    /// The last state's word with the phase for its tag.
    word: AtomicU64,
    /// The last state's word while `enabled` answers of it without asking more: it takes events,
    /// and is not thinned. Else 0, which is no term's word.
    plain: AtomicU64,
    /// Null, or a recording that lives until the slot is closed and quiet.
    recording: AtomicPtr<Recording>,
    /// How often somebody began to trace, since garbage collections are left to others; 0
    /// while they are not.
    gc_guard: AtomicU64,
}

impl Slot {
    const fn new() -> Slot {
        Slot {
            word: AtomicU64::new(0),
            plain: AtomicU64::new(0),
            recording: AtomicPtr::new(std::ptr::null_mut()),
            gc_guard: AtomicU64::new(0),
        }
    }
}

static TABLE: Slots = Slots([const { Slot::new() }; SLOTS]);

/// In lines of the processor's cache that nobody else stores to: every event looks here.
#[repr(align(64))]
struct Slots([Slot; SLOTS]);

/// What the VM keeps for each traced process: names one recording. It is a small
/// integer, `generation << 5 | governed << 4 | slot`; here is its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct State(u64);

const GOVERNED_BIT: u32 = TAG_BITS + SLOT_BITS;

/// By slot: the last state's word, if the recording takes a sample of processes.
static SAMPLES: [AtomicU64; SLOTS] = [const { AtomicU64::new(0) }; SLOTS];

impl State {
    /// From the integer that the VM handed over.
    pub fn from_integer(integer: i64) -> State {
        State((integer as u64) << TAG_BITS | TAG)
    }

    /// From the word of what the VM handed over. A word of no small integer names
    /// nothing, as does one of a recording that has ended.
    #[inline(always)]
    pub fn from_word(word: u64) -> State {
        State(word)
    }

    /// The integer that the VM keeps.
    pub fn integer(self) -> i64 {
        self.0 as i64 >> TAG_BITS
    }

    fn new(slot: usize, generation: u64, governed: bool) -> State {
        State(generation << (GOVERNED_BIT + 1) | u64::from(governed) << GOVERNED_BIT | (slot as u64) << TAG_BITS | TAG)
    }

    /// Is the recording thinned, so that each event is judged? No load.
    #[inline(always)]
    pub fn is_governed(self) -> bool {
        self.0 >> GOVERNED_BIT & 1 == 1
    }

    #[inline(always)]
    fn index(self) -> usize {
        (self.0 >> TAG_BITS) as usize % SLOTS
    }

    #[inline(always)]
    fn slot(self) -> &'static Slot {
        &TABLE.0[self.index()]
    }

    #[inline(always)]
    fn word(self, phase: Phase) -> u64 {
        self.0 & !TAG | phase as u64
    }

    /// Does the recording take events, and without being thinned? One load, for the `enabled`
    /// callback.
    #[inline(always)]
    pub fn is_simply_recording(self) -> bool {
        // Relaxed: nothing is reached through the answer.
        self.slot().plain.load(Ordering::Relaxed) == self.0
    }

    /// Does the recording take events? One load.
    #[inline(always)]
    pub fn is_recording(self) -> bool {
        // Relaxed: nothing is reached through the answer.
        self.slot().word.load(Ordering::Relaxed) == self.0
    }

    /// Is the recording one of a sample of processes? One load.
    #[inline(always)]
    pub fn is_sample(self) -> bool {
        SAMPLES[self.index()].load(Ordering::Relaxed) == self.0
    }

    /// The recording that this state guards: the negative of its own. Somebody who is
    /// traced with it begins to trace.
    #[inline(always)]
    pub fn guarded(self) -> Option<State> {
        let integer = self.integer();
        (self.0 & TAG == TAG && integer < 0).then(|| State::from_integer(-integer))
    }

    /// Are garbage collections left to others? Two trace sessions that trace those of one
    /// process make the VM free memory twice (GH-11624).
    #[inline(always)]
    pub fn is_gc_guarded(self) -> bool {
        // Acquire: whoever sees the 0 after `clear_gc_guard` came later than what it saw.
        self.slot().gc_guard.load(Ordering::Acquire) != 0
    }

    /// From now on they are; false when the recording has ended.
    pub fn guard_gc(self) -> bool {
        let open = self.is_open();
        if open {
            self.slot().gc_guard.fetch_add(1, Ordering::AcqRel);
        }
        open
    }

    /// Takes them back, unless somebody began to trace since `seen` was answered; answers
    /// how often that was by now. 0 only asks.
    pub fn clear_gc_guard(self, seen: u64) -> u64 {
        if !self.is_open() {
            return 0;
        }
        let guard = &self.slot().gc_guard;
        match guard.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => 0,
            Err(now) => now,
        }
    }

    fn is_open(self) -> bool {
        let word = self.slot().word.load(Ordering::Acquire);
        word == self.word(Phase::Recording) || word == self.word(Phase::Stopping)
    }

    /// Is the recording still being made?
    pub(crate) fn is_reserved(self) -> bool {
        // Acquire: whoever sees the slot open finds the recording in it.
        self.slot().word.load(Ordering::Acquire) == self.word(Phase::Reserved)
    }

    /// From recording to stopping; false when it was not recording.
    pub(crate) fn stop(self) -> bool {
        let (from, to) = (self.word(Phase::Recording), self.word(Phase::Stopping));
        let stopped = self.slot().word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        self.is_plain_no_more();
        stopped
    }

    /// Not if there is another recording by now.
    fn is_plain_no_more(self) {
        let _ = self.slot().plain.compare_exchange(self.0, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Where a slot begins to count. A copy of this library in another place (a
/// release that was upgraded) has slots of its own, and must not take events of
/// recordings made with this one: no slot is reserved twice in a millisecond, so
/// one that begins later is ahead for ever.
fn first_generation() -> u64 {
    clock::monotonic_ns() / 1_000_000 + 1
}

/// Takes a free slot for a recording that is being made.
pub(crate) fn reserve(governed: bool) -> Result<State, OpenError> {
    for (index, slot) in TABLE.0.iter().enumerate() {
        let old = slot.word.load(Ordering::Relaxed);
        let free = old & TAG == Phase::Closed as u64 && slot.recording.load(Ordering::Acquire).is_null();
        let generation = if old == 0 { first_generation() } else { (old >> (GOVERNED_BIT + 1)) + 1 };
        let state = State::new(index, generation, governed);
        let reserved = state.word(Phase::Reserved);
        if free && slot.word.compare_exchange(old, reserved, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return Ok(state);
        }
    }
    Err(OpenError::TooMany)
}

/// Gives a reserved slot back.
pub(crate) fn unreserve(state: State) {
    state.slot().word.store(state.word(Phase::Closed), Ordering::Release);
}

/// Opens the slot to callbacks.
pub(crate) fn publish(state: State, recording: Box<Recording>) {
    let slot = state.slot();
    slot.gc_guard.store(0, Ordering::Relaxed);
    SAMPLES[state.index()].store(if recording.is_sample() { state.0 } else { 0 }, Ordering::Relaxed);
    slot.recording.store(Box::into_raw(recording), Ordering::Release);
    // First: whoever finds the recording open may stop it.
    slot.plain.store(if state.is_governed() { 0 } else { state.0 }, Ordering::Relaxed);
    slot.word.store(state.word(Phase::Recording), Ordering::Release); // pairs with Acquire in `enter`
}

/// Closes the slot, waits until no thread is in the recording, and hands it
/// over. Only the keeper of the recording calls this, once.
pub(crate) fn withdraw(state: State) -> Option<Box<Recording>> {
    let slot = state.slot();
    state.is_plain_no_more();
    gate::close(&slot.word, state.word(Phase::Closed), each_epoch);
    let recording = slot.recording.swap(std::ptr::null_mut(), Ordering::AcqRel);
    // SAFETY: the pointer came from `Box::into_raw` in `publish` and is taken out
    // once. No thread uses it any more: those that were inside have come out, and
    // any that enters after the barrier sees the slot closed.
    (!recording.is_null()).then(|| unsafe { Box::from_raw(recording) })
}

/// A VM thread as this module sees it. Lives as long as the process: the VM
/// ends none of its scheduler threads.
#[repr(C, align(64))]
struct Thread {
    epoch: Epoch,
    /// Where its last event went: most come from one recording.
    recent: Cell<Recent>,
    /// The thread's lane in the recording of each slot, with the state it
    /// belongs to. Only the thread itself looks at it.
    lanes: [Cell<(State, *mut Lane)>; SLOTS],
    /// The thread that came before; never changes.
    next: *const Thread,
}

/// A lane of a thread, and the word of its slot, which holds `state` while events are taken.
#[derive(Clone, Copy)]
struct Recent {
    state: State,
    word: &'static AtomicU64,
    /// Not null.
    lane: *mut Lane,
}

/// The word of no slot: holds no state.
static NO_SLOT: AtomicU64 = AtomicU64::new(Phase::Reserved as u64);

/// The thread that came last; a list that only grows.
static THREADS: AtomicPtr<Thread> = AtomicPtr::new(std::ptr::null_mut());

#[inline(always)]
fn this_thread() -> &'static Thread {
    let known: *const Thread = own_word::get().cast();
    // SAFETY: null, or what `enlist` set on this thread: leaked, never freed.
    match unsafe { known.as_ref() } {
        Some(thread) => thread,
        None => enlist(),
    }
}

#[cold]
fn enlist() -> &'static Thread {
    let thread = Box::leak(Box::new(Thread {
        epoch: Epoch::new(),
        recent: Cell::new(Recent { state: State(0), word: &NO_SLOT, lane: std::ptr::null_mut() }),
        lanes: [const { Cell::new((State(0), std::ptr::null_mut())) }; SLOTS],
        next: std::ptr::null(),
    }));
    let pointer: *mut Thread = thread;
    let mut last = THREADS.load(Ordering::Acquire);
    loop {
        // SAFETY: not yet in the list, so this thread alone knows it.
        unsafe { (*pointer).next = last };
        match THREADS.compare_exchange(last, pointer, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => break,
            Err(newer) => last = newer,
        }
    }
    own_word::set(pointer.cast());
    // SAFETY: leaked above, never freed, from here on only shared.
    unsafe { &*pointer }
}

/// Being inside: recordings stay where they are until this is dropped.
struct Inside(&'static Thread);

impl Inside {
    /// `None` when the thread is inside already.
    #[inline(always)]
    fn enter() -> Option<Inside> {
        let thread = this_thread();
        thread.epoch.enter().then_some(Inside(thread))
    }
}

impl Drop for Inside {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.epoch.leave();
    }
}

/// Runs `work` on this thread's lane of the recording, if it takes events.
/// For tracer callbacks: the hot path begins here.
#[inline(always)]
pub fn enter(state: State, work: impl FnOnce(&mut Lane)) {
    let Some(inside) = Inside::enter() else { return nested(state) };
    let mut recent = inside.0.recent.get();
    // Acquire pairs with Release in `publish`.
    if unlikely(recent.state != state || recent.word.load(Ordering::Acquire) != state.0) {
        match another_lane(&inside, state) {
            Some(another) => recent = another,
            None => return,
        }
    }
    // SAFETY: the lane belongs to the recording of `state`, whose slot was found open since
    // the thread is inside; and to this thread, which has no other reference to it, as
    // nobody is inside twice.
    work(unsafe { &mut *recent.lane });
}

/// The lane that is to store an event of this state, from now on at hand; none where the
/// event is counted or refused.
#[cold]
#[inline(never)]
fn another_lane(inside: &Inside, state: State) -> Option<Recent> {
    let slot = &state.slot().word;
    let word = slot.load(Ordering::Acquire); // pairs with Release in `publish`
    if word == state.0 {
        let recent = Recent { state, word: slot, lane: lane_of(inside, state)? };
        inside.0.recent.set(recent);
        return Some(recent);
    }
    if word == state.word(Phase::Stopping) {
        count(inside, state, Cause::AfterLimit);
    }
    None
}

/// Counts an event as dropped. The slot must have been found open since the thread is inside.
fn count(inside: &Inside, state: State, cause: Cause) {
    if let Some(lane) = lane_of(inside, state) {
        // SAFETY: as in `enter`.
        unsafe { &*lane }.drop_event(cause);
    }
}

/// This thread's lane, made at its first event. The slot must have been found open since
/// the thread is inside.
fn lane_of(inside: &Inside, state: State) -> Option<*mut Lane> {
    let (of, mut lane) = inside.0.lanes[state.index()].get();
    if of != state {
        lane = first_event(inside.0, state);
    }
    if lane.is_null() {
        no_lane(state);
        return None;
    }
    Some(lane)
}

#[cold]
fn first_event(thread: &Thread, state: State) -> *mut Lane {
    // SAFETY: the caller found the slot open while inside, so its recording lives.
    let recording = unsafe { state.slot().recording.load(Ordering::Acquire).as_ref() };
    let lane = recording.and_then(Recording::add_lane).unwrap_or(std::ptr::null_mut());
    thread.lanes[state.index()].set((state, lane));
    lane
}

/// All lanes are taken: the event is counted where all threads count.
#[cold]
fn no_lane(state: State) {
    // SAFETY: as in `first_event`.
    if let Some(recording) = unsafe { state.slot().recording.load(Ordering::Acquire).as_ref() } {
        recording.drop_on_recorder(Cause::NoLane);
    }
}

/// An event offered while this thread stores another: no VM known does it.
#[cold]
fn nested(state: State) {
    if !state.is_recording() {
        return;
    }
    // SAFETY: the thread is inside (that is why we are here), so a recording
    // whose slot is open lives; it is only shared, never changed through this.
    if let Some(recording) = unsafe { state.slot().recording.load(Ordering::Acquire).as_ref() } {
        recording.drop_on_recorder(Cause::Nested);
    }
}

/// A panic of `work` was contained: count it.
#[cold]
pub fn count_panic(state: State) {
    let Some(inside) = Inside::enter() else { return };
    if state.slot().word.load(Ordering::Acquire) == state.word(Phase::Recording) {
        count(&inside, state, Cause::Panic);
    }
}

/// Runs `work` with the recording, whatever it is doing; `None` when it has
/// ended. For everything but callbacks.
pub fn with<R>(state: State, work: impl FnOnce(&Recording) -> R) -> Option<R> {
    let _inside = Inside::enter()?;
    let slot = state.slot();
    let word = slot.word.load(Ordering::Acquire); // pairs with Release in `publish`
    if word != state.word(Phase::Recording) && word != state.word(Phase::Stopping) {
        return None;
    }
    // SAFETY: the slot was found open while inside, so the recording lives until
    // `_inside` is dropped.
    unsafe { slot.recording.load(Ordering::Acquire).as_ref() }.map(work)
}

/// Asks all open recordings to end, for this reason.
pub fn close_all(reason: &str) {
    for slot in &TABLE.0 {
        let state = State(slot.word.load(Ordering::Acquire) | TAG);
        let _ = with(state, |recording| recording.close(reason));
    }
}

/// Waits until every thread that is inside now has come out once.
pub(crate) fn wait_until_nobody_is_inside() {
    gate::wait_until_all_are_out(each_epoch);
}

/// Shows the epochs of all threads that there are.
fn each_epoch(show: &mut dyn FnMut(&Epoch)) {
    let mut next = THREADS.load(Ordering::Acquire).cast_const();
    // SAFETY: null or a leaked thread; the list only grows at its head.
    while let Some(thread) = unsafe { next.as_ref() } {
        show(&thread.epoch);
        next = thread.next;
    }
}
