//! What nearly always is so: the compiler lays out the code so that it is run through
//! without a jump, which the processor would have to foresee.

/// It nearly always is.
#[inline(always)]
pub fn likely(is_so: bool) -> bool {
    if !is_so {
        seldom();
    }
    is_so
}

/// It nearly never is.
#[inline(always)]
pub fn unlikely(is_so: bool) -> bool {
    if is_so {
        seldom();
    }
    is_so
}

#[cold]
#[inline(always)]
fn seldom() {}
