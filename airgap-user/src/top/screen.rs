//! The terminal: raw, on its second screen, and given back as it was.

use std::{
    io::{self, IsTerminal as _},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use anyhow::{Context as _, Result};
use ratatui::{
    DefaultTerminal, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};

use super::{Key, Model, draw};
use crate::failure::{Failure, exit};

/// A terminal in use; given back on drop, and on a panic.
pub struct Screen {
    terminal: DefaultTerminal,
    events: Receiver<io::Result<Event>>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// If stdin or stdout is none, or it can do nothing but print.
    pub fn take() -> Result<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() || dumb {
            return Err(Failure::new(
                "airgap top needs a terminal that can move its cursor",
                "elsewhere: airgap list [--json], airgap tail [--json]",
            )
            .with_code(exit::USAGE)
            .into());
        }
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            hook(info);
        }));
        // From here on every way out gives it back.
        let taken = || -> io::Result<Self> {
            enable_raw_mode()?;
            execute!(io::stdout(), EnterAlternateScreen)?;
            let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
            let (to, events) = channel();
            thread::Builder::new()
                .name("keys".into())
                .spawn(move || read_events(&to))?;
            Ok(Self { terminal, events })
        };
        taken()
            .inspect_err(|_| give_back())
            .context("cannot use the terminal")
    }

    /// Shows the model.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn show(&mut self, model: &Model) -> Result<()> {
        self.terminal
            .draw(|frame| draw(model, frame))
            .map(drop)
            .context("cannot write to the terminal")
    }

    /// Keys that were pressed since, and whether there is something to redraw.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn keys(&mut self) -> Result<(Vec<Key>, bool)> {
        let (mut keys, mut any) = (Vec::new(), false);
        for event in self.events.try_iter() {
            any = true;
            if let Event::Key(event) = event.context("cannot read from the terminal")? {
                keys.extend(key(event));
            }
        }
        Ok((keys, any))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// In a thread of its own: crossterm reads a terminal that was hung up for ever,
/// and whoever does that hears no signal.
fn read_events(to: &Sender<io::Result<Event>>) {
    loop {
        let event = event::read();
        let failed = event.is_err();
        if to.send(event).is_err() || failed {
            return;
        }
    }
}

/// As it was; what fails cannot be helped any more.
fn give_back() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
}

/// What a key asks for.
fn key(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    if event.modifiers.contains(KeyModifiers::CONTROL) {
        // Raw mode: no signal comes of it.
        return matches!(event.code, KeyCode::Char('c' | 'd')).then_some(Key::Quit);
    }
    Some(match event.code {
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home | KeyCode::Char('g') => Key::Home,
        KeyCode::End | KeyCode::Char('G') => Key::End,
        KeyCode::Enter | KeyCode::Right => Key::Enter,
        KeyCode::Esc | KeyCode::Left | KeyCode::Backspace => Key::Back,
        KeyCode::Tab => Key::Next,
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Char('a') => Key::Allow,
        KeyCode::Char('y') => Key::Yes,
        KeyCode::Char('?' | 'h') => Key::Help,
        KeyCode::Char('q') => Key::Quit,
        _ => Key::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_the_help_says() {
        let plain = |code| key(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(plain(KeyCode::Char('q')), Some(Key::Quit));
        assert_eq!(plain(KeyCode::Char('?')), Some(Key::Help));
        assert_eq!(plain(KeyCode::Esc), Some(Key::Back));
        assert_eq!(plain(KeyCode::Char('c')), Some(Key::Other));
        let control = |c| key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL));
        assert_eq!(control('c'), Some(Key::Quit));
        assert_eq!(control('s'), None);
    }
}
