//! Profiles: ranges of V8 versions whose public headers inline the same numbers.

pub use crate::tables::{Profile, PROFILES};
use crate::version::V8Version;

/// The profile that a version belongs to.
pub fn profile_of(version: V8Version) -> Option<&'static Profile> {
    PROFILES.iter().find(|p| (p.first..=p.last).contains(&version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_proven_versions_have_a_profile() {
        let of = |text: &str| V8Version::parse(text).and_then(profile_of).map(|p| p.name);
        assert_eq!(of("10.2.154.4"), of("10.2.154.26"));
        assert!(of("10.2.154.26").is_some());
        for other in ["10.2.154.3", "10.2.154.27", "10.1.1.1", "11.3.244.3", "10.3.1.1"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
