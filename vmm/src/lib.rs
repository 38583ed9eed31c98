//! forkvm's VMM: makes a KVM virtual machine, boots the guest kernel in it and serves it.
//!
//! In the order data flows: `cli`, `run` and `config` say what is wanted, `root` and `program` find what the guest is to
//! have and to run, `image` lays it out, `vm` builds the machine (`kvm`, `memory`, `cpuid`, `vcpu`, `boot` with `loader` and
//! `page_tables`) and runs it; an `exit` goes over the `bus` to a device; `host_events` and
//! `signals` carry what happens on the host into the guest; `inspect` reads the guest's records, and
//! `report`, `epitaph` and `doctor` tell people about them.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod boot;
pub mod bus;
pub mod cli;
pub mod config;
pub mod cpuid;
pub mod devices;
pub mod doctor;
pub mod embedded;
pub mod epitaph;
pub mod exit;
pub mod host_events;
pub mod image;
pub mod inspect;
pub mod kvm;
pub mod kvm_stats;
pub mod loader;
pub mod memory;
pub mod page_tables;
pub mod program;
pub mod report;
pub mod root;
pub mod run;
mod say;
pub mod signals;
pub mod stats;
pub mod symbols;
pub mod terminal;
pub mod vcpu;
pub mod vm;

/// The build's check of the kernel's instructions: under test here, as a build script has no tests.
#[cfg(test)]
#[path = "../build/instructions.rs"]
mod instructions;
