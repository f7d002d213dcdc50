//! The gate: compares the V8 that the guest was compiled for with the host's, and lets a plan pass or refuses it.

use super::catalogue::{profile_of, Profile};
use super::version::V8Version;
use crate::error::Error;
use crate::guest::GuestNote;
use crate::host::Fingerprint;
use crate::plan::Plan;

/// A plan that the gate has let pass. Nothing else can be applied, and nothing else can make one.
#[derive(Debug)]
#[must_use]
pub struct VerifiedPlan<'d> {
    plan: Plan<'d>,
    profile: &'static Profile,
}

impl<'d> VerifiedPlan<'d> {
    /// The plan.
    pub fn plan(&self) -> &Plan<'d> {
        &self.plan
    }

    /// The profile that host and guest share.
    pub fn profile(&self) -> &'static Profile {
        self.profile
    }
}

/// The gate's decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Both sides inline the same numbers.
    Identical(&'static Profile),
    /// They differ, or are not known not to: each difference with what would cure it.
    Refused(Vec<String>),
}

/// Compares what the guest was compiled for with what the host is. An unknown fact counts as a difference.
pub fn judge(guest: &GuestNote, host: &Fingerprint) -> Verdict {
    let mut differences = Vec::new();
    let profile = versions(guest, host).map_err(|why| differences.push(why)).ok();
    differences.extend(configuration(guest, host));
    match profile {
        Some(profile) if differences.is_empty() => Verdict::Identical(profile),
        _ => Verdict::Refused(differences),
    }
}

/// Whether a plan for this guest on this host could pass, to be asked before one is made: the symbols that a guest for
/// another V8 would miss are not what is wrong with it.
pub fn admit(guest: &GuestNote, host: &Fingerprint) -> Result<&'static Profile, Error> {
    match judge(guest, host) {
        Verdict::Identical(profile) => Ok(profile),
        Verdict::Refused(differences) => Err(Error::Refused { differences }),
    }
}

/// Lets `plan` pass if the verdict allows it.
pub fn verify<'d>(plan: Plan<'d>, guest: &GuestNote, host: &Fingerprint) -> Result<VerifiedPlan<'d>, Error> {
    Ok(VerifiedPlan { plan, profile: admit(guest, host)? })
}

fn versions(guest: &GuestNote, host: &Fingerprint) -> Result<&'static Profile, String> {
    let compiled_for = V8Version::parse(&guest.v8)
        .ok_or_else(|| format!("the guest's note names no V8 version (\"{}\"): rebuild it", guest.v8))?;
    let runs_on = host.version.ok_or("the host's V8 does not tell its version")?;
    let differ = |why: &str| {
        format!(
            "the guest was compiled for V8 {compiled_for}, the host's V8 is {runs_on}: {why}; build a guest with the \
             headers of the host's V8: relink guest build --v8-headers DIR"
        )
    };
    let host_profile =
        profile_of(runs_on).ok_or_else(|| differ("the inlined ABI of the host's version is not known"))?;
    let guest_profile =
        profile_of(compiled_for).ok_or_else(|| differ("their inlined ABIs are not known to be identical"))?;
    if std::ptr::eq(host_profile, guest_profile) {
        Ok(host_profile)
    } else {
        Err(differ("their inlined ABIs differ"))
    }
}

/// Facts of the build configuration that change the ABI whatever the version.
fn configuration(guest: &GuestNote, host: &Fingerprint) -> Vec<String> {
    let expected_size = if guest.pointer_compression { 4 } else { 8 };
    [
        compare("tagged words of", expected_size, host.tagged_size, "bytes (pointer compression)"),
        compare("small integers of", guest.smi_bits, host.smi_bits, "bits"),
        compare_text("the C++ library", &guest.cxx, host.cxx.map(|c| c.0)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn compare(what: &str, guest: u32, host: Option<u32>, unit: &str) -> Option<String> {
    match host {
        Some(host) if host == guest => None,
        Some(host) => {
            Some(format!("the guest was compiled for {what} {guest} {unit}, the host's V8 has {host}"))
        }
        None => Some(format!("the host's V8 does not tell whether it has {what} {guest} {unit}")),
    }
}

fn compare_text(what: &str, guest: &str, host: Option<&str>) -> Option<String> {
    match host {
        Some(host) if host == guest => None,
        Some(host) => Some(format!("{what} of the guest is {guest}, that of the host's V8 is {host}")),
        None => Some(format!("{what} of the host's V8 cannot be determined")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::CxxLibrary;

    fn note(v8: &str) -> GuestNote {
        GuestNote {
            schema: 1,
            node: "18.20.4".into(),
            v8: v8.into(),
            v8_embedder: String::new(),
            module_version: 108,
            headers: String::new(),
            compiler: String::new(),
            cxx: "libstdc++".into(),
            pointer_compression: false,
            smi_bits: 32,
            key: String::new(),
        }
    }

    fn host(version: &str) -> Fingerprint {
        Fingerprint {
            version: V8Version::parse(version),
            embedder: None,
            tagged_size: Some(8),
            smi_bits: Some(32),
            cxx: Some(CxxLibrary("libstdc++")),
        }
    }

    fn differences(guest: &GuestNote, host: &Fingerprint) -> Vec<String> {
        match judge(guest, host) {
            Verdict::Identical(_) => Vec::new(),
            Verdict::Refused(differences) => differences,
        }
    }

    #[test]
    fn one_line_of_versions_is_identical() {
        assert!(differences(&note("10.2.154.26"), &host("10.2.154.15")).is_empty());
    }

    #[test]
    fn another_v8_on_either_side_is_refused_and_the_cure_is_named() {
        for (guest, host_version) in
            [("10.2.154.26", "11.3.244.8"), ("11.3.244.8", "10.2.154.26"), ("9.4.1.1", "9.4.1.1")]
        {
            let found = differences(&note(guest), &host(host_version));
            assert_eq!(found.len(), 1, "{guest} on {host_version}");
            assert!(found[0].contains(guest) && found[0].contains(host_version), "{found:?}");
            assert!(found[0].contains("--v8-headers"), "{found:?}");
        }
    }

    #[test]
    fn every_configuration_fact_is_compared_and_unknown_is_not_equal() {
        let same = host("10.2.154.26");
        let guest = note("10.2.154.26");
        let broken = [
            Fingerprint { tagged_size: Some(4), ..same.clone() },
            Fingerprint { tagged_size: None, ..same.clone() },
            Fingerprint { smi_bits: Some(31), ..same.clone() },
            Fingerprint { smi_bits: None, ..same.clone() },
            Fingerprint { cxx: Some(CxxLibrary("libc++")), ..same.clone() },
            Fingerprint { cxx: None, ..same.clone() },
            Fingerprint { version: None, ..same.clone() },
        ];
        for host in broken {
            assert_eq!(differences(&guest, &host).len(), 1, "{host:?}");
        }
        assert!(differences(&guest, &same).is_empty());
    }
}
