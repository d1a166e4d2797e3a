//! Promise: no pretend. A native XDP program on the host's end of a veth takes the sender from every
//! frame: the service falls silent, and that is said.

use airgap_tests::airgap::seal;
use airgap_tests::{Outside, SERVICE_PORT, airgap, wait};
use std::ffi::CString;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// A program that passes everything, on an interface until dropped.
struct Passing(#[expect(dead_code, reason = "held for its drop")] OwnedFd);

impl Passing {
    fn on(device: &str) -> Self {
        let device = CString::new(device).expect("no NUL");
        // SAFETY: a string that ends with a zero byte.
        let index = unsafe { libc::if_nametoindex(device.as_ptr()) };
        assert_ne!(index, 0, "{device:?}");
        // r0 = XDP_PASS; exit
        let code: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];
        let licence = c"MIT";
        let mut load = [0u64; 16];
        // Type XDP (6), two instructions.
        load[0] = 6 | 2 << 32;
        load[1] = code.as_ptr() as u64;
        load[2] = licence.as_ptr() as u64;
        let program = bpf(5, &load).expect("BPF_PROG_LOAD");
        let mut link = [0u64; 8];
        let number = |fd: &OwnedFd| u64::from(std::os::fd::AsRawFd::as_raw_fd(fd).cast_unsigned());
        link[0] = number(&program) | u64::from(index) << 32;
        // Attach type BPF_XDP (37), XDP_FLAGS_DRV_MODE.
        link[1] = 37 | 4 << 32;
        Self(bpf(28, &link).expect("BPF_LINK_CREATE"))
    }
}

fn bpf(command: i32, attributes: &[u64]) -> io::Result<OwnedFd> {
    // SAFETY: pointer and size describe `attributes`, and what they point to is alive.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.as_ptr(),
            size_of_val(attributes),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[test]
fn a_native_xdp_program_is_named() {
    let outside = Outside::new();
    let container = outside.container("xdp").run();
    let answers = || outside.get(container.ip4(), SERVICE_PORT, "/").is_ok();
    seal(&container.name, &[]);
    assert!(answers(), "the control: sealed, it answers");
    let program = Passing::on(&container.veth());
    assert!(!answers(), "the control: it is silent");
    let status = airgap(&["status", &container.id]);
    assert_eq!(status.code, 3, "{}", status.describe());
    assert!(
        status.stdout.contains("an XDP program in the driver of"),
        "{}",
        status.describe()
    );
    drop(program);
    wait::until("it answers again", wait::SOON, || answers().then_some(()));
    let status = airgap(&["status", &container.id]);
    assert!(matches!(status.code, 0 | 4), "{}", status.describe());
}
