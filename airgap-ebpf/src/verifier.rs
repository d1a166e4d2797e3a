//! What the verifier is to see, and what it need not see.

/// The same number, below `limit`, a power of two, of which the verifier knows
/// no more than that: the code behind is walked once, not once for each number
/// that may come. `any` is something it does not know, such as a field of a packet.
#[inline(always)]
pub(crate) fn forgotten(n: u64, limit: u64, any: u32) -> u64 {
    let mut number = n;
    // SAFETY: three instructions on three registers.
    unsafe {
        core::arch::asm!(
            "{n} ^= {any}",
            "{n} ^= {any}",
            "{n} &= {mask}",
            n = inout(reg) number,
            any = in(reg) u64::from(any),
            mask = in(reg) limit - 1,
        );
    }
    number
}

/// The same number, which the processor cannot have before it has `first`: what
/// is read by it is read later, on those too that reorder reads.
#[inline(always)]
pub(crate) fn after(first: u32, n: u64) -> u64 {
    let (mut zero, mut number) = (u64::from(first), n);
    // SAFETY: two instructions on two registers.
    unsafe {
        core::arch::asm!(
            "{zero} &= 0",
            "{n} |= {zero}",
            zero = inout(reg) zero,
            n = inout(reg) number,
        );
    }
    let _ = zero;
    number
}

/// The same number, below `LIMIT`, a power of two, which the verifier knows after this
/// even where it has forgotten how far a loop goes.
#[inline(always)]
pub(crate) fn below<const LIMIT: usize>(n: usize) -> usize {
    let mut number = n as u64;
    // SAFETY: one instruction on one register.
    unsafe {
        core::arch::asm!("{n} &= {m}", n = inout(reg) number, m = const LIMIT - 1);
    }
    number as usize
}

/// The same number, of which neither compiler nor verifier knows anything: what is made of
/// it is made anew each time, and not kept on the stack, and what follows is walked once.
/// `any` is something that the verifier does not know, such as a field of a map value.
#[inline(always)]
pub(crate) fn unknown(n: u64, any: u64) -> u64 {
    let mut number = n;
    // SAFETY: two instructions on two registers.
    unsafe {
        core::arch::asm!("{n} ^= {a}", "{n} ^= {a}", n = inout(reg) number, a = in(reg) any);
    }
    number
}

/// The same number, from 1 to `limit`, a power of two: a mask shows that to the
/// verifier, which a comparison does not, where LLVM cannot tell that it is idle.
#[inline(always)]
pub(crate) fn bounded(n: u32, limit: u32) -> u32 {
    let mut less = u64::from(n - 1);
    // SAFETY: one instruction on two registers.
    unsafe {
        core::arch::asm!("{n} &= {m}", n = inout(reg) less, m = in(reg) u64::from(limit - 1));
    }
    less as u32 + 1
}

/// The same number, or 0 if it is none below `LEN`: compared where it is used, as
/// before 5.11 the verifier forgets that a copy was compared.
#[inline(always)]
pub(crate) fn index<const LEN: usize>(n: u64) -> usize {
    let mut index = n;
    // SAFETY: two instructions on one register.
    unsafe {
        core::arch::asm!("if {i} < {len} goto +1", "{i} = 0", i = inout(reg) index, len = const LEN);
    }
    index as usize
}
