//! Behaviour of the whole crate, on a real small engine.

mod cancel;
mod crash;
mod doctor;
mod kinds;
mod life;
mod pause;
mod random;
mod retry;
