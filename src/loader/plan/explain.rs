//! The plan as text: why does this slot hold that address?

use super::{Binding, Definition, Plan, StagedImage, Target, Why};
use crate::host::exports::Visibility;
use relink_elf::address::LinkAddr;
use std::fmt::Write as _;

impl Binding<'_> {
    /// One line: image, slot, kind, symbol, destination and reason. Run-time addresses are left out unless `addresses`
    /// is set, so that the text is the same in every process.
    pub fn explain(&self, addresses: bool) -> String {
        let image = self.image;
        let addend = if self.slot.addend == 0 { String::new() } else { format!("{:+}", self.slot.addend) };
        let kind = format!("{:?}", self.slot.kind);
        let goes = self.target.describe(addresses);
        format!(
            "{image}+{} {kind:<8} {}{addend} -> {goes}: {}",
            self.slot.at,
            self.slot.symbol,
            self.why.text()
        )
    }
}

impl std::fmt::Display for StagedImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Guest => f.write_str("guest"),
            Self::Library(number) => write!(f, "library{number}"),
            Self::Bridge => f.write_str("bridge"),
            Self::Unit => f.write_str("adapter unit"),
            Self::AddOn(0) => f.write_str("add-on"),
            Self::AddOn(number) => write!(f, "add-on's library{number}"),
        }
    }
}

impl Target {
    /// In words. Without `addresses` the same in every process and for every build of the guest.
    pub fn describe(&self, addresses: bool) -> String {
        match self {
            Self::Provider(d) => {
                let table = match d.visibility {
                    Visibility::Dynsym => ".dynsym",
                    Visibility::Symtab => ".symtab",
                    Visibility::Code => "code",
                };
                if addresses {
                    format!("host's V8 at {} ({table})", d.address)
                } else {
                    format!("host's V8 ({table})")
                }
            }
            Self::Own(at) if addresses => format!("itself+{at}"),
            Self::Own(_) => "itself".into(),
            Self::OwnTls(_) => "its own thread-local storage".into(),
            Self::Staged(image, at) => format!("{image}+{at}"),
            Self::Relink(at) if addresses => format!("Relink at {at}"),
            Self::Relink(_) => "Relink".into(),
            Self::StandIn(name) => (*name).into(),
            Self::Null => "0".into(),
        }
    }
}

impl Why {
    /// The reason in words.
    pub fn text(&self) -> String {
        match self {
            Self::HostsV8 => "V8's names belong to the host's V8".into(),
            Self::Adapter(adapter) => format!("adapter {}: {}", adapter.stands_in, adapter.reason),
            Self::GuestsNode => "Node's names belong to the guest".into(),
            Self::Own => "what an image defines is what it means, whatever the host exports".into(),
            Self::DeadV8 => "only V8's own code names it: the guest's V8 stays dead".into(),
            Self::Closure => "the guest and its libraries mean each other, whatever the host exports".into(),
            Self::Guarded(keeps) => format!("guard: {keeps}"),
            Self::WeakUndefined => "an undefined weak reference is 0".into(),
        }
    }
}

impl Plan<'_> {
    /// The whole plan, a line per binding, then a line that counts.
    pub fn explain(&self, addresses: bool) -> String {
        let mut text = String::new();
        for binding in &self.bindings {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", binding.explain(addresses));
        }
        let _ = writeln!(
            text,
            "{} slots bound by Relink, {} left to the dynamic linker",
            self.bindings.len(),
            self.left_to_the_linker
        );
        text
    }
}

impl Binding<'_> {
    /// The binding as JSON. Addresses are link-time addresses of the named image, but for the host's, which are
    /// run-time addresses in a process and link-time addresses in a plan made from files.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "image": self.image.to_string(),
            "slot": self.slot.at.to_string(),
            "kind": self.slot.kind,
            "symbol": self.slot.symbol,
            "version": self.slot.version,
            "addend": self.slot.addend,
            "target": self.target.describe(true),
            "why": self.why.text(),
        })
    }
}

/// A slot and what it is bound to, by symbols and link-time addresses: the same for a plan that is made from files and for what
/// the slot holds in a process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct BoundSlot {
    /// The image that the slot lies in.
    pub image: String,
    /// Link-time address of the slot.
    pub slot: String,
    /// The symbol that the slot refers to.
    pub symbol: String,
    /// Where it leads: an image and a link-time address in it, or the name of a function of Relink's.
    pub target: String,
    /// Why.
    pub why: String,
}

/// How the module that provides V8 is called in [`BoundSlot`].
const HOST: &str = "host's V8";

impl Binding<'_> {
    /// The binding as such. `in_host` tells a place in the host by the module that it is in.
    pub fn bound(&self, in_host: impl Fn(&Definition) -> String) -> BoundSlot {
        let target = match self.target {
            Target::Provider(definition) => in_host(&definition),
            Target::Own(at) => BoundSlot::in_image(self.image, at),
            Target::Staged(image, at) => match self.why {
                Why::Adapter(adapter) => adapter.stands_in.to_owned(),
                _ => BoundSlot::in_image(image, at),
            },
            Target::Relink(_) => BoundSlot::guard(self.slot.symbol),
            Target::OwnTls(_) | Target::StandIn(_) | Target::Null => self.target.describe(true),
        };
        self.bound_to(target)
    }

    /// The same with a target that was read back.
    pub fn bound_to(&self, target: String) -> BoundSlot {
        BoundSlot {
            image: self.image.to_string(),
            slot: self.slot.at.to_string(),
            symbol: self.slot.symbol.to_owned(),
            target,
            why: self.why.text(),
        }
    }
}

impl BoundSlot {
    /// A place in the module that provides V8.
    pub fn in_host(at: LinkAddr) -> String {
        format!("{HOST}+{at}")
    }

    /// A place in another module of a component build.
    pub fn in_part(name: &str, at: LinkAddr) -> String {
        format!("{HOST} ({name})+{at}")
    }

    /// A place in an image that is staged.
    pub fn in_image(image: StagedImage, at: LinkAddr) -> String {
        format!("{image}+{at}")
    }

    /// Relink's function in the place of libc's of this name.
    pub fn guard(symbol: &str) -> String {
        format!("Relink's {symbol}")
    }
}
