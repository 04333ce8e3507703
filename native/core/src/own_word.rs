//! One word for each thread: null until the thread sets it.
//!
//! A library that the VM loads reaches its `thread_local!`s by a call of
//! `__tls_get_addr`, which walks the thread's table of libraries: 2 to 3 ns of
//! each callback. Here the variable is reached by its TLS descriptor, which the
//! dynamic linker points at two instructions where the thread's static block has
//! room, and at the walk where it has not. (The model `initial-exec` would be as
//! fast and refuse to be loaded where there is no room.)

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod imp {
    use core::arch::{asm, global_asm};

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

    #[inline(always)]
    pub(crate) fn get() -> *const () {
        let word: *const ();
        // SAFETY: the sequence that the ABI lays down for a TLS descriptor; the
        // linker may rewrite it. Of the registers it changes rax only, but for
        // vector registers on the slow path of older C libraries. Then a read of
        // this thread's own variable.
        unsafe {
            asm!(
                "leaq spoor_own_word@tlsdesc(%rip), %rax",
                "callq *spoor_own_word@tlscall(%rax)",
                "movq %fs:(%rax), %rax",
                out("rax") word,
                clobber_abi("sysv64"),
                options(att_syntax)
            );
        }
        word
    }

    #[cold]
    pub(crate) fn set(word: *const ()) {
        // SAFETY: as in `get`, but for a write of this thread's own variable.
        unsafe {
            asm!(
                "leaq spoor_own_word@tlsdesc(%rip), %rax",
                "callq *spoor_own_word@tlscall(%rax)",
                "movq {word}, %fs:(%rax)",
                word = in(reg) word,
                out("rax") _,
                clobber_abi("sysv64"),
                options(att_syntax)
            );
        }
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
