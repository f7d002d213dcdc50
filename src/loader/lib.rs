//! The stages from an observed process to a running guest.
//!
//! The modules stand in the order in which they may use each other: [`log`], [`outcome`], [`process`] (what is mapped here),
//! [`script`] (what a node was started for), [`host`] (which module has V8), [`guest`] (what a libnode needs, and its private copy),
//! [`plan`] (where each slot goes), [`stages`] (from the observed host to a plan that may be applied), [`patch`] (writing words),
//! [`runtime`] (Node's life), [`report`], [`config`], [`pipeline`] (the stages meet), [`standalone`].
//! A test of the house keeps that order.

pub mod config;
pub mod guest;
pub mod host;
pub mod log;
pub mod outcome;
pub mod patch;
pub mod pipeline;
pub mod plan;
pub mod process;
pub mod report;
pub mod runtime;
pub mod script;
pub mod stages;
pub mod standalone;
