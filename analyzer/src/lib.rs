//! Reads the recordings of Spoor, live or dead, whole or damaged.
//!
//! ```text
//! read -> model -> view -> commands -> main
//! ```
//!
//! [`read`] turns bytes into events in order, [`model`] events into tables,
//! [`view`] tables into text, JSON and pictures; [`commands`] opens files and
//! puts the three together. A reader prints nothing, a model sees neither bytes
//! nor arguments, a view opens no file.

#![forbid(unsafe_code)]

pub mod cli;
pub mod commands;
pub mod model;
pub mod read;
pub mod view;
