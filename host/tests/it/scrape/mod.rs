//! What becomes of an exposition.

mod expositions;
mod pages;
