//! The word of a rate.

use loom::sync::Arc;
use loom::thread;

use crate::sync::AtomicU64;
use crate::windows::Windows;

/// What threads take of two windows, one of them late with what it asks of the
/// first: by window, the most that may be counted in each.
fn taken(most: u32, asked: [&'static [u32]; 2]) -> u32 {
    let word = Arc::new(AtomicU64::new(0));
    let take = move |word: &AtomicU64, windows: &[u32]| {
        let rate = Windows::new(most, 10);
        windows.iter().filter(|window| rate.take(word, **window)).count() as u32
    };
    let other = {
        let word = word.clone();
        thread::spawn(move || take(&word, asked[1]))
    };
    let mine = take(&word, asked[0]);
    mine + other.join().expect("no panic")
}

/// Two threads want more than there is: they get all of it and no more.
#[test]
fn a_window_gives_exactly_what_it_holds() {
    loom::model(|| assert_eq!(taken(3, [&[1, 1], &[1, 1]]), 3));
}

/// While one window follows the other, neither gives more than it holds, and who
/// comes late takes of the new one.
#[test]
fn no_window_is_begun_twice() {
    loom::model(|| {
        let both = taken(1, [&[1, 2], &[2, 1]]);
        assert!((1..=2).contains(&both), "{both}");
    });
}
