//! Guards veths as they come up, as udev has it done where airgap is installed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{commands::guard::guard, gate::Place, host::netlink};

/// So many veths are looked after at once; the keeper finds the others.
const MOST: usize = 16;
/// A look lasts so long, if nothing comes up.
const LOOK: Duration = Duration::from_millis(250);

/// Guards new veths until dropped.
pub(super) struct Arrivals(Arc<AtomicBool>);

impl Arrivals {
    /// Begins, on threads of its own. If it cannot, it says so: nothing that is in force
    /// depends on it.
    pub(super) fn begin(place: &Place) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (place, asked) = (place.clone(), Arc::clone(&stop));
        thread::spawn(move || {
            if let Err(error) = follow(&place, &asked) {
                log::warn!("new veths are guarded later than they could be: {error}");
            }
        });
        Self(stop)
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn follow(place: &Place, stop: &AtomicBool) -> std::io::Result<()> {
    let mut arrivals = netlink::Arrivals::open(LOOK)?;
    let working = Arc::new(AtomicUsize::new(0));
    while !stop.load(Ordering::Relaxed) {
        for index in arrivals.look()? {
            if working.load(Ordering::Relaxed) >= MOST {
                log::debug!("{index} is left to whoever looks after its seal");
                continue;
            }
            working.fetch_add(1, Ordering::Relaxed);
            let (place, working) = (place.clone(), Arc::clone(&working));
            thread::spawn(move || {
                if let Err(error) = guard(&place, index) {
                    log::debug!("the interface {index} is not guarded: {error:#}");
                }
                working.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
    Ok(())
}
