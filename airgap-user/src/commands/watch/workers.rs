//! Threads that judge containers side by side: one that is slow, or makes
//! looking at it slow, delays no other.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{
    judge::Judge,
    queue::{Happening, Queue, Task},
};

/// So many containers are judged at once.
const THREADS: usize = 8;

/// The id of a container that was judged, and whether that went well.
type Done = (String, bool);

/// What waits, and who works. The threads end with it, each after its task.
pub(super) struct Workers {
    queue: Queue,
    tasks: Sender<Task>,
    done: UnboundedReceiver<Done>,
    working: usize,
}

impl Workers {
    /// # Errors
    /// If a thread cannot be started.
    pub(super) fn begin(judge: Judge) -> Result<Self> {
        let (tasks, to_do) = channel();
        let (tell, done) = unbounded_channel();
        let (judge, to_do) = (Arc::new(judge), Arc::new(Mutex::new(to_do)));
        for _ in 0..THREADS {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("cannot start a runtime")?;
            let (judge, to_do, tell) = (Arc::clone(&judge), Arc::clone(&to_do), tell.clone());
            thread::Builder::new()
                .name("judge".into())
                .spawn(move || runtime.block_on(work(&judge, &to_do, &tell)))
                .context("cannot start a thread")?;
        }
        Ok(Self {
            queue: Queue::default(),
            tasks,
            done,
            working: 0,
        })
    }

    /// Has a container judged as soon as a thread is free.
    pub(super) fn ask(&mut self, id: &str, what: Happening) {
        self.queue.ask(id, what, Instant::now());
        self.start();
    }

    /// Gives out what is due.
    pub(super) fn start(&mut self) {
        while self.working < THREADS
            && let Some(task) = self.queue.take(Instant::now())
        {
            self.working += 1;
            if self.tasks.send(task).is_err() {
                log::error!("nobody judges containers any more");
                return;
            }
        }
    }

    /// Waits until one was judged; its id. Safe to be dropped meanwhile.
    pub(super) async fn done(&mut self) -> String {
        let Some((id, well)) = self.done.recv().await else {
            // Its senders end only with it.
            return std::future::pending().await;
        };
        self.took(&id, well);
        self.start();
        id
    }

    fn took(&mut self, id: &str, well: bool) {
        self.working -= 1;
        self.queue.done(id, well, Instant::now());
    }

    /// Begins nothing more, and waits for what is under way, so long at most.
    pub(super) fn end(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        while self.queue.is_working() && Instant::now() < end {
            match self.done.try_recv() {
                Ok((id, well)) => self.took(&id, well),
                Err(_nothing_yet) => thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

async fn work(judge: &Judge, to_do: &Mutex<Receiver<Task>>, tell: &UnboundedSender<Done>) {
    loop {
        // Whoever waits holds the others' turn, which changes nothing: there is no task.
        let next = to_do.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = next else { return };
        let well = judge.judge(&task).await;
        if tell.send((task.id, well)).is_err() {
            return;
        }
    }
}
