//! `airgap top`: seals and what they refuse, on a terminal.
//!
//! [`Model`] is what is known and what of it is shown, [`draw`] puts it on a
//! screen; both are pure. [`Screen`] is the terminal. Numbers are the kernel's
//! own counters, not a sum of events: they hold after a flood.

mod history;
mod line;
mod model;
mod ranking;
mod render;
mod screen;

pub use self::{
    model::{Ask, Key, Model, News},
    ranking::{Count, Ranking},
    render::draw,
    screen::Screen,
};
