//! H.248 in BER (H.248.1 Annex A): what is read, what is changed, what is written, and
//! what holds of any octets. Erlang/OTP's view of the same is in the end-to-end crate.

mod changes;
mod fixture;
mod mutations;
mod reading;
mod writing;
