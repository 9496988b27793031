//! The user agent toward thin clients, against a phone made of text.

mod calls;
mod connection;
mod dialog;
mod mutations;
mod offers;
mod outside;
mod phone;
