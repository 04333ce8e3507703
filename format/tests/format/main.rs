//! What must be true of the format, from the outside.

mod arbitrary;
mod damage;
mod document;
mod second_reader;
mod text_form;
