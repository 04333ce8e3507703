//! One word for each thread: null until the thread sets it.
//!
//! A library that the VM loads reaches its `thread_local!`s by a call of
//! `__tls_get_addr`, which walks the thread's table of libraries: 2 to 3 ns of
//! each callback. Here the variable is reached by its TLS descriptor, which the
//! dynamic linker points at two instructions where the thread's static block has
//! room, and at the walk where it has not. (The model `initial-exec` would be as
//! fast and refuse to be loaded where there is no room.) Where the two instructions are
//! seen to be those, their answer is kept, and they need not be called.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod imp {
    use core::arch::{asm, global_asm};
    use std::sync::atomic::{AtomicUsize, Ordering};

    global_asm!(
        ".section .tbss.spoor_own_word,\"awT\",@nobits",
        ".balign 8",
        ".globl spoor_own_word",
        ".hidden spoor_own_word",
        ".type spoor_own_word,@object",
        ".size spoor_own_word,8",
        "spoor_own_word:",
        ".zero 8",
        ".text",
        options(att_syntax)
    );

    /// How far from the thread's own address the variable lies in all threads; 0 while that is
    /// not known.
    static PLACE: Alone = Alone(AtomicUsize::new(0));

    /// In a line of the processor's cache: every event reads it.
    #[repr(align(64))]
    struct Alone(AtomicUsize);

    #[inline(always)]
    pub(crate) fn get() -> *const () {
        let mut place = PLACE.0.load(Ordering::Relaxed);
        if place == 0 {
            place = described_place();
        }
        let word: *const ();
        // SAFETY: a read of this thread's own variable.
        unsafe {
            asm!(
                "movq %fs:({place}), {word}",
                place = in(reg) place,
                word = lateout(reg) word,
                options(att_syntax, nostack, preserves_flags, readonly)
            );
        }
        word
    }

    /// What the descriptor says for this thread.
    #[cold]
    #[inline(never)]
    fn described_place() -> usize {
        let place;
        // SAFETY: the sequence that the ABI lays down for a TLS descriptor; the
        // linker may rewrite it. Of the registers it changes rax only, but for
        // vector registers on the slow path of older C libraries.
        unsafe {
            asm!(
                "leaq spoor_own_word@tlsdesc(%rip), %rax",
                "callq *spoor_own_word@tlscall(%rax)",
                out("rax") place,
                clobber_abi("sysv64"),
                options(att_syntax)
            );
        }
        place
    }

    #[cold]
    pub(crate) fn set(word: *const ()) {
        let place = described_place();
        // SAFETY: a write of this thread's own variable.
        unsafe {
            asm!(
                "movq {word}, %fs:({place})",
                place = in(reg) place,
                word = in(reg) word,
                options(att_syntax, nostack)
            );
        }
        if is_same_for_all(place) {
            PLACE.0.store(place, Ordering::Relaxed);
        }
    }

    /// Does the descriptor answer what it holds, whatever the thread? Its code is then
    /// `mov 8(%rax), %rax; ret`, perhaps marked as one that is called.
    fn is_same_for_all(place: usize) -> bool {
        const MARK: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
        const ANSWER: [u8; 5] = [0x48, 0x8b, 0x40, 0x08, 0xc3];
        let descriptor: *const *const u8;
        // SAFETY: takes an address. Where the linker rewrote the sequence, as it does in
        // programs, it is the place itself, which is then the same for all.
        unsafe {
            asm!(
                "leaq spoor_own_word@tlsdesc(%rip), %rax",
                out("rax") descriptor,
                options(att_syntax, nostack)
            );
        }
        if descriptor.addr() == place {
            return true;
        }
        // SAFETY: the descriptor's first word is the address of code.
        let code = unsafe { *descriptor };
        // SAFETY: code can be read; no function is so short that four bytes are not there.
        let mark = unsafe { code.cast::<[u8; 4]>().read_unaligned() };
        let code = if mark == MARK { code.wrapping_add(MARK.len()) } else { code };
        let begins_so = |(place, byte): (usize, u8)| {
            let at = code.wrapping_add(place);
            // SAFETY: as above; what follows is read only where all before is as expected.
            unsafe { at.read() == byte }
        };
        ANSWER.into_iter().enumerate().all(begins_so)
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod imp {
    use std::cell::Cell;

    thread_local! {
        static WORD: Cell<*const ()> = const { Cell::new(std::ptr::null()) };
    }

    #[inline(always)]
    pub(crate) fn get() -> *const () {
        WORD.get()
    }

    pub(crate) fn set(word: *const ()) {
        WORD.set(word);
    }
}

pub(crate) use imp::{get, set};

#[cfg(test)]
mod tests {
    #[test]
    fn each_thread_has_a_word_of_its_own() {
        let of = |number: usize| std::ptr::without_provenance::<()>(number);
        let seen = |number| {
            std::thread::spawn(move || {
                let before = super::get().addr();
                super::set(of(number));
                (before, super::get().addr())
            })
        };
        let threads = [8, 16, 24].map(seen);
        let seen = threads.map(|thread| thread.join().expect("no panic"));
        assert_eq!(seen, [(0, 8), (0, 16), (0, 24)]);
    }
}
