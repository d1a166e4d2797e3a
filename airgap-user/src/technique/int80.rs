//! The 32-bit system call gate, which skips some of the kernel's BPF hooks.

use super::sys::{Raw, Socket, Step};
use super::target::Target;

/// Numbers of `socketcall` (include/uapi/linux/net.h).
const CONNECT: u32 = 3;
const SENDTO: u32 = 11;

/// `setsockopt` as an i386 program calls it.
pub fn setsockopt(socket: &Socket, level: i32, option: i32, value: &[u8]) -> Step<()> {
    const SETSOCKOPT_I386: u32 = 366;
    let mut low = gate::Low::new()?;
    let value_at = low.put(value);
    let arguments = [
        socket.fd().unsigned_abs(),
        level.unsigned_abs(),
        option.unsigned_abs(),
        value_at,
        value.len() as u32,
    ];
    gate::call("int80 setsockopt", SETSOCKOPT_I386, arguments)
}

/// `connect` and `send` by the 32-bit gate.
pub fn tcp(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at4())?;
    let mut low = gate::Low::new()?;
    let address = Raw::from(t.at4());
    let at = low.put(address.bytes());
    socketcall(
        &mut low,
        CONNECT,
        &[socket.fd().unsigned_abs(), at, address.len],
    )?;
    socket.send(t.payload(), 0)
}

pub fn udp(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    let mut low = gate::Low::new()?;
    let address = Raw::from(t.at4());
    let (payload, at) = (low.put(t.payload()), low.put(address.bytes()));
    let len = t.payload().len() as u32;
    let arguments = [socket.fd().unsigned_abs(), payload, len, 0, at, address.len];
    socketcall(&mut low, SENDTO, &arguments)
}

fn socketcall(low: &mut gate::Low, number: u32, arguments: &[u32]) -> Step<()> {
    const SOCKETCALL_I386: u32 = 102;
    let words: Vec<u8> = arguments
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    let words = low.put(&words);
    gate::call(
        "int80 socketcall",
        SOCKETCALL_I386,
        [number, words, 0, 0, 0],
    )
}

#[cfg(target_arch = "x86_64")]
mod gate {
    use super::super::sys::{Fail, Step, os};

    const SIZE: usize = 4096;

    /// A page in the low 4 GiB: a 32-bit system call can point nowhere else.
    pub(super) struct Low {
        page: *mut u8,
        used: usize,
    }

    impl Low {
        pub(super) fn new() -> Step<Self> {
            // SAFETY: an anonymous mapping at no particular address.
            let page = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    SIZE,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
                    -1,
                    0,
                )
            };
            if page == libc::MAP_FAILED {
                return Err(os("mmap"));
            }
            Ok(Self {
                page: page.cast(),
                used: 0,
            })
        }

        /// Copies `bytes`, at most what fits, and returns their address.
        pub(super) fn put(&mut self, bytes: &[u8]) -> u32 {
            let len = bytes.len().min(SIZE - self.used);
            // SAFETY: `used + len` is within the page.
            let at = unsafe {
                let at = self.page.add(self.used);
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, len);
                at
            };
            self.used = (self.used + len).next_multiple_of(16).min(SIZE);
            at as usize as u32
        }
    }

    impl Drop for Low {
        fn drop(&mut self) {
            // SAFETY: the page is this object's own.
            unsafe { libc::munmap(self.page.cast(), SIZE) };
        }
    }

    pub(super) fn call(step: &'static str, number: u32, arguments: [u32; 5]) -> Step<()> {
        let [first, second, third, fourth, fifth] = arguments.map(u64::from);
        let result: u64;
        // SAFETY: the pointers among the arguments are into a `Low` that outlives the call; int
        // 0x80 clobbers r8 to r11 at most. rbx is reserved by the compiler, so it is swapped in
        // and back.
        unsafe {
            std::arch::asm!(
                "xchg rbx, {first}",
                "int 0x80",
                "xchg rbx, {first}",
                first = inout(reg) first => _,
                inout("rax") u64::from(number) => result,
                in("rcx") second,
                in("rdx") third,
                in("rsi") fourth,
                in("rdi") fifth,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        // The result is a 32-bit one.
        let result = result as u32 as i32;
        if result < 0 {
            return Err(Fail::Os {
                step,
                errno: -result,
            });
        }
        Ok(())
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod gate {
    use super::super::sys::{Fail, Step};

    pub(super) struct Low;

    impl Low {
        pub(super) fn new() -> Step<Self> {
            Err(Fail::Skip("int 0x80 exists on x86-64 only".to_owned()))
        }

        pub(super) fn put(&mut self, _: &[u8]) -> u32 {
            0
        }
    }

    pub(super) fn call(_: &'static str, _: u32, _: [u32; 5]) -> Step<()> {
        Err(Fail::Skip("int 0x80 exists on x86-64 only".to_owned()))
    }
}
