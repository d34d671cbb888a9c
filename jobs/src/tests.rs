//! Behaviour of the whole crate, on a real small engine.

mod cancel;
mod clock;
mod crash;
mod deterministic;
mod doctor;
mod kinds;
mod life;
mod pause;
mod power;
mod random;
mod retry;
