//! The 32-bit system call gate, which skips some of the kernel's BPF hooks.

use super::sys::{Fail, Socket, Step};

/// `setsockopt` as an i386 program calls it.
#[cfg(target_arch = "x86_64")]
pub fn setsockopt(socket: &Socket, level: i32, option: i32, value: &[u8]) -> Step<()> {
    const SETSOCKOPT_I386: u64 = 366;
    // A 32-bit system call can only point into the low 4 GiB.
    // SAFETY: an anonymous mapping at no particular address.
    let low = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
            -1,
            0,
        )
    };
    if low == libc::MAP_FAILED {
        return Err(super::sys::os("mmap"));
    }
    // SAFETY: `low` has room for 4096 bytes and options are far shorter.
    unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), low.cast(), value.len()) };
    let result: u64;
    // SAFETY: the call only reads the mapping; int 0x80 clobbers r8 to r11 at most. rbx is
    // reserved by the compiler, so it is swapped in and back.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {fd}",
            "int 0x80",
            "xchg rbx, {fd}",
            fd = inout(reg) u64::from(socket.fd().unsigned_abs()) => _,
            inout("rax") SETSOCKOPT_I386 => result,
            in("rcx") u64::from(level.unsigned_abs()),
            in("rdx") u64::from(option.unsigned_abs()),
            in("rsi") low as u64,
            in("rdi") value.len() as u64,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    // The result is a 32-bit one.
    let result = result as u32 as i32;
    if result < 0 {
        return Err(Fail::Os {
            step: "int80 setsockopt",
            errno: -result,
        });
    }
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
pub fn setsockopt(_: &Socket, _: i32, _: i32, _: &[u8]) -> Step<()> {
    Err(Fail::Skip("int 0x80 exists on x86-64 only".to_owned()))
}
