//! `strange --v4 A --v6 A --port N`: a server whose name, program and arguments are no UTF-8, and
//! which tries to get out all the while.

use crate::serve;
use airgap::technique::{self, target::Target};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{env, fs, thread};

const NAME: &[u8] = b"\xff\xfe\x80";

pub(crate) fn run(target: &Target) -> Result<(), String> {
    let name = OsStr::from_bytes(NAME);
    let program = Path::new("/tmp").join(name);
    if env::args_os().next().is_some_and(|own| own == name) {
        let way = technique::find("udp4").ok_or("no technique")?;
        let port = target.port;
        return thread::scope(|scope| {
            scope.spawn(|| {
                loop {
                    technique::attempt(way, target);
                    thread::sleep(Duration::from_millis(100));
                }
            });
            println!("tries port {port}");
            serve::run(5060)
        });
    }
    fs::copy("/proc/self/exe", &program).map_err(|e| e.to_string())?;
    // The kernel takes its name from the program's.
    let error = Command::new(&program)
        .arg0(name)
        .args(env::args_os().skip(1))
        .arg(name)
        .exec();
    Err(error.to_string())
}
