//! A disk over TCP (NBD, Linux `Documentation/admin-guide/blockdev/nbd.rst`), served by the test
//! itself: what is written to it is sent by the kernel in the writer's name.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::thread::{self, JoinHandle};

use crate::wait;

/// Path of its device.
pub const DEVICE: &str = "/dev/nbd0";
const BLOCK: i32 = 4096;
const BLOCKS: i32 = 1024;
/// `NBD_FLAG_HAS_FLAGS`, `NBD_FLAG_CAN_MULTI_CONN`: with two connections the writer itself sends.
const FLAGS: i32 = 1 | 1 << 8;

const SET_SOCK: u32 = 0xab00;
const SET_BLKSIZE: u32 = 0xab01;
const DO_IT: u32 = 0xab03;
const SET_SIZE_BLOCKS: u32 = 0xab07;
const DISCONNECT: u32 = 0xab08;
const SET_FLAGS: u32 = 0xab0a;

/// The disk; disconnected on drop.
pub struct Disk {
    device: File,
    runs: Option<JoinHandle<i32>>,
}

impl Disk {
    /// # Panics
    /// Where the kernel has no such device, or when it cannot be set up.
    #[must_use]
    pub fn connect() -> Self {
        let device = File::options().read(true).write(true).open(DEVICE);
        let device = device.unwrap_or_else(|e| panic!("{DEVICE}: {e}"));
        control(&device, SET_FLAGS, FLAGS);
        control(&device, SET_BLKSIZE, BLOCK);
        control(&device, SET_SIZE_BLOCKS, BLOCKS);
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        for _ in 0..2 {
            let client = TcpStream::connect(listener.local_addr().expect("address"));
            control(&device, SET_SOCK, client.expect("connect").as_raw_fd());
            let (server, _) = listener.accept().expect("accept");
            thread::spawn(move || serve(server));
        }
        let running = device.try_clone().expect("dup");
        // SAFETY: takes no argument; returns when the disk is disconnected.
        let runs = thread::spawn(move || unsafe { libc::ioctl(running.as_raw_fd(), DO_IT as _) });
        let disk = Self {
            device,
            runs: Some(runs),
        };
        wait::until("the disk has a size", wait::SOON, || {
            let size = fs::read_to_string("/sys/block/nbd0/size").ok()?;
            (size.trim() != "0" && fs::exists("/sys/block/nbd0/pid").ok()?).then_some(())
        });
        fs::write("/sys/block/nbd0/queue/scheduler", "none").expect("no scheduler");
        disk
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // SAFETY: takes no argument.
        unsafe { libc::ioctl(self.device.as_raw_fd(), DISCONNECT as _) };
        if let Some(runs) = self.runs.take() {
            let _ = runs.join();
        }
    }
}

fn control(device: &File, request: u32, value: i32) {
    // SAFETY: these requests take a number.
    let rc = unsafe { libc::ioctl(device.as_raw_fd(), request as _, value) };
    assert_eq!(rc, 0, "{request:#x}: {}", io::Error::last_os_error());
}

/// Answers reads with zeros and takes any write, until the end.
fn serve(mut client: TcpStream) {
    const READ: u32 = 0;
    const WRITE: u32 = 1;
    /// `NBD_SIMPLE_REPLY_MAGIC`, and no error.
    const GOOD: [u8; 8] = [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0];
    let mut request = [0; 28];
    while client.read_exact(&mut request).is_ok() {
        let word = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| request[at + i]));
        let kind = word(4) & 0xffff;
        let mut data = vec![0; if kind <= WRITE { word(24) as usize } else { 0 }];
        if kind == WRITE && client.read_exact(&mut data).is_err() {
            return;
        }
        let mut reply = GOOD.to_vec();
        reply.extend(&request[8..16]);
        if kind == READ {
            reply.extend(data);
        }
        if client.write_all(&reply).is_err() {
            return;
        }
    }
}
