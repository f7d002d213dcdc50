//! `relink explain`: where every slot for one symbol goes, and why; from files alone.

use super::plan::{with_plan, Planned};
use super::{print, Failure};
use clap::Args;
use relink::guest::Slot;
use relink::pipeline::Part;
use relink::plan::{Binding, Target};
use std::path::PathBuf;

/// Reads files; no code of theirs runs.
#[derive(Args)]
pub struct Options {
    /// The file that provides V8: an executable or a shared library
    #[arg(long)]
    host: PathBuf,
    /// The libnode to relink [default: the one that `relink guest build` made]
    #[arg(long)]
    guest: Option<PathBuf>,
    /// The symbol: mangled, or as C++ writes it, such as `v8::Isolate::GetCurrent()` or `v8::Isolate::GetCurrent`
    symbol: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints what becomes of the symbol's slots.
pub fn run(options: &Options) -> Result<(), Failure> {
    with_plan(&options.host, options.guest.as_deref(), |planned| {
        let found = answers(planned, &options.symbol);
        if found.is_empty() {
            return Err(Failure::Unknown(options.symbol.clone()));
        }
        if options.json {
            let slots: Vec<_> = found.iter().map(|a| a.json(options)).collect();
            print(&format!(
                "{}\n",
                serde_json::json!({ "verdict": planned.admitted.verdict().word(), "slots": slots })
            ));
        } else {
            found.iter().for_each(|answer| print(&(answer.text(options) + "\n")));
        }
        Ok(())
    })
}

/// What becomes of one slot.
struct Answer<'a, 'd> {
    part: &'a Part<'a, 'd>,
    slot: &'a Slot<'d>,
    /// Nothing: ld.so binds it.
    binding: Option<&'a Binding<'d>>,
}

fn answers<'a, 'd>(planned: &'a Planned<'a, 'd>, symbol: &str) -> Vec<Answer<'a, 'd>> {
    let mut found = Vec::new();
    for part in planned.parts {
        for slot in part.inventory.slots.iter().filter(|s| is_meant(s.symbol, symbol)) {
            let binding =
                planned.plan.bindings.iter().find(|b| b.image == part.image && b.slot.entry == slot.entry);
            found.push(Answer { part, slot, binding });
        }
    }
    found
}

/// Whether `wanted` is this mangled name, its C++ spelling, or that without the parameters.
fn is_meant(mangled: &str, wanted: &str) -> bool {
    if mangled == wanted {
        return true;
    }
    if !wanted.contains("::") {
        return false;
    }
    // Demangling is slow; the last part of the name stands in the mangled one as it is.
    let bare = wanted.split('(').next().unwrap_or(wanted);
    let last = bare.rsplit("::").next().unwrap_or(bare).trim_start_matches('~');
    if !mangled.contains(last) {
        return false;
    }
    let spelled = spelled(mangled);
    spelled == wanted || spelled.split('(').next() == Some(wanted)
}

fn spelled(mangled: &str) -> String {
    let symbol = cpp_demangle::Symbol::new(mangled);
    symbol.ok().and_then(|s| s.demangle().ok()).unwrap_or_else(|| mangled.to_owned())
}

impl Answer<'_, '_> {
    fn text(&self, options: &Options) -> String {
        let slot = self.slot;
        let place = format!("{} in {}", self.part.image, self.part.path.display());
        let addend = if slot.addend == 0 { String::new() } else { format!("{:+}", slot.addend) };
        format!(
            "{}\n  slot  {} ({:?}{addend}) of the {place}\n  goes  {}\n  why   {}",
            spelled(slot.symbol),
            slot.at,
            slot.kind,
            self.goes(options),
            self.why()
        )
    }

    fn goes(&self, options: &Options) -> String {
        match self.binding {
            Some(Binding { target: Target::Provider(d), .. }) => {
                format!("to {} in {}", d.address, options.host.display())
            }
            Some(binding) => binding.target.describe(true),
            None => "where ld.so finds it".into(),
        }
    }

    fn why(&self) -> String {
        let library = || self.slot.library.unwrap_or("no library by name");
        let run_time = || {
            format!(
                "linked against {}: C and C++ run-time names mean what they mean to the whole process",
                library()
            )
        };
        self.binding.map_or_else(run_time, |b| b.why.text())
    }

    fn json(&self, options: &Options) -> serde_json::Value {
        serde_json::json!({
            "image": self.part.image.to_string(),
            "file": self.part.path,
            "slot": self.slot.at.to_string(),
            "kind": self.slot.kind,
            "symbol": self.slot.symbol,
            "spelled": spelled(self.slot.symbol),
            "version": self.slot.version,
            "target": self.goes(options),
            "why": self.why(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::is_meant;

    #[test]
    fn a_symbol_is_meant_by_either_spelling() {
        let mangled = "_ZN2v87Isolate10GetCurrentEv";
        for wanted in [mangled, "v8::Isolate::GetCurrent()", "v8::Isolate::GetCurrent"] {
            assert!(is_meant(mangled, wanted), "{wanted}");
        }
        for wanted in ["v8::Isolate::Get", "GetCurrent", "v8::Isolate::GetCurrent(int)", ""] {
            assert!(!is_meant(mangled, wanted), "{wanted}");
        }
        assert!(is_meant("_ZN4node11EnvironmentD1Ev", "node::Environment::~Environment()"));
        assert!(is_meant("kill", "kill"));
    }
}
